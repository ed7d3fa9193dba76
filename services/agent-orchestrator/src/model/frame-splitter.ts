const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const blankLine = Buffer.from("\n\n");

/** Takes carriage returns before line feeds away. JSON text holds none that is not escaped. */
function withoutCarriageReturns(data: Buffer): Buffer {
  const clean = Buffer.allocUnsafe(data.length);
  let length = 0;
  for (let i = 0; i < data.length; i++) {
    const byte = data[i] as number;
    if (byte === carriageReturn && data[i + 1] === lineFeed) continue;
    clean[length++] = byte;
  }
  return clean.subarray(0, length);
}

/** Cuts a stream of server-sent events into frames, wherever the pieces of the stream were cut. Frames share the pieces' memory. */
export class FrameSplitter {
  #rest: Buffer | undefined;

  /** The frames that are whole after this piece, without their blank lines. */
  push(piece: Buffer): Buffer[] {
    let data = this.#rest === undefined ? piece : Buffer.concat([this.#rest, piece]);
    // A carriage return at the very end waits for its line feed.
    if (data.includes(carriageReturn)) data = withoutCarriageReturns(data);
    const frames: Buffer[] = [];
    let from = 0;
    // Blank lines that were cut off from the frame before them.
    while (data[from] === lineFeed) from++;
    for (;;) {
      const to = data.indexOf(blankLine, from);
      if (to < 0) break;
      frames.push(data.subarray(from, to));
      from = to + 2;
      while (data[from] === lineFeed) from++;
    }
    this.#rest = from === data.length ? undefined : data.subarray(from);
    return frames;
  }

  /** What is left when the stream has ended: a last frame without a blank line, if any. */
  end(): Buffer | undefined {
    const rest = this.#rest;
    this.#rest = undefined;
    return rest === undefined || rest.length === 0 ? undefined : rest;
  }
}

const dataPrefix = Buffer.from("data:");

/** The data of a frame as text; undefined for comments and frames without data. */
export function frameData(frame: Buffer): string | undefined {
  if (frame.indexOf(lineFeed) < 0 && frame.subarray(0, 5).equals(dataPrefix)) return frame.toString("utf8", 5).trim();
  const lines = frame
    .toString("utf8")
    .split("\n")
    .filter((line) => line.startsWith("data:"))
    .map((line) => line.slice(5).replace(/^ /, ""));
  return lines.length === 0 ? undefined : lines.join("\n").trim();
}
