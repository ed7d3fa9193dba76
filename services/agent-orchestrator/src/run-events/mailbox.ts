import type { LivePiece } from "./live-log.ts";

/**
 * A watcher's mail: a piece of frames; `missed`, when pieces were dropped because the watcher did not come for them; or
 * `tick`, when it should look at the journal.
 */
export type Mail = LivePiece | "missed" | "tick";

/** The most that is held for a watcher, in characters. */
const maxHeld = 65_536;

/** Live pieces for one watcher until it takes them. A slow watcher costs no more memory than a fast one. */
export class Mailbox {
  #payloads: string[] = [];
  #held = 0;
  #hasMissed = false;
  #hasTicked = false;
  #isClosed = false;
  #wake: (() => void) | undefined;

  /** Takes a piece as it arrived on the bus. */
  deliver(payload: string): void {
    // Once a piece was dropped, later ones are of no use until the watcher knows it.
    if (this.#hasMissed || this.#isClosed) return;
    this.#held += payload.length;
    if (this.#held > maxHeld && this.#payloads.length > 0) {
      this.#hasMissed = true;
      this.#payloads = [];
      this.#held = 0;
    } else this.#payloads.push(payload);
    this.#wake?.();
  }

  /** Wakes the watcher when no piece has arrived. */
  tick(): void {
    this.#hasTicked = true;
    this.#wake?.();
  }

  /** Ends the mailbox. */
  close(): void {
    this.#isClosed = true;
    this.#payloads = [];
    this.#wake?.();
  }

  /** The next mail; undefined when the mailbox is closed. */
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
