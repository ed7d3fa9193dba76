/**
 * Cuts a stream of server-sent events into frames, wherever the pieces of the stream were cut. Frames are binary strings (a character
 * for each byte): they are searched and put together faster than buffers, and bytes that nobody reads pass as they are.
 */
export class FrameSplitter {
  #rest = "";

  /** The frames that are whole after this piece, without their blank lines. */
  push(piece: Buffer): string[] {
    let data = this.#rest + piece.toString("latin1");
    // JSON text holds no carriage return that is not escaped. One at the very end waits for its line feed.
    if (data.includes("\r")) data = data.replaceAll("\r\n", "\n");
    const frames: string[] = [];
    let from = 0;
    // Blank lines that were cut off from the frame before them.
    while (data[from] === "\n") from++;
    for (;;) {
      const to = data.indexOf("\n\n", from);
      if (to < 0) break;
      frames.push(data.slice(from, to));
      from = to + 2;
      while (data[from] === "\n") from++;
    }
    this.#rest = from === data.length ? "" : data.slice(from);
    return frames;
  }

  /** What is left when the stream has ended: a last frame without a blank line, if any. */
  end(): string | undefined {
    const rest = this.#rest;
    this.#rest = "";
    return rest === "" ? undefined : rest;
  }
}

/** Text of a binary string that holds UTF-8. */
export function decoded(binary: string): string {
  return Buffer.from(binary, "latin1").toString("utf8");
}

/** Text as a binary string in UTF-8. */
export function encoded(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1");
}

/** The data of a frame as text; undefined for comments and frames without data. */
export function frameData(frame: string): string | undefined {
  const lines = frame
    .split("\n")
    .filter((line) => line.startsWith("data:"))
    .map((line) => line.slice(5).replace(/^ /, ""));
  return lines.length === 0 ? undefined : decoded(lines.join("\n")).trim();
}
