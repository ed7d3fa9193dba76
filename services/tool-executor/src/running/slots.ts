/** Bounds what runs at the same time. Who waits is served in turn by owner, so that one owner's batch does not hold up the others. */
export class Slots {
  #free: number;
  readonly #waiting = new Map<string, Set<() => void>>();

  constructor(size: number) {
    this.#free = size;
  }

  /** Waits for a slot; call what it returns once, to give the slot back. Rejects with the signal's reason when that fires first. */
  async take(owner: string, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#free > 0) this.#free -= 1;
    else await this.#wait(owner, signal);
    return () => this.#release();
  }

  #wait(owner: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const queue = this.#waiting.get(owner) ?? new Set();
      this.#waiting.set(owner, queue);
      const onAbort = () => {
        queue.delete(onTurn);
        if (queue.size === 0 && this.#waiting.get(owner) === queue) this.#waiting.delete(owner);
        reject(signal.reason);
      };
      const onTurn = () => {
        signal.removeEventListener("abort", onAbort);
        resolve();
      };
      queue.add(onTurn);
      signal.addEventListener("abort", onAbort, { once: true });
    });
  }

  #release(): void {
    for (const [owner, queue] of this.#waiting) {
      // To the end of the line with this owner, if more of its calls wait.
      this.#waiting.delete(owner);
      for (const onTurn of queue) {
        queue.delete(onTurn);
        if (queue.size > 0) this.#waiting.set(owner, queue);
        onTurn();
        return;
      }
    }
    this.#free += 1;
  }
}
