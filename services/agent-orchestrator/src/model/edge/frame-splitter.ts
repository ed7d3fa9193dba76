/**
 * Splits a stream of server-sent events into frames, wherever the stream was cut into pieces. Frames are binary strings
 * (one character per byte): they are searched and joined faster than buffers, and unread bytes pass unchanged.
 */
export class FrameSplitter {
  #rest = "";

  /** The frames that this piece completes, without their blank lines. */
  push(piece: Buffer): string[] {
    let data = this.#rest + piece.toString("latin1");
    // JSON text contains no unescaped carriage return. One at the very end waits for its line feed.
    if (data.includes("\r")) data = data.replaceAll("\r\n", "\n");
    const frames: string[] = [];
    let from = 0;
    // Blank lines that belong to the frame before.
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

  /** The rest when the stream has ended: a last frame without a blank line, if any. */
  end(): string | undefined {
    const rest = this.#rest;
    this.#rest = "";
    return rest === "" ? undefined : rest;
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
  const lines = frame
    .split("\n")
    .filter((line) => line.startsWith("data:"))
    .map((line) => line.slice(5).replace(/^ /, ""));
  return lines.length === 0 ? undefined : decoded(lines.join("\n")).trim();
}
