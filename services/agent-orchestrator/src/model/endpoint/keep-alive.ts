const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const colon = 0x3a;

/**
 * Notices a stream that sends comments only. Endpoints send comments while a request waits, and each of them proves
 * that the connection lives, but not that an answer will come.
 */
export class KeepAliveWatch {
  readonly #limitMs: number;
  readonly #now: () => number;
  /** The line that is arriving: not begun, a comment, or another one. */
  #line: "none" | "comment" | "data" = "none";
  /** When the silence began; -1: with the next piece that has no data. */
  #since: number;

  /** `limitMs`: time without a whole line of data. */
  constructor(limitMs: number, now: () => number = () => performance.now()) {
    this.#limitMs = limitMs;
    this.#now = now;
    this.#since = now();
  }

  /** Takes a piece; false when the time without a whole line of data is over. */
  isAlive(piece: Buffer): boolean {
    if (this.#endsData(piece)) {
      // Read again with the next piece that has none: pieces of data cost no look at the clock.
      this.#since = -1;
      return true;
    }
    if (this.#since < 0) this.#since = this.#now();
    return this.#now() - this.#since <= this.#limitMs;
  }

  /** Whether a line of data ends in this piece. */
  #endsData(piece: Buffer): boolean {
    let at = 0;
    while (at < piece.length) {
      if (this.#line === "none") this.#line = this.#kindOf(piece[at] as number);
      let end = piece.indexOf(lineFeed, at);
      // Lines may also end in a carriage return alone.
      if (end < 0) end = piece.indexOf(carriageReturn, at);
      if (end < 0) return false;
      const isData = this.#line === "data";
      this.#line = "none";
      at = end + 1;
      if (isData) {
        this.#skipTo(piece, at);
        return true;
      }
    }
    return false;
  }

  /** Sets the state to the line after the last line feed. */
  #skipTo(piece: Buffer, from: number): void {
    const last = piece.lastIndexOf(lineFeed);
    const at = Math.max(from, last + 1);
    if (at < piece.length) this.#line = this.#kindOf(piece[at] as number);
  }

  #kindOf(first: number): "none" | "comment" | "data" {
    if (first === lineFeed || first === carriageReturn) return "none";
    return first === colon ? "comment" : "data";
  }
}
