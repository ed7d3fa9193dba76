import { ErrorReason, fail } from "@turnwright/platform/errors";
import { errorWords } from "../endpoint/error-words.ts";
import { AnswerFrames } from "./answer-frames.ts";
import { type AnswerPart, type CheckedChoice, readPart } from "./checked-chunk.ts";
import { frameData, isErrorEvent } from "./frame-splitter.ts";

const maxWords = 200;

/** A choice whose texts and calls were told before. */
function withoutRepeats(choice: CheckedChoice): CheckedChoice {
  return { ...choice, text: "", reasoning: "", refusal: "", calls: [], message: {}, isPlain: false };
}

/** Reads the chunks of an answer, streamed or whole, in the frames that its pieces complete. */
export class ChunkReader {
  /** The answer is complete: nothing that follows belongs to it. */
  isDone = false;
  /** A delta was told, so that a `message` is a repetition of the whole. */
  hasDelta = false;
  readonly #frames: AnswerFrames;
  #words = "";

  constructor(maxBytes: number) {
    this.#frames = new AnswerFrames(maxBytes);
  }

  /** The fault behind the frames so far. */
  get failure(): Error | undefined {
    return this.#frames.failure;
  }

  /** The frames that a piece completes. */
  push(piece: Buffer): string[] {
    return this.#frames.push(piece);
  }

  /** The frames of the rest. */
  end(): string[] {
    return this.isDone ? [] : this.#frames.end();
  }

  /** Reads a frame; empty for comments, the terminator and everything else that is no part of the answer. */
  read(frame: string): AnswerPart {
    const data = frameData(frame);
    if (data === undefined) this.#words ||= isComment(frame) ? "" : frame.slice(0, maxWords);
    if (data === undefined || data === "") return {};
    if (data === "[DONE]") {
      this.isDone = true;
      return {};
    }
    const part = readPart(data, isErrorEvent(frame));
    const { chunk } = part;
    if (chunk === undefined) {
      if (part.failure === undefined) this.#words = data.slice(0, maxWords);
      return part;
    }
    for (const choice of chunk.choices) {
      if (choice.isMessage) continue;
      if (choice.text !== "" || choice.calls.length > 0) this.hasDelta = true;
    }
    if (!this.hasDelta || chunk.choices.every(({ isMessage }) => !isMessage)) return part;
    const choices = chunk.choices.map((choice) => (choice.isMessage ? withoutRepeats(choice) : choice));
    return { ...part, chunk: { ...chunk, choices } };
  }

  /** The failure of an answer that ended too early. */
  cutOff(): Error {
    if (this.#frames.isEmpty) return fail(ErrorReason.MODEL_FAILED, "The model's endpoint sent an empty answer.");
    if (this.isDone) return fail(ErrorReason.MODEL_FAILED, "The model's endpoint ended its answer without a word of it.");
    const words = this.#words === "" || this.hasDelta ? "" : ` It sent: ${JSON.stringify(errorWords(this.#words))}`;
    return fail(ErrorReason.MODEL_FAILED, `The model's stream ended before its answer did.${words}`);
  }
}

function isComment(frame: string): boolean {
  return /^(?::|event:|id:|retry:)/.test(frame);
}
