/**
 * Passes pushed items, in order, to one reader that may come late or leave early. Holds no more for it than a limit.
 */
export class EventQueue<T> implements AsyncIterable<T> {
  readonly #limit: number;
  readonly #sizeOf: (item: T) => number;
  #items: T[] = [];
  #size = 0;
  #wake: (() => void) | undefined;
  #ended = false;
  #error: unknown;
  #closed = false;

  /** `limit`: the most that may wait for the reader, in units of `sizeOf`; a single item may be larger. */
  constructor(limit: number, sizeOf: (item: T) => number) {
    this.#limit = limit;
    this.#sizeOf = sizeOf;
  }

  /**
   * Whether the iteration does not yield everything: the reader fell behind, so that all waiting items were dropped, or
   * the items go on elsewhere.
   */
  isIncomplete = false;

  /** Adds an item. It is dropped when the reader has left or is too far behind. */
  push(item: T): void {
    if (this.#closed) return;
    const size = this.#sizeOf(item);
    if (this.#size > 0 && this.#size + size > this.#limit) {
      this.isIncomplete = true;
      this.#close();
    } else {
      this.#size += size;
      this.#items.push(item);
    }
    this.#wake?.();
  }

  /** Ends the queue after the pushed items. The iteration then throws the error, if one is given. */
  end(error?: unknown): void {
    if (this.#closed) return;
    this.#ended = true;
    this.#error = error;
    this.#wake?.();
  }

  /** Ends the queue; the items go on elsewhere. */
  leave(): void {
    this.isIncomplete = true;
    this.end();
  }

  #close(): void {
    this.#closed = true;
    this.#ended = true;
    this.#items = [];
    this.#size = 0;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    try {
      for (;;) {
        for (let item = this.#items.shift(); item !== undefined; item = this.#items.shift()) {
          this.#size -= this.#sizeOf(item);
          yield item;
        }
        if (this.#error !== undefined) throw this.#error;
        if (this.#ended) return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
    } finally {
      this.#close();
    }
  }
}
