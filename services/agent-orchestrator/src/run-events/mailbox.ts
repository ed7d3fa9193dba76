import type { LivePiece } from "./live-log.ts";

/** What a watcher finds in its mailbox: a piece; that some were lost because it did not come for them; that it is time to look elsewhere. */
export type Mail = LivePiece | "missed" | "tick";

/** The most that waits for a watcher, in characters. */
const maxHeld = 65_536;

/** What is said live to one watcher, until it comes for it. A watcher that does not come costs no more than one that does. */
export class Mailbox {
  #payloads: string[] = [];
  #held = 0;
  #hasMissed = false;
  #hasTicked = false;
  #isClosed = false;
  #wake: (() => void) | undefined;

  /** Takes a piece as it came off the bus. */
  deliver(payload: string): void {
    // Until the watcher knows that it missed something, nothing that comes after is of use to it.
    if (this.#hasMissed || this.#isClosed) return;
    this.#held += payload.length;
    if (this.#held > maxHeld && this.#payloads.length > 0) {
      this.#hasMissed = true;
      this.#payloads = [];
      this.#held = 0;
    } else this.#payloads.push(payload);
    this.#wake?.();
  }

  /** Wakes the watcher where nobody else does. */
  tick(): void {
    this.#hasTicked = true;
    this.#wake?.();
  }

  /** Nothing comes any more. */
  close(): void {
    this.#isClosed = true;
    this.#payloads = [];
    this.#wake?.();
  }

  /** The next piece or sign; undefined when the mailbox is closed. */
  async next(): Promise<Mail | undefined> {
    for (;;) {
      if (this.#isClosed) return undefined;
      const payload = this.#payloads.shift();
      if (payload !== undefined) {
        this.#held -= payload.length;
        return JSON.parse(payload) as LivePiece;
      }
      if (this.#hasMissed) {
        this.#hasMissed = false;
        return "missed";
      }
      if (this.#hasTicked) {
        this.#hasTicked = false;
        return "tick";
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }
}
