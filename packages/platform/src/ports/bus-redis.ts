import type { Redis } from "ioredis";
import type { Logger } from "../logger.ts";
import { type Bus, type Subscriber, Subscribers } from "./bus.ts";
import { whenReady } from "./redis.ts";

/** Separates the topics from other users of the same Redis. */
const prefix = "turnwright:bus:";

/** The channel of a topic, for scripts that publish directly. */
export function busChannel(topic: string): string {
  return prefix + topic;
}

/** How long `subscribe` waits for a connection, in milliseconds. */
const patienceMs = 2_000;

interface RedisSubscriber extends Subscriber {
  /** Whether `subscribe` has resolved: from then on, time without a connection counts as a gap. */
  isSettled: boolean;
}

/** A bus over Redis publish and subscribe. `listening` is a dedicated connection with `autoResubscribe: false`. */
export function createRedisBus(options: { sending: Redis; listening: Redis; logger: Logger }): Bus {
  const { sending, listening, logger } = options;
  const subscribers = new Subscribers<RedisSubscriber>((error) => logger.error({ err: error }, "bus listener failed"));

  async function listen(topics: readonly string[]): Promise<boolean> {
    if (topics.length === 0) return true;
    try {
      await listening.subscribe(...topics.map((topic) => prefix + topic));
      return true;
    } catch (error) {
      logger.warn({ err: error }, "bus subscription failed");
      // Unless the server refused the subscription, reconnect: the connection is lost or hangs, and the next one
      // subscribes again.
      if (!(error instanceof Error && error.name === "ReplyError")) listening.disconnect(true);
      return false;
    }
  }

  listening.on("message", (channel: string, payload: string) => subscribers.deliver(channel.slice(prefix.length), payload));
  // Replaces the client's own resubscription: a gap may be reported only when messages arrive again.
  listening.on("ready", async () => {
    const missed = subscribers.all().filter(({ isSettled }) => isSettled);
    if (!(await listen(subscribers.topics()))) return;
    for (const { onGap } of missed) if (onGap !== undefined) subscribers.call(onGap);
  });

  return {
    async publish(topic, payload) {
      try {
        await sending.publish(prefix + topic, payload);
      } catch (error) {
        logger.debug({ err: error, topic }, "bus message lost");
      }
    },
    async subscribe(topic, listener, onGap) {
      const subscriber = { listener, onGap, isSettled: false };
      subscribers.add(topic, subscriber);
      if (await whenReady(listening, patienceMs)) await listen([topic]);
      subscriber.isSettled = true;
      return async () => {
        const wasLast = subscribers.delete(topic, subscriber);
        if (wasLast && listening.status === "ready") await listening.unsubscribe(prefix + topic).catch(() => {});
      };
    },
  };
}
