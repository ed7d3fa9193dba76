import type { Counts, UserEvent } from "../store/user-events.ts";
import type { EventQueue } from "./event-queue.ts";

/** Credentials' ends are told to logins alone. */
const ofCredentials: ReadonlySet<string> = new Set(["key.revoked", "session.ended"]);

/** One stream of a user's events. */
export interface EventStream {
  readonly userId: string;
  readonly isLogin: boolean;
  readonly queue: EventQueue;
  /** The counts that were told last; undefined while the stream opens. */
  counts: Counts | undefined;
}

/** A stream's beginning. */
export interface OpenedStream {
  readonly stream: EventStream;
  readonly counts: Counts;
  readonly atUs: number;
  /** Whether events since the given position may be missing. */
  readonly isReset: boolean;
  readonly missed: readonly UserEvent[];
}

/** Whether an event may be told on a stream. */
export function mayTell({ isLogin }: Pick<EventStream, "isLogin">, { type }: Pick<UserEvent, "type">): boolean {
  return isLogin || !ofCredentials.has(type);
}

/** Whether an event may change the counts of its user. */
export function mayChangeCounts({ type }: Pick<UserEvent, "type">): boolean {
  return !ofCredentials.has(type);
}

/** Whether two counts are the same. */
export function areEqual(a: Counts | undefined, b: Counts): boolean {
  return a?.pending === b.pending && a.needsReview === b.needsReview && a.running === b.running;
}

/** The streams of this process by user. */
export class EventStreams {
  readonly #streams = new Map<string, Set<EventStream>>();

  /** Whether there is none. */
  get isEmpty(): boolean {
    return this.#streams.size === 0;
  }

  /** UUIDs of the users who have streams. */
  users(): string[] {
    return [...this.#streams.keys()];
  }

  /** The streams of a user. */
  of(userId: string): Iterable<EventStream> {
    return this.#streams.get(userId) ?? [];
  }

  add(stream: EventStream): void {
    const others = this.#streams.get(stream.userId);
    if (others === undefined) this.#streams.set(stream.userId, new Set([stream]));
    else others.add(stream);
  }

  delete(stream: EventStream): void {
    const streams = this.#streams.get(stream.userId);
    if (streams?.delete(stream) && streams.size === 0) this.#streams.delete(stream.userId);
  }

  /** Gives a change to the streams of its user. Returns whether there is one. */
  deliver(event: UserEvent): boolean {
    const streams = this.#streams.get(event.userId);
    if (streams === undefined) return false;
    for (const stream of streams) if (mayTell(stream, event)) stream.queue.push(event);
    return true;
  }

  /** All streams. */
  *all(): Iterable<EventStream> {
    for (const streams of this.#streams.values()) yield* streams;
  }
}
