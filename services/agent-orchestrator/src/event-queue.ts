/** Hands what is pushed, in order, to one reader who may come late or go early, and holds no more for him than it was told. */
export class EventQueue<T> implements AsyncIterable<T> {
  readonly #limit: number;
  readonly #sizeOf: (item: T) => number;
  #items: T[] = [];
  #size = 0;
  #wake: (() => void) | undefined;
  #ended = false;
  #closed = false;

  /** `limit`: what may wait for the reader, in units of `sizeOf`; a single item may be larger. */
  constructor(limit: number, sizeOf: (item: T) => number) {
    this.#limit = limit;
    this.#sizeOf = sizeOf;
  }

  /** Whether the reader fell behind, so that all that waited for him was dropped. His iteration ends then. */
  overflowed = false;

  /** Adds an item; dropped when the reader has gone, or is too far behind. */
  push(item: T): void {
    if (this.#closed) return;
    const size = this.#sizeOf(item);
    if (this.#size > 0 && this.#size + size > this.#limit) {
      this.overflowed = true;
      this.#close();
    } else {
      this.#size += size;
      this.#items.push(item);
    }
    this.#wake?.();
  }

  /** No item comes after those that are pushed. */
  end(): void {
    this.#ended = true;
    this.#wake?.();
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
