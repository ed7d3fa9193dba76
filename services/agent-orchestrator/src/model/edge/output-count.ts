import { ErrorReason, fail } from "@turnwright/platform/errors";
import { defaultMaxAnswer } from "./frame-splitter.ts";

/** Bytes of text that count as one token: fewer than one has in English, so that an estimate is not below the truth. */
const bytesPerToken = 4;
/** Bytes of encoded audio or images that count as one token. */
const blobBytesPerToken = 64;

/** The most levels of an answer's JSON. */
const maxDepth = 500;

/** Fields that are not output of the model. */
const labels = new Set([
  "content_filter_results",
  "finish_reason",
  "format",
  "id",
  "index",
  "logprobs",
  "native_finish_reason",
  "role",
  "stop_reason",
  "type",
]);

/** Fields with audio or images, which are far longer than their number of tokens suggests. */
const blobs = new Set(["b64_json", "data"]);

/**
 * Counts a model's output while its answer is read. Every text counts, whatever its field is called: endpoints name
 * reasoning in many ways, and all of it is billed.
 */
export class OutputCount {
  /** The most bytes of an answer; its reader ends it with ANSWER_TOO_LARGE beyond them. */
  maxBytes = defaultMaxAnswer;
  #pieces = 0;
  #textBytes = 0;
  #blobBytes = 0;

  /** Estimated tokens so far: one per piece, or by length, whichever is more. */
  get tokens(): number {
    return Math.max(this.#pieces, Math.ceil(this.#textBytes / bytesPerToken)) + Math.ceil(this.#blobBytes / blobBytesPerToken);
  }

  /** Bytes of text so far. */
  get textBytes(): number {
    return this.#textBytes;
  }

  /** Bytes of texts and of encoded audio and images so far. */
  get bytes(): number {
    return this.#textBytes + this.#blobBytes;
  }

  /** Adds a piece of text. */
  text(bytes: number): void {
    this.#pieces += 1;
    this.#textBytes += bytes;
  }

  /** Adds bytes of an answer that was not parsed. */
  unread(bytes: number): void {
    this.#textBytes += bytes;
  }

  /** Adds the choices of a chunk or of a whole completion. */
  choices(choices: unknown): void {
    if (!Array.isArray(choices)) return;
    for (const choice of choices) {
      const before = this.#textBytes;
      this.#add("", choice);
      if (this.#textBytes > before) this.#pieces += 1;
    }
  }

  #add(field: string, value: unknown, depth = 0): void {
    if (depth > maxDepth) throw fail(ErrorReason.MODEL_FAILED, "The model's answer is nested too deeply.");
    if (typeof value === "string") {
      if (blobs.has(field)) this.#blobBytes += value.length;
      else this.#textBytes += Buffer.byteLength(value);
    } else if (Array.isArray(value)) {
      for (const item of value) this.#add(field, item, depth + 1);
    } else if (typeof value === "object" && value !== null) {
      for (const key in value) if (!labels.has(key)) this.#add(key, (value as Record<string, unknown>)[key], depth + 1);
    }
  }
}
