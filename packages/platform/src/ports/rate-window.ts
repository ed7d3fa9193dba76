/** One window of one key. */
export class Window {
  /** Milliseconds since the epoch. */
  start: number;
  /** Requests allowed in this window. */
  current = 0;
  /** Requests allowed in the window before. */
  previous = 0;

  constructor(start: number) {
    this.start = start;
  }

  /** Moves on to the window that holds `now`. */
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
   * What counts against the limit at a time that is not past, if nothing is added until then: the window's requests, and of the one
   * before the part that has not faded out.
   */
  used(at: number, length: number): number {
    if (at < this.start + length) return fade(this.previous, at - this.start, length) + this.current;
    return at < this.start + 2 * length ? fade(this.current, at - this.start - length, length) : 0;
  }
}

function fade(count: number, elapsed: number, length: number): number {
  return count === 0 ? 0 : Math.floor(count * (1 - (Math.max(0, elapsed) + 1) / length));
}
