import { z } from "zod";
import { integer, port } from "./env.ts";
import { encodedStoreUrl } from "./store-url.ts";

/**
 * Environment variables of a process that may use Redis, to spread into its config schema. REDIS_URL takes precedence;
 * the other variables apply when REDIS_HOST is set. With neither, `redisUrl` returns undefined.
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

/** The URL of the configured Redis; undefined when none is configured. */
export function redisUrl(config: RedisConfig): string | undefined {
  if (config.REDIS_URL !== undefined) return encodedStoreUrl(config.REDIS_URL);
  if (config.REDIS_HOST === undefined) return undefined;
  const password = config.REDIS_PASSWORD === undefined ? "" : `:${encodeURIComponent(config.REDIS_PASSWORD)}@`;
  const host = config.REDIS_HOST.includes(":") ? `[${config.REDIS_HOST}]` : config.REDIS_HOST;
  return `redis://${password}${host}:${config.REDIS_PORT}/${config.REDIS_DB}`;
}
