import type { Counts, UserEvent } from "../store/user-events.ts";

/** The most changes that wait for one stream. */
const maxWaiting = 256;

/** The next message of a stream. */
export type Told =
  | { readonly kind: "counts"; readonly counts: Counts; readonly atUs: number; readonly isReset: boolean }
  | { readonly kind: "event"; readonly event: UserEvent };

/**
 * The changes that wait for one stream, one for each thing that has changed: the newest. A reader that falls behind by
 * more than 256 things loses them and is told so with the next counts.
 */
export class EventQueue {
  #events: Map<string, UserEvent> | undefined;
  #counts: { counts: Counts; atUs: number } | undefined;
  #hasMissed = false;
  #isClosed = false;
  #wake: (() => void) | undefined;

  /** Whether events were lost and fresh counts have to come before the next one. */
  get hasMissed(): boolean {
    return this.#hasMissed;
  }

  /** Whether changes wait that explain new counts. */
  get isTelling(): boolean {
    return this.#events !== undefined;
  }

  /** Adds a change. */
  push(event: UserEvent): void {
    if (this.#isClosed || this.#hasMissed) return;
    const events = this.#events ?? new Map<string, UserEvent>();
    this.#events = events;
    const known = events.get(event.subject);
    if (known !== undefined && known.seq > event.seq) return;
    events.delete(event.subject);
    events.set(event.subject, event);
    if (events.size > maxWaiting) this.miss();
    else this.#wake?.();
  }

  /** Notes that events are lost: nothing is told before the next counts. */
  miss(): void {
    this.#hasMissed = true;
    this.#events = undefined;
  }

  /** Sets the counts that are told next. */
  setCounts(counts: Counts, atUs: number): void {
    if (this.#isClosed) return;
    this.#counts = { counts, atUs };
    this.#wake?.();
  }

  /** Ends the stream. */
  close(): void {
    this.#isClosed = true;
    this.#events = undefined;
    this.#wake?.();
  }

  /** The next waiting message, changes oldest first, then counts. Undefined: the queue is closed. */
  async next(): Promise<Told | undefined> {
    for (;;) {
      if (this.#isClosed) return undefined;
      const told = this.#take();
      if (told !== undefined) return told;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }

  #take(): Told | undefined {
    const [first] = this.#events ?? [];
    if (first !== undefined) {
      const [subject, event] = first;
      this.#events?.delete(subject);
      if (this.#events?.size === 0) this.#events = undefined;
      return { kind: "event", event };
    }
    const counts = this.#counts;
    if (counts === undefined) return undefined;
    const isReset = this.#hasMissed;
    this.#counts = undefined;
    this.#hasMissed = false;
    return { kind: "counts", ...counts, isReset };
  }
}
