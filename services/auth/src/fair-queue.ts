/** Work that waits for its turn. */
interface Waiting {
  readonly start: () => void;
  readonly refuse: () => void;
}

/** Some of the waiting: the last place of a path, or all places under one name, in the order of their turns. */
class Branch {
  size = 0;
  readonly branches = new Map<string, Branch>();
  readonly waiting: Waiting[] = [];

  add(path: readonly string[], at: number, item: Waiting): void {
    this.size += 1;
    const name = path[at];
    if (name === undefined) {
      this.waiting.push(item);
      return;
    }
    const branch = this.branches.get(name) ?? new Branch();
    this.branches.set(name, branch);
    branch.add(path, at + 1, item);
  }

  /** Takes out the one whose turn it is: of each branch in turn. */
  next(): Waiting | undefined {
    for (const [name, branch] of this.branches) {
      const item = branch.next();
      // To the end of the line, if more of it waits.
      this.branches.delete(name);
      if (branch.size > 0) this.branches.set(name, branch);
      if (item !== undefined) this.size -= 1;
      return item;
    }
    const item = this.waiting.shift();
    if (item !== undefined) this.size -= 1;
    return item;
  }

  /** Takes out the youngest of the branch in which most wait, of several the last in the line, and so on down. */
  heaviest(): Waiting | undefined {
    let name = "";
    let most: Branch | undefined;
    for (const [one, branch] of this.branches) if (most === undefined || branch.size >= most.size) [name, most] = [one, branch];
    const item = most === undefined ? this.waiting.pop() : most.heaviest();
    if (most?.size === 0) this.branches.delete(name);
    if (item !== undefined) this.size -= 1;
    return item;
  }

  remove(path: readonly string[], at: number, item: Waiting): boolean {
    const name = path[at];
    if (name === undefined) {
      const place = this.waiting.indexOf(item);
      if (place < 0) return false;
      this.waiting.splice(place, 1);
      this.size -= 1;
      return true;
    }
    const branch = this.branches.get(name);
    if (branch === undefined || !branch.remove(path, at + 1, item)) return false;
    if (branch.size === 0) this.branches.delete(name);
    this.size -= 1;
    return true;
  }
}

/**
 * Bounds what runs at the same time and what waits for it. Who waits has a path, such as network, address and account: turns go round between the first
 * names, within each of them between the second ones, and so on. When all places are taken, the youngest of the name under which most
 * wait is refused: whoever fills the queue displaces themselves.
 */
export class FairQueue {
  #free: number;
  readonly #maxWaiting: number;
  readonly #refusal: () => Error;
  readonly #root = new Branch();

  constructor(size: { running: number; waiting: number }, refusal: () => Error) {
    this.#free = size.running;
    this.#maxWaiting = size.waiting;
    this.#refusal = refusal;
  }

  /** Runs work when its turn has come. Rejects with the refusal when too many wait, and with the signal's reason when that fires before the turn. */
  async run<T>(path: readonly string[], signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    if (this.#free > 0) this.#free -= 1;
    else await this.#turn(path, signal);
    try {
      return await work();
    } finally {
      const next = this.#root.next();
      if (next === undefined) this.#free += 1;
      else next.start();
    }
  }

  #turn(path: readonly string[], signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        if (this.#root.remove(path, 0, item)) reject(signal.reason);
      };
      const settle = (end: () => void) => () => {
        signal.removeEventListener("abort", onAbort);
        end();
      };
      const item: Waiting = { start: settle(resolve), refuse: settle(() => reject(this.#refusal())) };
      signal.addEventListener("abort", onAbort, { once: true });
      this.#root.add(path, 0, item);
      if (this.#root.size > this.#maxWaiting) this.#root.heaviest()?.refuse();
    });
  }
}
