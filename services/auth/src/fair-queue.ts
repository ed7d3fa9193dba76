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

  /** Takes out the one whose turn it is: of each branch in turn, but for those that may have none. */
  next(mayHave: (name: string) => boolean = () => true): Waiting | undefined {
    for (const [name, branch] of this.branches) {
      if (!mayHave(name)) continue;
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

/** How much a queue lets run and wait. */
interface QueueSize {
  readonly running: number;
  /** Of the running ones, those under one first name: fewer than all, so that another one need not wait for an end. */
  readonly runningOfOne: number;
  readonly waiting: number;
}

/**
 * Bounds what runs at the same time and what waits for it. Each has a path, such as network, address and account: turns
 * go round between the first names, within each of them between the second ones, and so on. When all places are taken,
 * the youngest of the name under which most wait is refused: whoever fills the queue displaces themselves.
 */
export class FairQueue {
  readonly #size: QueueSize;
  readonly #refusal: () => Error;
  readonly #root = new Branch();
  /** What runs under each first name. */
  readonly #running = new Map<string, number>();
  #free: number;

  constructor(size: QueueSize, refusal: () => Error) {
    this.#size = size;
    this.#free = size.running;
    this.#refusal = refusal;
  }

  /**
   * Runs work when its turn has come. Rejects with the refusal when too many wait, and with the signal's reason when
   * that fires before the turn.
   */
  async run<T>(path: readonly [string, ...string[]], signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    const [name] = path;
    if (this.#free > 0 && this.#mayStart(name)) this.#take(name);
    else await this.#turn(path, signal);
    try {
      return await work();
    } finally {
      this.#giveBack(name);
      if (this.#free > 0) this.#root.next((other) => this.#mayStart(other))?.start();
    }
  }

  #mayStart(name: string): boolean {
    return (this.#running.get(name) ?? 0) < this.#size.runningOfOne;
  }

  #take(name: string): void {
    this.#free -= 1;
    this.#running.set(name, (this.#running.get(name) ?? 0) + 1);
  }

  #giveBack(name: string): void {
    this.#free += 1;
    const left = (this.#running.get(name) ?? 0) - 1;
    if (left > 0) this.#running.set(name, left);
    else this.#running.delete(name);
  }

  #turn(path: readonly [string, ...string[]], signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        if (this.#root.remove(path, 0, item)) reject(signal.reason);
      };
      const start = () => {
        signal.removeEventListener("abort", onAbort);
        this.#take(path[0]);
        resolve();
      };
      const refuse = () => {
        signal.removeEventListener("abort", onAbort);
        reject(this.#refusal());
      };
      const item: Waiting = { start, refuse };
      signal.addEventListener("abort", onAbort, { once: true });
      this.#root.add(path, 0, item);
      if (this.#root.size > this.#size.waiting) this.#root.heaviest()?.refuse();
    });
  }
}
