/**
 * Bytes of text that are taken for a token: fewer than they are in English, so that an estimate is no less than the
 * truth.
 */
const bytesPerToken = 4;
/** Bytes of encoded sound or pictures that are taken for one. */
const blobBytesPerToken = 64;

/** Fields that hold nothing a model has written. */
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

/** Fields that hold sound or pictures, which are far longer than their tokens tell. */
const blobs = new Set(["b64_json", "data"]);

/**
 * Counts what a model writes as its answer is read. Every text counts, whatever its field is called: endpoints spell
 * reasoning in many ways, and all of them are paid for.
 */
export class OutputCount {
  #pieces = 0;
  #textBytes = 0;
  #blobBytes = 0;

  /** Tokens so far, estimated: one for each piece, or by length, whichever is more. */
  get tokens(): number {
    return Math.max(this.#pieces, Math.ceil(this.#textBytes / bytesPerToken)) + Math.ceil(this.#blobBytes / blobBytesPerToken);
  }

  /** Bytes of text so far. */
  get textBytes(): number {
    return this.#textBytes;
  }

  /** Adds a piece of text. */
  text(bytes: number): void {
    this.#pieces += 1;
    this.#textBytes += bytes;
  }

  /** Adds bytes of an answer of which no more is known. */
  unread(bytes: number): void {
    this.#textBytes += bytes;
  }

  /** Adds the choices of a chunk, or those of a whole completion. */
  choices(choices: unknown): void {
    if (!Array.isArray(choices)) return;
    for (const choice of choices) {
      const before = this.#textBytes;
      this.#add("", choice);
      if (this.#textBytes > before) this.#pieces += 1;
    }
  }

  #add(field: string, value: unknown): void {
    if (typeof value === "string") {
      if (blobs.has(field)) this.#blobBytes += value.length;
      else this.#textBytes += Buffer.byteLength(value);
    } else if (Array.isArray(value)) {
      for (const item of value) this.#add(field, item);
    } else if (typeof value === "object" && value !== null) {
      for (const key in value) if (!labels.has(key)) this.#add(key, (value as Record<string, unknown>)[key]);
    }
  }
}
