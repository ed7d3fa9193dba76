/**
 * Limits the sandboxes of all pools together by ending those that have been idle longest. Busy ones are limited by the
 * executor's slots.
 */
export class Crowd {
  readonly #most: number;
  #living = 0;
  /** Functions that end idle sandboxes, the longest idle first. */
  readonly #idle = new Set<() => void>();

  constructor(most: number) {
    this.#most = most;
  }

  enter(): void {
    this.#makeRoom(this.#most - 1);
    this.#living += 1;
  }

  leave(): void {
    this.#living -= 1;
  }

  rest(end: () => void): void {
    this.#idle.add(end);
    this.#makeRoom(this.#most);
  }

  wake(end: () => void): void {
    this.#idle.delete(end);
  }

  #makeRoom(most: number): void {
    for (const end of this.#idle) {
      if (this.#living <= most) return;
      this.#idle.delete(end);
      end();
    }
  }
}
