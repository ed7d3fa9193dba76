import type { Logger } from "../logger.ts";
import { type Bus, Subscribers } from "./bus.ts";

/** A bus within one process. It loses no message, so it never calls `onGap`. */
export function createMemoryBus(options: { logger: Logger }): Bus {
  const subscribers = new Subscribers((error) => options.logger.error({ err: error }, "bus listener failed"));
  return {
    publish(topic, payload) {
      // Asynchronous, as with Redis: a listener must not run in the middle of its sender's work.
      queueMicrotask(() => subscribers.deliver(topic, payload));
      return Promise.resolve();
    },
    subscribe(topic, listener, onGap) {
      const subscriber = { listener, onGap };
      subscribers.add(topic, subscriber);
      return Promise.resolve(() => {
        subscribers.delete(topic, subscriber);
        return Promise.resolve();
      });
    },
  };
}
