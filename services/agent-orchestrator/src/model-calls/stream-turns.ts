/** Bytes of one user's answers that are read in one turn of the event loop. */
const bytesPerTurn = 131_072;
/** The most bytes of a piece of a stream. */
export const pieceBytes = 8_192;

interface Waiting {
  readonly bytes: number;
  readonly pass: () => void;
}

/**
 * Shares the event loop among users: the answers of one user that are read as fast as they come take a bounded part of
 * each turn, so that the work of others is never behind all of them. Costs one callback for each turn with an answer.
 */
export class StreamTurns {
  readonly #taken = new Map<string, number>();
  /** Pieces and answers for later turns, by user. */
  readonly #waiting = new Map<string, Waiting[]>();
  #isSet = false;

  /**
   * Undefined when so many bytes of this user may be read now; otherwise resolves when they may. An answer of any size
   * fits a turn that nothing else has filled.
   */
  take(userId: string, bytes: number): Promise<void> | undefined {
    const taken = this.#taken.get(userId) ?? 0;
    if (taken < bytesPerTurn) {
      this.#taken.set(userId, taken + bytes);
      this.#setNext();
      return undefined;
    }
    return new Promise((pass) => {
      const waiting = this.#waiting.get(userId);
      if (waiting === undefined) this.#waiting.set(userId, [{ bytes, pass }]);
      else waiting.push({ bytes, pass });
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
      let taken = 0;
      let count = 0;
      for (; count < waiting.length && taken < bytesPerTurn; count += 1) taken += (waiting[count] as Waiting).bytes;
      const now = waiting.splice(0, count);
      if (waiting.length === 0) this.#waiting.delete(userId);
      this.#taken.set(userId, taken);
      for (const { pass } of now) pass();
    }
    if (this.#taken.size > 0) this.#setNext();
  };
}
