import { randomUUID } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { faultProxy } from "@turnwright/testing/fault-proxy";
import { testRedis } from "@turnwright/testing/redis";
import { afterEach, describe, expect, test } from "vitest";
import { collect, portsContract } from "../../testing/ports-contract.ts";
import { ErrorReason, reasonOf } from "../errors.ts";
import { createLogger } from "../logger.ts";
import { openPorts } from "./open-ports.ts";
import type { Ports } from "./ports.ts";
import { createMemoryRateLimiter } from "./rate-limiter-memory.ts";
import { connectRedis, whenReady } from "./redis.ts";

const redisUrl = await testRedis("the ports over Redis");
const logger = createLogger({ service: "test", level: "silent" });
const busSecret = "the-secret-of-the-mesh-of-these-tests";

describe("the ports in memory", () => {
  portsContract(async (now) => openPorts({ busSecret, logger, now }));

  test("report their kind", async () => {
    expect((await openPorts({ busSecret, logger })).kind).toBe("memory");
  });

  test("forget idle keys instead of growing without bound", async () => {
    const limiter = createMemoryRateLimiter({ maxKeys: 100 });
    const limits = { perMinute: 2, perDay: 0 };
    await limiter.take([{ key: "idle", ...limits }]);
    for (let key = 0; key < 1_000; key += 1) {
      await limiter.take([{ key: `${key}`, ...limits }]);
      await limiter.take([{ key: "busy", perMinute: 0, perDay: 2_000 }]);
    }
    expect((await limiter.take([{ key: "idle", ...limits }])).remaining).toBe(1);
    expect((await limiter.take([{ key: "busy", perMinute: 0, perDay: 2_000 }])).remaining).toBe(999);
  });
});

/** A logger whose messages can be awaited. */
function observedLogger() {
  const messages: string[] = [];
  const events = new EventEmitter();
  const observed = createLogger({
    service: "test",
    level: "info",
    destination: {
      write(line) {
        messages.push((JSON.parse(line) as { msg: string }).msg);
        events.emit("message");
      },
    },
  });
  return {
    logger: observed,
    messages,
    async saw(message: string) {
      while (!messages.includes(message)) await once(events, "message");
    },
  };
}

describe.skipIf(redisUrl === undefined)("the ports over Redis", () => {
  const url = redisUrl ?? "";
  const cleanups: (() => unknown)[] = [];

  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });

  async function open(options: Omit<Parameters<typeof openPorts>[0], "busSecret">): Promise<Ports> {
    const ports = await openPorts({ busSecret, ...options });
    cleanups.push(() => ports.close());
    await ports.ping();
    return ports;
  }

  async function proxied() {
    const proxy = await faultProxy(new URL(url));
    cleanups.push(() => proxy.close());
    return proxy;
  }

  portsContract(async (now) => {
    const ports = await openPorts({ redisUrl: url, busSecret, logger, now });
    await ports.ping();
    return ports;
  });

  test("report their kind", async () => {
    expect((await open({ redisUrl: url, logger })).kind).toBe("redis");
  });

  test("limit all processes together, by the server's clock", async () => {
    const [one, other] = [await open({ redisUrl: url, logger }), await open({ redisUrl: url, logger })];
    const key = randomUUID();
    expect((await one.limiter.take([{ key, perMinute: 2, perDay: 0 }])).remaining).toBe(1);
    expect((await other.limiter.take([{ key, perMinute: 2, perDay: 0 }])).remaining).toBe(0);
    const denied = await one.limiter.take([{ key, perMinute: 2, perDay: 0 }]);
    expect(denied.allowed).toBe(false);
    expect(denied.resetSeconds).toBeGreaterThan(0);
    expect(denied.resetSeconds).toBeLessThanOrEqual(60);
  });

  test("let a key's count expire", async () => {
    const { limiter } = await open({ redisUrl: url, logger });
    const redis = connectRedis(url, { name: "test", logger });
    cleanups.push(() => redis.disconnect());
    await whenReady(redis, 2_000);
    const key = randomUUID();
    await limiter.take([{ key, perMinute: 5, perDay: 0 }]);
    const left = await redis.pttl(`turnwright:rate:${key}`);
    expect(left).toBeGreaterThan(60_000);
    expect(left).toBeLessThanOrEqual(120_000);
  });

  test("carry messages from one process to another", async () => {
    const [one, other] = [await open({ redisUrl: url, logger }), await open({ redisUrl: url, logger })];
    const topic = randomUUID();
    const { received, count } = await collect(other.bus, topic);
    await one.bus.publish(topic, "hello");
    await count(1);
    expect(received).toEqual(["hello"]);
  });

  test("limit alone while Redis refuses, log it once, and share again afterwards", async () => {
    const proxy = await proxied();
    const observed = observedLogger();
    const { limiter } = await open({ redisUrl: proxy.url, logger: observed.logger });
    const limits = { perMinute: 2, perDay: 0 };
    const key = randomUUID();
    await limiter.take([{ key, ...limits }]);
    await proxy.refuse();
    await observed.saw("Redis does not answer");
    expect((await limiter.take([{ key, ...limits }])).remaining).toBe(0);
    expect((await limiter.take([{ key, ...limits }])).allowed).toBe(false);
    const alone = "Redis does not answer: each process applies its share of the rate limits";
    expect(observed.messages.filter((message) => message === alone)).toHaveLength(1);
    await proxy.accept();
    await observed.saw("rate limits are shared again");
    expect((await limiter.take([{ key, ...limits }])).allowed).toBe(false);
  });

  test("limit alone when Redis hangs, and wait for it only once", async () => {
    const proxy = await proxied();
    const { limiter } = await open({ redisUrl: proxy.url, logger });
    proxy.hold();
    const limits = { perMinute: 1, perDay: 0 };
    const key = randomUUID();
    expect((await limiter.take([{ key, ...limits }])).allowed).toBe(true);
    const begin = performance.now();
    expect((await limiter.take([{ key, ...limits }])).allowed).toBe(false);
    expect(performance.now() - begin).toBeLessThan(250);
  });

  test("reject a ping while Redis does not answer", async () => {
    const proxy = await proxied();
    const ports = await open({ redisUrl: proxy.url, logger });
    proxy.hold();
    const error = await ports.ping().catch((caught: unknown) => caught);
    expect(reasonOf(error)).toBe(ErrorReason.REDIS_UNAVAILABLE);
  });

  test("subscribe again after a lost connection, and report the gap", async () => {
    const proxy = await proxied();
    const sender = await open({ redisUrl: url, logger });
    const { bus } = await open({ redisUrl: proxy.url, logger });
    const topic = randomUUID();
    const gaps = new EventEmitter();
    const { received, count } = await collect(bus, topic);
    await bus.subscribe(
      topic,
      () => {},
      () => gaps.emit("gap"),
    );
    const gap = once(gaps, "gap");
    proxy.cut();
    await gap;
    await sender.bus.publish(topic, "after the gap");
    await count(1);
    expect(received).toEqual(["after the gap"]);
  });

  test("lose messages published without a connection, and do not reject", async () => {
    const proxy = await proxied();
    const observed = observedLogger();
    const { bus } = await open({ redisUrl: proxy.url, logger: observed.logger });
    await proxy.refuse();
    await observed.saw("Redis does not answer");
    await expect(bus.publish(randomUUID(), "lost")).resolves.toBeUndefined();
  });
});
