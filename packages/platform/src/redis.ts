import { Redis, type RedisOptions } from "ioredis";
import { z } from "zod";
import { integer, port } from "./env.ts";
import type { Logger } from "./logger.ts";

/**
 * The environment of a process that may talk to Redis, to spread into its config schema. REDIS_URL wins; the others count once
 * REDIS_HOST is set; neither: `redisUrl` gives undefined.
 */
export const redisEnv = {
  REDIS_URL: z
    .string()
    .regex(/^rediss?:\/\//, "expected a redis:// or rediss:// URL")
    .optional(),
  REDIS_HOST: z.string().optional(),
  REDIS_PORT: port(6379),
  REDIS_PASSWORD: z.string().optional(),
  REDIS_DB: integer(0, { min: 0, max: 1_000_000 }),
};

/** The parsed part of a configuration that `redisEnv` describes. */
export type RedisConfig = z.output<z.ZodObject<typeof redisEnv>>;

/** The address of the configured Redis; undefined when none is set. */
export function redisUrl(config: RedisConfig): string | undefined {
  if (config.REDIS_URL !== undefined) return config.REDIS_URL;
  if (config.REDIS_HOST === undefined) return undefined;
  const password = config.REDIS_PASSWORD === undefined ? "" : `:${encodeURIComponent(config.REDIS_PASSWORD)}@`;
  const host = config.REDIS_HOST.includes(":") ? `[${config.REDIS_HOST}]` : config.REDIS_HOST;
  return `redis://${password}${host}:${config.REDIS_PORT}/${config.REDIS_DB}`;
}

/**
 * A connection that gives up early: a command fails at once while there is no connection, and after `commandTimeout` (500 ms) when the
 * server hangs. It reconnects by itself, and logs once when an outage begins and once when it ends.
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

/** Whether the connection is usable within the given milliseconds; starts one made with `lazyConnect`. */
export function whenReady(redis: Redis, patienceMs: number): Promise<boolean> {
  if (redis.status === "ready") return Promise.resolve(true);
  // What it rejects with is an error event as well.
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
