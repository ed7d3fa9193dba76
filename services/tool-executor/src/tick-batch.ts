/** Gathers what is added within one tick of the event loop and flushes it together, so that calls that end together share a statement. */
export class TickBatch<Item, Result> {
  readonly #flush: (items: readonly Item[]) => Promise<readonly Result[]>;
  #gathered: { item: Item; resolve: (result: Result) => void; reject: (error: unknown) => void }[] = [];
  readonly #flushing = new Set<Promise<void>>();

  /** `flush` gives one result for each item, in order. */
  constructor(flush: (items: readonly Item[]) => Promise<readonly Result[]>) {
    this.#flush = flush;
  }

  /** The item's result; rejects when its flush does. */
  add(item: Item): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#gathered.push({ item, resolve, reject });
      if (this.#gathered.length > 1) return;
      const flushing = new Promise<void>((done) => setImmediate(done)).then(() => this.#flushGathered());
      this.#flushing.add(flushing);
      void flushing.finally(() => this.#flushing.delete(flushing));
    });
  }

  /** Resolves when all that was added has been flushed. */
  async idle(): Promise<void> {
    while (this.#flushing.size > 0) await Promise.all(this.#flushing);
  }

  async #flushGathered(): Promise<void> {
    const batch = this.#gathered;
    this.#gathered = [];
    try {
      const results = await this.#flush(batch.map(({ item }) => item));
      for (const [index, { resolve }] of batch.entries()) resolve(results[index] as Result);
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }
}
