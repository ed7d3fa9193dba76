/** Pieces of one user's streams that are passed on in one turn of the event loop; each has up to 8 KiB. */
const piecesPerTurn = 16;

/**
 * Shares the event loop among users: streams of one user that are read as fast as they come take a bounded part of each
 * turn, so that the work of others is never behind all of them. Costs one callback for each turn with a piece.
 */
export class StreamTurns {
  readonly #taken = new Map<string, number>();
  /** Pieces for later turns, by user. */
  readonly #waiting = new Map<string, (() => void)[]>();
  #isSet = false;

  /** Undefined when a piece of this user may be passed on now; otherwise resolves when it may. */
  take(userId: string): Promise<void> | undefined {
    const taken = this.#taken.get(userId) ?? 0;
    if (taken < piecesPerTurn) {
      this.#taken.set(userId, taken + 1);
      this.#setNext();
      return undefined;
    }
    return new Promise((resolve) => {
      const waiting = this.#waiting.get(userId);
      if (waiting === undefined) this.#waiting.set(userId, [resolve]);
      else waiting.push(resolve);
    });
  }

  #setNext(): void {
    if (this.#isSet) return;
    this.#isSet = true;
    setImmediate(this.#turn);
  }

  readonly #turn = (): void => {
    this.#isSet = false;
    this.#taken.clear();
    for (const [userId, waiting] of this.#waiting) {
      const now = waiting.splice(0, piecesPerTurn);
      if (waiting.length === 0) this.#waiting.delete(userId);
      this.#taken.set(userId, now.length);
      for (const pass of now) pass();
    }
    if (this.#taken.size > 0) this.#setNext();
  };
}
