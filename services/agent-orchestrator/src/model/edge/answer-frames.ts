import { ErrorReason, fail } from "@turnwright/platform/errors";
import { answerTooLarge, FrameSplitter } from "./frame-splitter.ts";
import { HeldText } from "./held-text.ts";

const byteOrderMark = "\u00ef\u00bb\u00bf";
const beginning = /^(?:[ \t\r\n]|\u00ef\u00bb\u00bf)*/;
/** A terminator that some endpoints append to JSON, on a line of its own or not. */
const terminator = /^data:\s*\[DONE\]\s*$/;
/** Characters at the end of the JSON in which a terminator is looked for. */
const terminatorReach = 64;
/** How often the JSON before something like a terminator is read: a text in it may look like one. */
const maxReadings = 4;
/** How many times the bytes of an answer its stream may have: each event repeats the envelope around a few letters. */
const streamFactor = 16;

/**
 * Splits an answer into frames, whichever form it has: server-sent events, or JSON, which is one frame. The form is
 * that of the first character, whatever the content type says.
 */
export class AnswerFrames {
  readonly #splitter: FrameSplitter;
  readonly #body = new HeldText();
  readonly #maxBytes: number;
  #form: "unknown" | "events" | "json" = "unknown";
  #lead = "";
  /** The end of the JSON so far. */
  #tail = "";
  #readings = 0;
  #bytes = 0;
  #isEnded = false;
  #failure: Error | undefined;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#splitter = new FrameSplitter(maxBytes);
  }

  /** Whether anything but blanks has arrived. */
  get isEmpty(): boolean {
    return this.#form === "unknown";
  }

  /** The fault of the answer behind the frames so far: MODEL_FAILED for a web page, or ANSWER_TOO_LARGE. */
  get failure(): Error | undefined {
    if (this.#failure !== undefined) return this.#failure;
    const isTooLarge = this.#splitter.isTooLarge || this.#body.length > this.#maxBytes;
    return isTooLarge || this.#bytes > this.#maxBytes * streamFactor ? answerTooLarge(this.#maxBytes) : undefined;
  }

  /** The frames that this piece completes. */
  push(piece: Buffer): string[] {
    this.#bytes += piece.length;
    const text = piece.toString("latin1");
    if (this.#form === "events") return this.#splitter.push(text);
    if (this.#form === "json") return this.#hold(text);
    return this.#begin(this.#lead + text);
  }

  /** The frames of the rest when the answer has ended. */
  end(): string[] {
    if (this.#form === "json") return this.#isEnded ? [] : this.#jsonFrames();
    const rest = this.#form === "events" ? this.#splitter.end() : undefined;
    return rest === undefined ? [] : [rest];
  }

  #begin(text: string): string[] {
    const visible = text.slice(beginning.exec(text)?.[0].length ?? 0);
    // A mark that was cut stays until the rest of it arrives.
    this.#lead = byteOrderMark.startsWith(visible) ? visible : "";
    if (visible === this.#lead) return [];
    if (visible[0] === "<") {
      this.#failure = fail(ErrorReason.MODEL_FAILED, "The model's endpoint answered with a web page instead of a completion.");
    }
    this.#form = visible[0] === "{" || visible[0] === "[" ? "json" : "events";
    return this.#form === "json" ? this.#hold(visible) : this.#splitter.push(visible);
  }

  #hold(text: string): string[] {
    if (this.#isEnded) return [];
    if (this.failure === undefined) this.#body.add(text);
    this.#tail = (this.#tail + text.slice(-terminatorReach)).slice(-terminatorReach);
    if (terminatorAt(this.#tail) < 0 || this.#readings++ >= maxReadings) return [];
    const body = this.#body.take();
    this.#body.add(body);
    return isJson(body.slice(0, terminatorAt(body))) ? this.#jsonFrames() : [];
  }

  #jsonFrames(): string[] {
    this.#isEnded = true;
    let body = this.#body.take();
    const to = terminatorAt(body);
    if (to >= 0) body = body.slice(0, to);
    // JSON text contains no unescaped line end but between its tokens.
    const events = body.search(/[\r\n]data:/);
    return [`data: ${(events < 0 ? body : body.slice(0, events)).replace(/[\r\n]+/g, " ")}`, "data: [DONE]"];
  }
}

/** Index of the terminator at the end of a text; -1: there is none. */
function terminatorAt(text: string): number {
  const at = text.lastIndexOf("data:");
  return at >= 0 && text.length - at <= terminatorReach && terminator.test(text.slice(at)) ? at : -1;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
