/** Work in the queue. */
interface Waiting {
  readonly start: () => void;
  readonly refuse: () => void;
}

/** A part of the queue: the work under one path, or the branches under one name, in the order of their turns. */
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

  /** Removes and returns the next item, from each branch in turn, except from branches that `mayHave` excludes. */
  next(mayHave: (name: string) => boolean = () => true): Waiting | undefined {
    for (const [name, branch] of this.branches) {
      if (!mayHave(name)) continue;
      const item = branch.next();
      // A branch that still has items moves to the end of the line.
      this.branches.delete(name);
      if (branch.size > 0) this.branches.set(name, branch);
      if (item !== undefined) this.size -= 1;
      return item;
    }
    const item = this.waiting.shift();
    if (item !== undefined) this.size -= 1;
    return item;
  }

  /**
   * Removes and returns the newest item of the largest branch, and within it of its largest, down to the last level. Of
   * several largest branches, the one last in line counts.
   */
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

/** The sizes of a queue. */
interface QueueSize {
  readonly running: number;
  /** The most that run under one first name: fewer than `running`, so that another name need not wait for an end. */
  readonly runningOfOne: number;
  readonly waiting: number;
}

/**
 * Limits concurrent work and the work that waits for it. Each item has a path, such as network, address and account.
 * Turns rotate between the first names, within each of them between the second ones, and so on. When the queue is full,
 * the newest item under the name with most items is refused, so a client that floods the queue displaces itself.
 */
export class FairQueue {
  readonly #size: QueueSize;
  readonly #refusal: () => Error;
  readonly #root = new Branch();
  /** Number of running items, by first name. */
  readonly #running = new Map<string, number>();
  #free: number;

  constructor(size: QueueSize, refusal: () => Error) {
    this.#size = size;
    this.#free = size.running;
    this.#refusal = refusal;
  }

  /**
   * Runs work when its turn has come. Rejects with the refusal when the queue is full, and with the signal's reason
   * when the signal fires before the turn.
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
