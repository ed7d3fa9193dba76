import { Redis, type RedisOptions } from "ioredis";
import type { Logger } from "../logger.ts";

/**
 * Opens a connection that fails fast: a command fails at once without a connection, and after `commandTimeout` (500 ms)
 * when the server hangs. It reconnects by itself, and logs the beginning and the end of each outage once.
 */
export function connectRedis(url: string, options: { name: string; logger: Logger } & RedisOptions): Redis {
  const { name, logger, ...rest } = options;
  const redis = new Redis(url, {
    connectionName: name,
    connectTimeout: 2_000,
    commandTimeout: 500,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: null,
    retryStrategy: (times) => Math.min(50 * 2 ** Math.min(times, 6), 1_000),
    ...rest,
  });
  let isDown = false;
  redis.on("error", (error) => {
    if (!isDown) logger.warn({ err: error, connection: name }, "Redis does not answer");
    isDown = true;
  });
  redis.on("ready", () => {
    if (isDown) logger.info({ connection: name }, "Redis answers again");
    isDown = false;
  });
  return redis;
}

/**
 * Resolves to whether the connection is usable within the given milliseconds; connects one created with `lazyConnect`.
 */
export function whenReady(redis: Redis, patienceMs: number): Promise<boolean> {
  if (redis.status === "ready") return Promise.resolve(true);
  // A rejection is also emitted as an error event.
  if (redis.status === "wait") redis.connect().catch(() => {});
  return new Promise((resolve) => {
    const finish = (ready: boolean) => {
      clearTimeout(timer);
      redis.off("ready", onReady);
      redis.off("end", onEnd);
      resolve(ready);
    };
    const onReady = () => finish(true);
    const onEnd = () => finish(false);
    const timer = setTimeout(onEnd, patienceMs);
    redis.once("ready", onReady);
    redis.once("end", onEnd);
  });
}
