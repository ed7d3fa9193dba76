import { randomUUID } from "node:crypto";
import { testRedis } from "@turnwright/testing/redis";
import { afterEach, describe, expect, test, vi } from "vitest";
import { createLogger } from "../logger.ts";
import { createRedisBus } from "./bus-redis.ts";
import { connectRedis, whenReady } from "./redis.ts";
import { openRedisPorts } from "./redis-ports.ts";
import { joinReplicas, partOf } from "./replicas.ts";
import { systemId } from "./system-id.ts";

const redisUrl = await testRedis("counting replicas");
const logger = createLogger({ service: "test", level: "silent" });
const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  vi.useRealTimers();
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

test("the parts of a whole add up to it and differ by at most one", () => {
  for (const whole of [0, 1, 2, 7, 60, 1_000]) {
    for (const count of [1, 2, 3, 7]) {
      const parts = Array.from({ length: count }, (_, rank) => partOf(whole, { count, rank }));
      expect(parts.reduce((sum, part) => sum + part)).toBe(whole);
      expect(Math.max(...parts) - Math.min(...parts)).toBeLessThanOrEqual(1);
    }
  }
});

describe.skipIf(redisUrl === undefined)("replicas of a role", () => {
  async function join(role: string) {
    const redis = connectRedis(redisUrl ?? "", { name: "test", logger });
    const listening = connectRedis(redisUrl ?? "", { name: "test-bus", logger, lazyConnect: true, autoResubscribe: false });
    const bus = createRedisBus({ sending: redis, listening, logger });
    cleanups.push(() => {
      redis.disconnect();
      listening.disconnect();
    });
    await whenReady(redis, 2_000);
    return { redis, ...joinReplicas({ redis, bus, role }) };
  }

  test("count each other and have different ranks", async () => {
    const role = randomUUID();
    const members = [await join(role), await join(role), await join(role)];
    // By the second round, every process has registered.
    for (const { beat } of [...members, ...members]) await beat();
    expect(members.map(({ share }) => share().count)).toEqual([3, 3, 3]);
    expect(members.map(({ share }) => share().rank).sort()).toEqual([0, 1, 2]);
    const stranger = await join(randomUUID());
    await stranger.beat();
    expect(stranger.share()).toEqual({ count: 1, rank: 0 });
  });

  test("accept a lower count only after it has persisted, not because of an outage or a flush", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    const role = randomUUID();
    const key = `turnwright:replicas:${role}`;
    const [stays, goes] = [await join(role), await join(role)];
    for (const { beat } of [stays, goes, stays]) await beat();
    expect(stays.share().count).toBe(2);
    goes.redis.disconnect();
    await stays.redis.del(key);
    vi.advanceTimersByTime(3_600_000);
    await stays.beat();
    expect(stays.share().count).toBe(2);
    await stays.redis.del(key);
    vi.advanceTimersByTime(10_000);
    await stays.beat();
    expect(stays.share().count).toBe(2);
    vi.advanceTimersByTime(10_000);
    await stays.beat();
    expect(stays.share()).toEqual({ count: 1, rank: 0 });
    expect(await stays.redis.pttl(key)).toBeGreaterThan(10_000);
  });

  test("leave no trace in Redis", async () => {
    const role = randomUUID();
    const { redis, beat, leave } = await join(role);
    await beat();
    expect(await redis.zcard(`turnwright:replicas:${role}`)).toBe(1);
    await leave();
    await beat();
    expect(await redis.zcard(`turnwright:replicas:${role}`)).toBe(0);
  });

  test("of another system on the same Redis are not counted", async () => {
    const secrets = [randomUUID(), randomUUID()];
    const ports = secrets.map((busSecret) => openRedisPorts({ redisUrl: redisUrl ?? "", busSecret, logger, role: "gateway" }));
    cleanups.push(() => Promise.all(ports.map((open) => open.close())));
    const redis = connectRedis(redisUrl ?? "", { name: "test", logger });
    cleanups.push(() => redis.disconnect());
    for (const secret of secrets)
      await expect.poll(() => redis.zcard(`turnwright:replicas:${systemId(secret)}:gateway`), { timeout: 5_000 }).toBe(1);
  });
});
