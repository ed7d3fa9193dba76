import { Multimap } from "@turnwright/platform/multimap";

/** Limits the tools that run at once. Waiting owners take turns, so one owner's batch does not hold up the others. */
export class Slots {
  readonly #size: number;
  #free: number;
  readonly #waiting = new Multimap<string, () => void>();
  /** The owners that wait, the next one first. */
  readonly #line = new Set<string>();

  constructor(size: number) {
    this.#size = size;
    this.#free = size;
  }

  /** Tools that run. */
  get taken(): number {
    return this.#size - this.#free;
  }

  /** Waits for a slot. Call the returned function once to give it back. Rejects with the signal's reason. */
  async take(owner: string, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#free > 0) this.#free -= 1;
    else await this.#wait(owner, signal);
    return () => this.#release();
  }

  #wait(owner: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#remove(owner, onTurn);
        reject(signal.reason);
      };
      const onTurn = () => {
        signal.removeEventListener("abort", onAbort);
        resolve();
      };
      this.#waiting.add(owner, onTurn);
      this.#line.add(owner);
      signal.addEventListener("abort", onAbort, { once: true });
    });
  }

  #remove(owner: string, onTurn: () => void): void {
    this.#waiting.delete(owner, onTurn);
    if (!this.#waiting.has(owner)) this.#line.delete(owner);
  }

  #release(): void {
    for (const owner of this.#line) {
      const [onTurn] = this.#waiting.get(owner);
      if (onTurn === undefined) continue;
      this.#remove(owner, onTurn);
      // To the end of the line, if more of this owner's calls wait.
      if (this.#line.delete(owner)) this.#line.add(owner);
      onTurn();
      return;
    }
    this.#free += 1;
  }
}
