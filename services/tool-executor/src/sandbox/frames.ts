/**
 * Frames between the executor and a sandbox: four bytes of length, then JSON in UTF-8. The highest bit of the length
 * says that bytes follow the JSON: then the first four bytes of the frame are the length of the JSON, and the rest is
 * the message's `body`.
 */

const headBytes = 4;
const withBody = 0x80000000;

/** A message as a frame. */
export function encodeFrame(message: unknown, body?: Uint8Array): Buffer {
  const json = Buffer.from(JSON.stringify(message));
  const head = Buffer.alloc(body === undefined ? headBytes : headBytes * 2);
  if (body === undefined) {
    head.writeUInt32BE(json.byteLength);
    return Buffer.concat([head, json]);
  }
  head.writeUInt32BE(headBytes + json.byteLength + body.byteLength + withBody);
  head.writeUInt32BE(json.byteLength, headBytes);
  return Buffer.concat([head, json, body]);
}

/** A message that came whole. */
export interface Frame {
  readonly message: unknown;
  /** A view of what was read: copy what is kept. */
  readonly body?: Buffer;
  /** Bytes of the frame. */
  readonly size: number;
}

/** Puts frames together from pieces of a stream, none longer than `maxBytes`. */
export class FrameReader {
  #pieces: Buffer[] = [];
  #bytes = 0;
  readonly #maxBytes: number;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * The frames that are whole now. Throws RangeError as soon as a frame says that it is too long, and SyntaxError for
   * what is no JSON.
   */
  push(piece: Buffer): Frame[] {
    this.#pieces.push(piece);
    this.#bytes += piece.byteLength;
    const frames: Frame[] = [];
    while (this.#bytes >= headBytes) {
      if ((this.#pieces[0]?.byteLength ?? 0) < headBytes) this.#pieces = [Buffer.concat(this.#pieces)];
      const first = this.#pieces[0]?.readUInt32BE(0) ?? 0;
      const length = first >= withBody ? first - withBody : first;
      if (length > this.#maxBytes) throw new RangeError(`a frame of ${length} bytes`);
      if (this.#bytes < headBytes + length) break;
      const all = this.#pieces.length === 1 ? (this.#pieces[0] as Buffer) : Buffer.concat(this.#pieces);
      frames.push(decode(all.subarray(headBytes, headBytes + length), first >= withBody));
      const rest = all.subarray(headBytes + length);
      this.#pieces = rest.byteLength === 0 ? [] : [rest];
      this.#bytes = rest.byteLength;
    }
    return frames;
  }
}

function decode(content: Buffer, hasBody: boolean): Frame {
  const size = headBytes + content.byteLength;
  if (!hasBody) return { message: JSON.parse(content.toString("utf8")), size };
  const json = content.byteLength < headBytes ? Number.POSITIVE_INFINITY : content.readUInt32BE(0);
  if (json > content.byteLength - headBytes) throw new SyntaxError("a frame whose JSON is longer than itself");
  const end = headBytes + json;
  return { message: JSON.parse(content.toString("utf8", headBytes, end)), body: content.subarray(end), size };
}
