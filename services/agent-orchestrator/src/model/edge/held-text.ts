/** Pieces after which the newest ones are joined, so that tiny pieces do not cost a list entry each. */
const mostPieces = 1_024;

/** Text that arrives in pieces and is read once, when it is whole: linear in its length, whatever the pieces are. */
export class HeldText {
  #joined: string[] = [];
  #pieces: string[] = [];
  #length = 0;
  #last = "";

  /** Characters so far. */
  get length(): number {
    return this.#length;
  }

  /** The last piece. */
  get last(): string {
    return this.#last;
  }

  add(piece: string): void {
    if (piece === "") return;
    this.#last = piece;
    this.#length += piece.length;
    if (this.#pieces.push(piece) < mostPieces) return;
    this.#joined.push(this.#pieces.join(""));
    this.#pieces = [];
  }

  /** The whole text, which is then forgotten. */
  take(): string {
    const text = this.#joined.length === 0 ? this.#pieces.join("") : this.#joined.join("") + this.#pieces.join("");
    this.#joined = [];
    this.#pieces = [];
    this.#length = 0;
    this.#last = "";
    return text;
  }
}
