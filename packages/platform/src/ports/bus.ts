import { Multimap } from "../multimap.ts";

/** Receives a message; an exception is logged. */
export type BusListener = (payload: string) => void;

/** Ends a subscription; resolves when no further message will arrive. */
export type Unsubscribe = () => Promise<void>;

/**
 * Messages between all processes of the system, including the sender. Delivered at most once: a subscriber without a
 * connection misses messages sent meanwhile. Messages of one sender on one topic arrive in order.
 */
export interface Bus {
  /** Publishes to the topic's subscribers. Never rejects: a message that cannot be sent is lost. */
  publish(topic: string, payload: string): Promise<void>;
  /**
   * Subscribes to a topic. Resolves when messages sent from now on will arrive, or after 2 s without a connection; the
   * subscription then starts with the next connection. `onGap` is called after each period in which messages may have
   * been lost: drop cached data.
   */
  subscribe(topic: string, listener: BusListener, onGap?: () => void): Promise<Unsubscribe>;
}

/**
 * Publishes without waiting. A bus that fails, in whatever way, loses the message and never ends the process: nobody
 * waits for the outcome who could handle it.
 */
export function send(bus: Pick<Bus, "publish">, topic: string, payload: string): void {
  try {
    const publishing = bus.publish(topic, payload);
    publishing.catch(() => {});
  } catch {
    // Lost like a message without a connection.
  }
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

  /** Removes a subscriber; returns whether it was the topic's last one. */
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

  /** Runs a subscriber's callback; logs its exception. */
  call(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      this.#onError(error);
    }
  }
}
