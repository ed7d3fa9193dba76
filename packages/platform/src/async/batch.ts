/** How items are flushed, and the limits of a batch. */
export interface BatchOptions<Item, Result> {
  /** Returns one result per item, in order. */
  flush(items: readonly Item[]): Promise<readonly Result[]>;
  /**
   * Maximum number of batches in flight; items added meanwhile are flushed together when one returns. Unlimited unless
   * given.
   */
  inFlight?: number;
  /**
   * Milliseconds after which a batch that has not returned no longer counts as in flight, so that one stuck batch does
   * not block all others.
   */
  patienceMs?: number;
  /** Maximum number of items per batch; unlimited unless given. */
  maxItems?: number;
  /** Maximum sum of `sizeOf` over the items of a batch; an item that is larger is flushed alone. */
  maxSize?: number;
  sizeOf?(item: Item): number;
  /**
   * Items that share a key are never in flight at the same time and are flushed in the order in which they were added.
   */
  keysOf?(item: Item): readonly string[];
  /**
   * Whether a flush failed because of an item in it, and had no effect. Such a batch is halved until the bad items
   * stand alone and only they are rejected; unless given, a failure rejects the whole batch.
   */
  blamesItem?(error: unknown): boolean;
}

interface Waiting<Item, Result> {
  readonly item: Item;
  readonly keys: readonly string[];
  readonly size: number;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Flushes items together: those added within one tick of the event loop and, where batches in flight are limited, those
 * added while no batch could be sent. When nothing is in flight, an item is flushed at the end of the tick in which it
 * was added.
 */
export class Batch<Item, Result> {
  readonly #options: BatchOptions<Item, Result>;
  #waiting: Waiting<Item, Result>[] = [];
  #isDue = false;
  readonly #busyKeys = new Set<string>();
  readonly #flying = new Set<Promise<void>>();
  /** Batches in flight that count against the limit. */
  #counted = 0;

  constructor(options: BatchOptions<Item, Result>) {
    this.#options = options;
  }

  /** Resolves to the item's result; rejects when its flush does, and when its keys or size cannot be determined. */
  add(item: Item): Promise<Result> {
    return new Promise((resolve, reject) => {
      const { keysOf, sizeOf } = this.#options;
      this.#waiting.push({ item, keys: keysOf?.(item) ?? [], size: sizeOf?.(item) ?? 0, resolve, reject });
      this.#departSoon();
    });
  }

  /** Resolves when all items added so far have been flushed. */
  async idle(): Promise<void> {
    while (this.#waiting.length > 0 || this.#flying.size > 0) {
      await (this.#flying.size > 0 ? Promise.all(this.#flying) : new Promise((done) => setImmediate(done)));
    }
  }

  #departSoon(): void {
    const { inFlight = Number.POSITIVE_INFINITY } = this.#options;
    if (this.#isDue || this.#counted >= inFlight) return;
    this.#isDue = true;
    setImmediate(() => {
      this.#isDue = false;
      while (this.#counted < inFlight) {
        const batch = this.#take();
        if (batch.length === 0) return;
        this.#depart(batch);
      }
    });
  }

  #depart(batch: readonly Waiting<Item, Result>[]): void {
    const { patienceMs } = this.#options;
    let counts = true;
    this.#counted += 1;
    const discount = () => {
      if (counts) this.#counted -= 1;
      counts = false;
      if (this.#waiting.length > 0) this.#departSoon();
    };
    const timer = patienceMs === undefined ? undefined : setTimeout(discount, patienceMs);
    const flying = this.#fly(batch).finally(() => {
      clearTimeout(timer);
      this.#flying.delete(flying);
      discount();
    });
    this.#flying.add(flying);
  }

  /** Takes the next batch from the waiting items. */
  #take(): Waiting<Item, Result>[] {
    const { maxItems = Number.POSITIVE_INFINITY, maxSize = Number.POSITIVE_INFINITY } = this.#options;
    const batch: Waiting<Item, Result>[] = [];
    const left: Waiting<Item, Result>[] = [];
    /** Keys of items left waiting: later items with the same key must not overtake them. */
    const passed = new Set<string>();
    let total = 0;
    for (const [index, waiting] of this.#waiting.entries()) {
      if (batch.length === maxItems) {
        left.push(...this.#waiting.slice(index));
        break;
      }
      const { keys, size } = waiting;
      const stays =
        (batch.length > 0 && total + size > maxSize) || keys.some((key) => this.#busyKeys.has(key) || passed.has(key));
      for (const key of keys) (stays ? passed : this.#busyKeys).add(key);
      if (!stays) total += size;
      (stays ? left : batch).push(waiting);
    }
    this.#waiting = left;
    return batch;
  }

  async #fly(batch: readonly Waiting<Item, Result>[]): Promise<void> {
    await this.#flush(batch);
    for (const { keys } of batch) for (const key of keys) this.#busyKeys.delete(key);
  }

  /** Flushes items and settles their promises. Never rejects. */
  async #flush(batch: readonly Waiting<Item, Result>[]): Promise<void> {
    try {
      const results = await this.#options.flush(batch.map(({ item }) => item));
      for (const [index, { resolve }] of batch.entries()) resolve(results[index] as Result);
    } catch (error) {
      if (batch.length === 1 || this.#options.blamesItem?.(error) !== true) {
        for (const { reject } of batch) reject(error);
        return;
      }
      const half = Math.ceil(batch.length / 2);
      await this.#flush(batch.slice(0, half));
      await this.#flush(batch.slice(half));
    }
  }
}
