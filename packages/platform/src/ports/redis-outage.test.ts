import { EventEmitter, once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { type RedisServer, startRedisServer } from "@turnwright/testing/redis-server";
import { reportUntested } from "@turnwright/testing/untested";
import { Redis } from "ioredis";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { releaseOf } from "../../testing/concurrency-limiter-contract.ts";
import { createLogger } from "../logger.ts";
import { createRedisBus } from "./bus-redis.ts";
import { startRedisConcurrencyLimiter } from "./concurrency-limiter-redis.ts";
import type { RateLimiter } from "./rate-limiter.ts";
import { startRedisRateLimiter } from "./rate-limiter-redis.ts";
import { connectRedis, whenReady } from "./redis.ts";
import { joinReplicas } from "./replicas.ts";

const available = await startRedisServer();
await available?.stop();
if (available === undefined) reportUntested("outages of Redis", "Redis");

/** Resolves when a connection is ready; attempts that fail before do not count. */
function isReady(redis: Redis): Promise<void> {
  return new Promise((resolve) => redis.once("ready", resolve));
}

/** A process of the role, with its own connections. */
async function openReplica(url: string) {
  const events = new EventEmitter();
  const logger = createLogger({
    service: "test",
    level: "info",
    destination: { write: (line: string) => events.emit((JSON.parse(line) as { msg: string }).msg) },
  });
  const redis = connectRedis(url, { name: "test", logger });
  const listening = connectRedis(url, { name: "test-bus", logger, lazyConnect: true, autoResubscribe: false });
  const bus = createRedisBus({ sending: redis, listening, logger });
  await whenReady(redis, 2_000);
  await whenReady(listening, 2_000);
  const replicas = joinReplicas({ redis, bus, role: "test" });
  const limiter = startRedisRateLimiter({ redis, bus, replicas, logger });
  const concurrency = startRedisConcurrencyLimiter({ redis, replicas, logger });
  return {
    redis,
    limiter,
    concurrency,
    replicas,
    isSharedAgain: () => once(events, "rate limits are shared again"),
    async close() {
      limiter.close();
      concurrency.close();
      await replicas.leave();
      redis.disconnect();
      listening.disconnect();
    },
    kill() {
      redis.disconnect();
      listening.disconnect();
    },
  };
}

type Replica = Awaited<ReturnType<typeof openReplica>>;

/** Sends requests, some concurrently, to one limiter after the other; returns how many were allowed. */
async function send(limiters: readonly RateLimiter[], key: string, limit: number, requests: number): Promise<number> {
  let allowed = 0;
  for (let sent = 0; sent < requests; sent += 24) {
    const answers = await Promise.all(
      Array.from({ length: Math.min(24, requests - sent) }, (_, index) =>
        limiters[(sent + index) % limiters.length]?.take([{ key, perMinute: limit, perDay: 0 }]),
      ),
    );
    allowed += answers.filter((answer) => answer?.allowed).length;
  }
  return allowed;
}

describe.skipIf(available === undefined)("an outage of Redis, with three processes", () => {
  let server: RedisServer;
  let replicas: Replica[];
  let limiters: RateLimiter[];
  const limit = 600;
  const most = limit * 1.1;

  beforeEach(async () => {
    server = (await startRedisServer()) as RedisServer;
    replicas = await Promise.all([1, 2, 3].map(() => openReplica(server.url)));
    // By the second round, every process has registered.
    for (const { replicas: others } of [...replicas, ...replicas]) await others.beat();
    expect(replicas.map(({ replicas: others }) => others.share().count)).toEqual([3, 3, 3]);
    expect(replicas.map(({ replicas: others }) => others.share().rank).sort()).toEqual([0, 1, 2]);
    limiters = replicas.map(({ limiter }) => limiter);
  });

  afterEach(async () => {
    for (const replica of replicas) await replica.close();
    await server.stop();
  });

  /** Sends 24 requests each millisecond, far more than the limit allows, until the promise settles. */
  async function sendUntil(end: Promise<unknown>, targets: readonly RateLimiter[], key: string): Promise<number> {
    let isOver = false;
    let allowed = 0;
    const mark = () => {
      isOver = true;
    };
    end.then(mark, mark);
    while (!isOver) {
      allowed += await send(targets, key, limit, 24);
      // The pace is the input under test.
      await delay(1);
    }
    await end;
    return allowed;
  }

  const restart = async () => {
    server = (await startRedisServer({ port: server.port })) as RedisServer;
  };

  test("does not raise the limit of the window: before, during, and after a restart without data", async () => {
    let allowed = await send(limiters, "even", limit, 240);
    expect(allowed).toBe(240);
    await server.stop();
    allowed += await send(limiters, "even", limit, 1_500);
    expect(allowed).toBeLessThanOrEqual(most);
    expect(allowed).toBeGreaterThanOrEqual(limit * 0.9);
    const isBack = Promise.all(replicas.map((replica) => replica.isSharedAgain()));
    await restart();
    allowed += await sendUntil(isBack, limiters, "even");
    allowed += await send(limiters, "even", limit, 600);
    expect(allowed).toBeLessThanOrEqual(most);
  });

  test("does not raise it when one process served a client before, and others serve it then", async () => {
    let allowed = await send(limiters.slice(0, 1), "moved", limit, 540);
    expect(allowed).toBe(540);
    await server.stop();
    allowed += await send(limiters.slice(1), "moved", limit, 1_500);
    expect(allowed).toBeLessThanOrEqual(most);
    expect(allowed).toBeGreaterThan(540);
  });

  test("does not raise it when each served its part in the outage, and one serves the client afterwards", async () => {
    await server.stop();
    let allowed = await send(limiters, "after", limit, 1_500);
    expect(allowed).toBe(limit);
    await restart();
    allowed += await sendUntil((replicas[0] as Replica).isSharedAgain(), limiters.slice(0, 1), "after");
    allowed += await send(limiters.slice(0, 1), "after", limit, 600);
    expect(allowed).toBeLessThanOrEqual(most);
  });

  test("does not raise it when one process is back before the others", async () => {
    for (const { redis } of replicas) {
      const ended = once(redis, "end");
      redis.disconnect();
      await ended;
    }
    let allowed = await send(limiters, "early", limit, 1_500);
    expect(allowed).toBe(limit);
    const isBack = Promise.all(replicas.map((replica) => replica.isSharedAgain()));
    const [early, ...late] = replicas as [Replica, Replica, Replica];
    await early.redis.connect();
    // It has reported its counts; no other process has.
    while ((await early.redis.exists("turnwright:rate:early")) === 0);
    allowed += await send([early.limiter], "early", limit, 300);
    for (const { redis } of late) await redis.connect();
    allowed += await sendUntil(isBack, limiters, "early");
    allowed += await send(limiters, "early", limit, 600);
    expect(allowed).toBeLessThanOrEqual(most);
  });

  test("leaves the rest of its limit to a client that used little before it", async () => {
    await send(limiters, "little", limit, 30);
    await server.stop();
    const isBack = Promise.all(replicas.map((replica) => replica.isSharedAgain()));
    expect(await send(limiters, "little", limit, 90)).toBe(90);
    await restart();
    await isBack;
    const left = await send(limiters, "little", limit, 1_500);
    expect(30 + 90 + left).toBeGreaterThanOrEqual(limit * 0.9);
    expect(30 + 90 + left).toBeLessThanOrEqual(most);
  });

  test("serves what descends from a key no more than the key's limit: before, during and after, however many children it has", async () => {
    const parent = { key: "parent", perMinute: 60, perDay: 60 };
    let children = 0;
    const sendAsChildren = async (requests: number) => {
      const answers = await Promise.all(
        Array.from({ length: requests }, (_, i) =>
          limiters[i % 3]?.take([{ key: `child-${children++}`, perMinute: 60, perDay: 60 }, parent]),
        ),
      );
      return answers.filter((answer) => answer?.allowed).length;
    };
    let allowed = await sendAsChildren(15);
    expect(allowed).toBe(15);
    await server.stop();
    allowed += await sendAsChildren(200);
    expect(allowed).toBeLessThanOrEqual(66);
    expect(allowed).toBeGreaterThanOrEqual(54);
    const isBack = Promise.all(replicas.map((replica) => replica.isSharedAgain()));
    await restart();
    await isBack;
    allowed += await sendAsChildren(200);
    expect(allowed).toBeLessThanOrEqual(66);
  });

  test("also keeps the daily limit", async () => {
    const take = (limiter: RateLimiter) => limiter.take([{ key: "day", perMinute: 0, perDay: 30 }]);
    let allowed = 0;
    for (let request = 0; request < 15; request += 1) {
      if ((await take(limiters[request % 3] as RateLimiter)).allowed) allowed += 1;
    }
    await server.stop();
    for (let request = 0; request < 60; request += 1) {
      if ((await take(limiters[request % 3] as RateLimiter)).allowed) allowed += 1;
    }
    expect(allowed).toBeLessThanOrEqual(33);
    expect(allowed).toBeGreaterThanOrEqual(27);
  });

  test("a flush gives no client a second window, not even between requests", async () => {
    const admin = new Redis(server.url);
    let allowed = 0;
    for (let round = 0; round < 5; round += 1) {
      const sending = send(limiters, "flushed", limit, 400);
      await admin.flushall();
      allowed += await sending;
      await admin.flushall();
    }
    expect(allowed).toBeLessThanOrEqual(most);
    expect(allowed).toBeGreaterThanOrEqual(limit * 0.9);
    expect(replicas.map(({ replicas: others }) => others.share().count)).toEqual([3, 3, 3]);
    admin.disconnect();
  });

  test("a server that hangs neither rejects nor raises the limit", async () => {
    let allowed = await send(limiters, "hang", limit, 240);
    const admin = new Redis(server.url);
    const isBack = Promise.all(replicas.map((replica) => replica.isSharedAgain()));
    await admin.client("PAUSE", 1_500);
    allowed += await sendUntil(isBack, limiters, "hang");
    allowed += await send(limiters, "hang", limit, 600);
    expect(allowed).toBeLessThanOrEqual(most);
    admin.disconnect();
  });

  test("divides slots among the processes, and none is lost when Redis is back without data", async () => {
    const take = async (requests: number) => {
      const slots = [];
      for (let request = 0; request < requests; request += 1) {
        slots.push(releaseOf(await replicas[request % 3]?.concurrency.acquire([{ key: "slots", max: 9 }])));
      }
      return slots.filter((slot) => slot !== undefined);
    };
    const before = await take(3);
    await server.stop();
    const during = await take(30);
    expect(before.length + during.length).toBe(9);
    const isBack = Promise.all(replicas.map(({ redis }) => isReady(redis)));
    await restart();
    await isBack;
    // Each renews its leases on the connection that became ready first; later commands follow on it.
    for (const { redis } of replicas) await redis.ping();
    const admin = new Redis(server.url);
    expect(await admin.zcard("turnwright:slots:slots")).toBe(9);
    expect(await take(3)).toEqual([]);
    for (const release of [...before, ...during]) release();
    for (const { redis } of replicas) await redis.ping();
    expect(await take(10)).toHaveLength(9);
    admin.disconnect();
  });

  test("gives out no more slots of a key to all that descends from it, and loses none", async () => {
    const parent = { key: "parent", max: 6 };
    let children = 0;
    const take = async (requests: number) => {
      const slots = [];
      for (let request = 0; request < requests; request += 1) {
        const child = { key: `child-${children++}`, max: 6 };
        slots.push(releaseOf(await replicas[request % 3]?.concurrency.acquire([child, parent])));
      }
      return slots.filter((slot) => slot !== undefined);
    };
    await server.stop();
    const during = await take(30);
    expect(during).toHaveLength(6);
    const isBack = Promise.all(replicas.map(({ redis }) => isReady(redis)));
    await restart();
    await isBack;
    for (const { redis } of replicas) await redis.ping();
    expect(await take(6)).toEqual([]);
    for (const release of during) release();
    for (const { redis } of replicas) await redis.ping();
    expect(await take(30)).toHaveLength(6);
  });

  test("a process that is killed frees its slots and its place when its lease ends", async () => {
    const [killed, living] = replicas as [Replica, Replica, Replica];
    const bucket = { key: "killed", max: 1 };
    await killed.concurrency.acquire([bucket]);
    expect(await living.concurrency.acquire([bucket])).toEqual(bucket);
    killed.kill();
    const admin = new Redis(server.url);
    const [lease = ""] = await admin.zrange("turnwright:slots:killed", "0", "-1");
    const [seconds] = await admin.time();
    const leftSeconds = Number(await admin.zscore("turnwright:slots:killed", lease)) / 1_000 - Number(seconds);
    expect(leftSeconds).toBeGreaterThan(25);
    expect(leftSeconds).toBeLessThanOrEqual(31);
    // The end of the lease, without waiting for it.
    await admin.zadd("turnwright:slots:killed", 1, lease);
    expect(releaseOf(await living.concurrency.acquire([bucket]))).toBeDefined();
    admin.disconnect();
  });
});
