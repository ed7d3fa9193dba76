import { hash } from "node:crypto";
import type { Redis } from "ioredis";
import type { Logger } from "../logger.ts";
import { type ConcurrencyLimiter, createMemoryConcurrencyLimiter } from "./concurrency.ts";
import type { Replicas } from "./replicas.ts";

const prefix = "turnwright:running:";
/** How long a slot lasts that nobody renews, in milliseconds. */
const leaseMs = 30_000;
const renewMs = 10_000;

/** One set a key: a member for each slot that is taken, scored by the time at which it lapses, on the server's clock. */
const script = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local is_renewal = ARGV[3] == '1'
if not is_renewal and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now + ${leaseMs}, ARGV[1])
redis.call('PEXPIRE', KEYS[1], ${leaseMs})
return 1
`;
const scriptHash = hash("sha1", script);

/** Slots that all processes of a Redis share. While it does not answer, each process hands out its part of them. */
export function createRedisConcurrencyLimiter(options: {
  redis: Redis;
  replicas: Replicas;
  logger: Logger;
}): ConcurrencyLimiter & { close(): void } {
  const { redis, replicas, logger } = options;
  const local = createMemoryConcurrencyLimiter();
  /** Slots of this process, by their member; renewed as long as they are held. */
  const held = new Map<string, string>();

  const run = async (key: string, member: string, max: number, isRenewal: boolean): Promise<boolean> => {
    const args = [prefix + key, member, max, isRenewal ? 1 : 0] as const;
    try {
      return (await redis.evalsha(scriptHash, 1, ...args)) === 1;
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith("NOSCRIPT"))) throw error;
      return (await redis.eval(script, 1, ...args)) === 1;
    }
  };
  const timer = setInterval(() => {
    if (redis.status !== "ready") return;
    for (const [member, key] of held) {
      run(key, member, 0, true).catch((error: unknown) => logger.debug({ err: error }, "a slot was not renewed"));
    }
  }, renewMs).unref();

  return {
    async acquire(key, max) {
      replicas.join();
      // Counted here as well, so that an outage begins with what is under way.
      const share = redis.status === "ready" ? max : Math.max(1, Math.floor(replicas.shareOf(max)));
      const releaseLocal = await local.acquire(key, share);
      if (releaseLocal === undefined) return undefined;
      if (redis.status !== "ready") return releaseLocal;
      const member = crypto.randomUUID();
      let isTaken: boolean;
      try {
        isTaken = await run(key, member, max, false);
      } catch (error) {
        logger.debug({ err: error }, "a slot was taken without Redis");
        return releaseLocal;
      }
      if (!isTaken) {
        releaseLocal();
        return undefined;
      }
      held.set(member, key);
      return () => {
        releaseLocal();
        if (!held.delete(member) || redis.status !== "ready") return;
        redis.zrem(prefix + key, member).catch((error: unknown) => logger.debug({ err: error }, "a slot lapses by itself"));
      };
    },
    close() {
      clearInterval(timer);
      for (const [member, key] of held) if (redis.status === "ready") redis.zrem(prefix + key, member).catch(() => {});
      held.clear();
    },
  };
}
