import type { AnswerTexts } from "./answer-text.ts";

const opening = "<think>";
const closing = "</think>";
/** An answer's beginning that may still become the opening tag. */
const mayOpen = /^\s*(?:<(?:t(?:h(?:i(?:n(?:k>?)?)?)?)?)?)?$/;
/** The most characters that are held back at the beginning. */
const maxLead = 256;

/** Length of the longest end of a text that begins the closing tag. */
function closingPrefix(text: string): number {
  for (let length = Math.min(closing.length - 1, text.length); length > 0; length--) {
    if (closing.startsWith(text.slice(-length))) return length;
  }
  return 0;
}

/**
 * Tells the reasoning from the answer where a model writes both as text: `<think>…</think>` at the very beginning.
 * Anywhere else the tags are text. No text is lost: an answer that stops without a closing tag is text as a whole.
 */
export class ThinkTag {
  #state: "beginning" | "thinking" | "closed" | "answering" = "beginning";
  #held = "";
  #thought = "";

  /** Takes a piece of content. */
  push(text: string): Pick<AnswerTexts, "text" | "reasoning"> {
    if (this.#state === "answering") return { text, reasoning: "" };
    if (this.#state === "closed") return this.#answer(text);
    const all = this.#held + text;
    this.#held = "";
    return this.#state === "thinking" ? this.#think(all) : this.#begin(all);
  }

  /**
   * The rest of the text. `isCut`: the model had no time to close the tag, so that all of it is reasoning; otherwise
   * the reasoning so far is text: `isText`.
   */
  end(isCut: boolean): { text: string; reasoning: string; isText: boolean } {
    const rest = this.#held;
    this.#held = "";
    if (this.#state !== "thinking") return { text: rest, reasoning: "", isText: false };
    if (isCut) return { text: "", reasoning: rest, isText: false };
    return { text: opening + this.#thought + rest, reasoning: "", isText: true };
  }

  /** Blank lines between the reasoning and the answer belong to neither. */
  #answer(text: string): Pick<AnswerTexts, "text" | "reasoning"> {
    const visible = text.trimStart();
    if (visible !== "") this.#state = "answering";
    return { text: visible, reasoning: "" };
  }

  #begin(all: string): Pick<AnswerTexts, "text" | "reasoning"> {
    const start = all.trimStart();
    if (start.startsWith(opening)) {
      this.#state = "thinking";
      return this.#think(start.slice(opening.length));
    }
    if (all.length <= maxLead && mayOpen.test(all)) {
      this.#held = all;
      return { text: "", reasoning: "" };
    }
    this.#state = "answering";
    return { text: all, reasoning: "" };
  }

  #think(all: string): Pick<AnswerTexts, "text" | "reasoning"> {
    const to = all.indexOf(closing);
    if (to >= 0) {
      this.#state = "closed";
      this.#thought = "";
      return { text: this.#answer(all.slice(to + closing.length)).text, reasoning: all.slice(0, to) };
    }
    const held = closingPrefix(all);
    this.#held = all.slice(all.length - held);
    const reasoning = all.slice(0, all.length - held);
    this.#thought += reasoning;
    return { text: "", reasoning };
  }
}
