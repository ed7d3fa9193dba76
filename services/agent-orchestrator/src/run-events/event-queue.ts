/** Hands what is pushed, in order, to one reader who may come late or go early, and holds no more for him than it was told. */
export class EventQueue<T> implements AsyncIterable<T> {
  readonly #limit: number;
  readonly #sizeOf: (item: T) => number;
  #items: T[] = [];
  #size = 0;
  #wake: (() => void) | undefined;
  #ended = false;
  #error: unknown;
  #closed = false;

  /** `limit`: what may wait for the reader, in units of `sizeOf`; a single item may be larger. */
  constructor(limit: number, sizeOf: (item: T) => number) {
    this.#limit = limit;
    this.#sizeOf = sizeOf;
  }

  /**
   * Whether there is more than his iteration gives: the reader fell behind, so that all that waited for him was dropped, or what is pushed goes on
   * somewhere else.
   */
  isIncomplete = false;

  /** Adds an item; dropped when the reader has gone, or is too far behind. */
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

  /** No item comes after those that are pushed. With an error, it is thrown when they are read. */
  end(error?: unknown): void {
    if (this.#closed) return;
    this.#ended = true;
    this.#error = error;
    this.#wake?.();
  }

  /** The same, and it goes on somewhere else. */
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
