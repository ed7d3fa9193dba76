/** One window of one key. */
export class Window {
  /** Milliseconds since the epoch. */
  start: number;
  /** Requests allowed in this window. */
  current = 0;
  /** Requests allowed in the previous window. */
  previous = 0;

  constructor(start: number) {
    this.start = start;
  }

  /** Advances to the window that contains `now`. */
  roll(now: number, length: number): void {
    if (now < this.start + length) return;
    if (now >= this.start + 2 * length) {
      this.start = now;
      this.previous = 0;
    } else {
      this.start += length;
      this.previous = this.current;
    }
    this.current = 0;
  }

  /**
   * Requests that count against the limit at `at` (now or later), if none is added until then: those of this window,
   * and the part of the previous window that has not faded out.
   */
  used(at: number, length: number): number {
    if (at < this.start + length) return fade(this.previous, at - this.start, length) + this.current;
    return at < this.start + 2 * length ? fade(this.current, at - this.start - length, length) : 0;
  }
}

function fade(count: number, elapsed: number, length: number): number {
  return count === 0 ? 0 : Math.floor(count * (1 - (Math.max(0, elapsed) + 1) / length));
}
