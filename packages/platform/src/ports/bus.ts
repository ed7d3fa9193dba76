import { Multimap } from "../multimap.ts";

/** Receives a message; what it throws is logged. */
export type BusListener = (payload: string) => void;

/** Ends a subscription; resolves when no further message comes. */
export type Unsubscribe = () => Promise<void>;

/**
 * Messages between all processes of the system, the sender included. At most once: a message that is sent while a subscriber has no
 * connection is lost to it. Messages of one sender on one topic arrive in order.
 */
export interface Bus {
  /** Sends to the topic's subscribers. Never rejects: a message that cannot be sent is lost. */
  publish(topic: string, payload: string): Promise<void>;
  /**
   * Listens to a topic; resolves when messages sent from now on arrive, or after 2 s without a connection, which then
   * follows when there is one. `onGap` is called after each stretch in which messages may have been lost: drop what was cached.
   */
  subscribe(topic: string, listener: BusListener, onGap?: () => void): Promise<Unsubscribe>;
}

/** One subscription. */
export interface Subscriber {
  readonly listener: BusListener;
  readonly onGap: (() => void) | undefined;
}

/** Subscriptions by topic. */
export class Subscribers<S extends Subscriber = Subscriber> {
  readonly #topics = new Multimap<string, S>();
  readonly #onError: (error: unknown) => void;

  constructor(onError: (error: unknown) => void) {
    this.#onError = onError;
  }

  add(topic: string, subscriber: S): void {
    this.#topics.add(topic, subscriber);
  }

  /** Whether that was the topic's last one. */
  delete(topic: string, subscriber: S): boolean {
    return this.#topics.delete(topic, subscriber) && !this.#topics.has(topic);
  }

  topics(): string[] {
    return [...this.#topics.keys()];
  }

  all(): S[] {
    return this.topics().flatMap((topic) => this.#topics.get(topic));
  }

  deliver(topic: string, payload: string): void {
    for (const { listener } of this.#topics.get(topic)) this.call(() => listener(payload));
  }

  /** Calls what a subscriber gave; its failure is its own. */
  call(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      this.#onError(error);
    }
  }
}
