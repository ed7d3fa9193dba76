import type { TextType } from "./frame.ts";

/** A piece of a streamed answer. */
interface TextDelta {
  readonly type: TextType;
  readonly delta: string;
}

/**
 * Lengths of the stretches of an answer's text as it was streamed, in UTF-16 code units: reasoning, content, reasoning,
 * and so on. A log entry holds it where the answer does not simply follow the reasoning, so that stored frames come in
 * the order of the live ones.
 */
export type StreamOrder = readonly number[];

/** The most stretches that are told apart; reasoning behind them is shown at the end. */
const maxStretches = 64;

/** Follows the order in which an answer is streamed. */
export class OrderedStream {
  #lengths: number[] = [0];
  #held = "";
  reasoning = "";

  /** The delta to show now, if it is one of those that are. */
  take(delta: TextDelta): TextDelta | undefined {
    if (delta.delta === "") return undefined;
    const isReasoning = delta.type === "reasoning";
    if (isReasoning) this.reasoning += delta.delta;
    const isSwitch = isReasoning !== (this.#lengths.length % 2 === 1);
    if (isSwitch && isReasoning && this.#lengths.length >= maxStretches) {
      this.#held += delta.delta;
      return undefined;
    }
    if (isSwitch) this.#lengths.push(0);
    this.#lengths[this.#lengths.length - 1] = (this.#lengths.at(-1) ?? 0) + delta.delta.length;
    return delta;
  }

  /** The reasoning that was held back to the end. */
  end(): TextDelta | undefined {
    if (this.#held === "") return undefined;
    this.#lengths.push(this.#held.length);
    return { type: "reasoning", delta: this.#held };
  }

  /** Undefined when the content simply follows the reasoning. */
  get order(): StreamOrder | undefined {
    return this.#lengths.length <= 2 ? undefined : this.#lengths;
  }
}

/** A stored message's text in the order in which it was streamed. An order that does not fit its text is ignored. */
export function orderedTexts(message: { reasoning: string; content: string }, order: unknown): TextDelta[] {
  const texts = { reasoning: message.reasoning, content: message.content };
  const rest = { reasoning: 0, content: 0 };
  const pieces: TextDelta[] = [];
  for (const [index, length] of (Array.isArray(order) ? order : []).entries()) {
    if (!Number.isSafeInteger(length) || length < 0) break;
    const type = index % 2 === 0 ? "reasoning" : "content";
    pieces.push({ type, delta: texts[type].slice(rest[type], rest[type] + length) });
    rest[type] += length;
  }
  for (const type of ["reasoning", "content"] as const) pieces.push({ type, delta: texts[type].slice(rest[type]) });
  return pieces.filter(({ delta }) => delta !== "");
}
