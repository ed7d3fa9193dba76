import { ErrorReason, fail } from "@turnwright/platform/errors";
import { HeldText } from "./held-text.ts";

/** The most bytes of an answer unless the operator sets another number. */
export const defaultMaxAnswer = 7 * 1024 * 1024;

/** An answer is larger than the operator allows. */
export function answerTooLarge(maxBytes: number) {
  return fail(ErrorReason.ANSWER_TOO_LARGE, `The model's answer is larger than ${maxBytes} bytes (LLM_MAX_ANSWER).`);
}

/**
 * Splits a stream of server-sent events into frames, wherever the stream was cut into pieces, and whichever line ends
 * it has. Frames are binary strings (one character per byte): they are searched and joined faster than buffers, and
 * unread bytes pass unchanged. Each byte is looked at a bounded number of times.
 */
export class FrameSplitter {
  readonly #held = new HeldText();
  readonly #maxBytes: number;
  /** The last piece ended in a carriage return: a line feed at the start of the next one belongs to it. */
  #afterReturn = false;
  #isTooLarge = false;

  /** `maxBytes`: the most bytes of one frame. */
  constructor(maxBytes = defaultMaxAnswer) {
    this.#maxBytes = maxBytes;
  }

  /** Whether a frame was larger than allowed; no frame follows. */
  get isTooLarge(): boolean {
    return this.#isTooLarge;
  }

  /** The frames that this piece completes, with lines that end in a line feed, without their blank lines. */
  push(piece: string): string[] {
    const frames: string[] = [];
    if (this.#isTooLarge) return frames;
    const data = this.#lines(piece);
    let from = 0;
    if (this.#held.length > 0) {
      const isEnded = data[0] === "\n" && this.#held.last.endsWith("\n");
      const to = isEnded ? 0 : data.indexOf("\n\n");
      this.#hold(to < 0 ? data : data.slice(0, to));
      if (to < 0) return frames;
      const frame = this.#held.take();
      frames.push(isEnded ? frame.slice(0, -1) : frame);
      from = to;
    }
    for (;;) {
      // Blank lines that belong to the frame before.
      while (data[from] === "\n") from++;
      const to = data.indexOf("\n\n", from);
      if (to < 0) break;
      frames.push(data.slice(from, to));
      from = to + 2;
    }
    this.#hold(data.slice(from));
    return frames;
  }

  /** The rest when the stream has ended: a last frame without a blank line, if any. */
  end(): string | undefined {
    const rest = this.#held.take();
    return rest === "" ? undefined : rest;
  }

  #hold(data: string): void {
    if (this.#isTooLarge) return;
    this.#held.add(data);
    if (this.#held.length <= this.#maxBytes) return;
    this.#isTooLarge = true;
    this.#held.take();
  }

  #lines(piece: string): string {
    const data = this.#afterReturn && piece[0] === "\n" ? piece.slice(1) : piece;
    // JSON text contains no unescaped carriage return.
    if (!data.includes("\r")) {
      if (piece !== "") this.#afterReturn = false;
      return data;
    }
    this.#afterReturn = data.endsWith("\r");
    return data.replace(/\r\n?/g, "\n");
  }
}

/** Decodes a binary string of UTF-8. */
export function decoded(binary: string): string {
  return Buffer.from(binary, "latin1").toString("utf8");
}

/** Encodes text as a binary string of UTF-8. */
export function encoded(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1");
}

/** The data of a frame as text; undefined for comments and frames without data. */
export function frameData(frame: string): string | undefined {
  if (frame.startsWith("data:") && !frame.includes("\n")) return decoded(frame.slice(5)).trim();
  const lines = frame
    .split("\n")
    .filter((line) => line.startsWith("data:"))
    .map((line) => line.slice(5).replace(/^ /, ""));
  return lines.length === 0 ? undefined : decoded(lines.join("\n")).trim();
}

/** Whether a frame is the event `error`. */
export function isErrorEvent(frame: string): boolean {
  return !frame.startsWith("data:") && /^event: ?error[ \t]*$/m.test(frame);
}
