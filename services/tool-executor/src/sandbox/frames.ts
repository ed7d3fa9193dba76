/** Frames between the executor and a sandbox: four bytes of length, then JSON in UTF-8. */

const headBytes = 4;

/** A message as a frame. */
export function encodeFrame(message: unknown): Buffer {
  const body = Buffer.from(JSON.stringify(message));
  const head = Buffer.alloc(headBytes);
  head.writeUInt32BE(body.byteLength);
  return Buffer.concat([head, body]);
}

/** Puts frames together from pieces of a stream, none longer than `maxBytes`. */
export class FrameReader {
  #pieces: Buffer[] = [];
  #bytes = 0;
  readonly #maxBytes: number;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** The messages that are whole now. Throws RangeError as soon as a frame says that it is too long, and SyntaxError for what is no JSON. */
  push(piece: Buffer): unknown[] {
    this.#pieces.push(piece);
    this.#bytes += piece.byteLength;
    const messages: unknown[] = [];
    while (this.#bytes >= headBytes) {
      if ((this.#pieces[0]?.byteLength ?? 0) < headBytes) this.#pieces = [Buffer.concat(this.#pieces)];
      const length = this.#pieces[0]?.readUInt32BE(0) ?? 0;
      if (length > this.#maxBytes) throw new RangeError(`a frame of ${length} bytes`);
      if (this.#bytes < headBytes + length) break;
      const all = this.#pieces.length === 1 ? (this.#pieces[0] as Buffer) : Buffer.concat(this.#pieces);
      messages.push(JSON.parse(all.toString("utf8", headBytes, headBytes + length)));
      const rest = all.subarray(headBytes + length);
      this.#pieces = rest.byteLength === 0 ? [] : [rest];
      this.#bytes = rest.byteLength;
    }
    return messages;
  }
}
