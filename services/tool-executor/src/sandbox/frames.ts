/**
 * Frames between the executor and a sandbox: four bytes of length, then JSON in UTF-8. If the highest bit of the length
 * is set, the frame has a body: it begins with four bytes of JSON length, then come the JSON and the body.
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

/** A complete message. */
export interface Frame {
  readonly message: unknown;
  /** A view of the read buffer: copy the bytes to keep. */
  readonly body?: Buffer;
  /** Size of the frame in bytes. */
  readonly size: number;
}

/** Assembles frames of at most `maxBytes` from the pieces of a stream. */
export class FrameReader {
  #pieces: Buffer[] = [];
  #bytes = 0;
  readonly #maxBytes: number;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * The frames that are complete with this piece. Throws RangeError as soon as a frame's length is too large, and
   * SyntaxError for invalid JSON.
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
