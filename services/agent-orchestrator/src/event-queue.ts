/** Hands what is pushed, in order, to one reader who may come late or go early. */
export class EventQueue<T> implements AsyncIterable<T> {
  #items: T[] = [];
  #wake: (() => void) | undefined;
  #ended = false;
  #abandoned = false;

  /** Adds an item; dropped when the reader has gone. */
  push(item: T): void {
    if (this.#abandoned) return;
    this.#items.push(item);
    this.#wake?.();
  }

  /** No item comes after those that are pushed. */
  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    try {
      for (;;) {
        const items = this.#items;
        this.#items = [];
        yield* items;
        if (this.#items.length > 0) continue;
        if (this.#ended) return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
    } finally {
      this.#abandoned = true;
      this.#items = [];
    }
  }
}
