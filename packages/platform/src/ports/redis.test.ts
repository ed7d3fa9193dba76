import { describe, expect, test } from "vitest";
import { z } from "zod";
import { ConfigError, loadConfig } from "../config/env.ts";
import { redisEnv, redisUrl } from "../config/redis-env.ts";
import { createLogger } from "../logger.ts";
import { connectRedis, whenReady } from "./redis.ts";

const schema = z.object(redisEnv);
const logger = createLogger({ service: "test", level: "silent" });

describe("the address of Redis", () => {
  test.each([
    [{}, undefined],
    [{ REDIS_PORT: "7000", REDIS_PASSWORD: "x", REDIS_DB: "2" }, undefined],
    [{ REDIS_URL: "rediss://r:1/2", REDIS_HOST: "ignored" }, "rediss://r:1/2"],
    [{ REDIS_HOST: "cache" }, "redis://cache:6379/0"],
    [{ REDIS_HOST: "cache", REDIS_PORT: "7000", REDIS_PASSWORD: "p@ss/", REDIS_DB: "3" }, "redis://:p%40ss%2F@cache:7000/3"],
    [{ REDIS_HOST: "::1" }, "redis://[::1]:6379/0"],
  ])("reads %j as %s", (env, url) => {
    expect(redisUrl(loadConfig(schema, env))).toBe(url);
  });

  test("lists every fault", () => {
    const load = () => loadConfig(schema, { REDIS_URL: "http://x", REDIS_DB: "-1" });
    expect(load).toThrow(ConfigError);
    expect(load).toThrow(/REDIS_URL[\s\S]*REDIS_DB/);
  });
});

describe("a connection without a server", () => {
  test("is not ready, and its commands fail at once", async () => {
    const redis = connectRedis("redis://127.0.0.1:1", { name: "test", logger });
    expect(await whenReady(redis, 50)).toBe(false);
    await expect(redis.ping()).rejects.toThrow();
    redis.disconnect();
  });

  test("is not ready when it is closed while a caller waits", async () => {
    const redis = connectRedis("redis://127.0.0.1:1", { name: "test", logger, lazyConnect: true });
    const ready = whenReady(redis, 1_000);
    redis.disconnect();
    expect(await ready).toBe(false);
  });
});
