import { randomUUID } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { afterEach, describe, expect, test } from "vitest";
import type { Bus } from "./bus.ts";
import type { Ports } from "./ports.ts";

const minute = 60_000;
const day = 86_400_000;

/** Collects what a subscription receives. */
export async function collect(bus: Bus, topic: string) {
  const received: string[] = [];
  const events = new EventEmitter();
  const unsubscribe = await bus.subscribe(topic, (payload) => {
    received.push(payload);
    events.emit("message");
  });
  return {
    received,
    unsubscribe,
    async count(wanted: number) {
      while (received.length < wanted) await once(events, "message");
    },
  };
}

/** What every implementation of the ports does. `open` makes ports whose limiter reads the given clock. */
export function portsContract(open: (now: () => number) => Promise<Ports>): void {
  const opened: Ports[] = [];
  let clock = 1_800_000_000_000;

  async function openPorts(): Promise<Ports> {
    const ports = await open(() => clock);
    opened.push(ports);
    return ports;
  }

  afterEach(async () => {
    for (const ports of opened.splice(0)) await ports.close();
  });

  test("answer a ping", async () => {
    const ports = await openPorts();
    await expect(ports.ping()).resolves.toBeUndefined();
  });

  describe("the limiter", () => {
    test("allows the limit and denies what is beyond, with the time to wait", async () => {
      const { limiter } = await openPorts();
      const key = randomUUID();
      const limits = { perMinute: 3, perDay: 100 };
      const decisions = [];
      for (let request = 0; request < 4; request += 1) decisions.push(await limiter.take(key, limits));
      expect(decisions).toEqual([
        { allowed: true, limit: 3, remaining: 2, resetSeconds: 60, retryAfterSeconds: 0 },
        { allowed: true, limit: 3, remaining: 1, resetSeconds: 60, retryAfterSeconds: 0 },
        { allowed: true, limit: 3, remaining: 0, resetSeconds: 60, retryAfterSeconds: 0 },
        { allowed: false, limit: 3, remaining: 0, resetSeconds: 60, retryAfterSeconds: 60 },
      ]);
    });

    test("keeps keys apart", async () => {
      const { limiter } = await openPorts();
      const limits = { perMinute: 1, perDay: 0 };
      expect((await limiter.take(randomUUID(), limits)).allowed).toBe(true);
      expect((await limiter.take(randomUUID(), limits)).allowed).toBe(true);
    });

    test("lets nobody have twice the limit around the end of a window", async () => {
      const { limiter } = await openPorts();
      const key = randomUUID();
      const limits = { perMinute: 10, perDay: 0 };
      await limiter.take(key, limits);
      clock += minute - 1_000;
      for (let request = 0; request < 9; request += 1) expect((await limiter.take(key, limits)).allowed).toBe(true);
      clock += 2_000;
      expect((await limiter.take(key, limits)).allowed).toBe(true);
      const denied = await limiter.take(key, limits);
      expect(denied).toMatchObject({ allowed: false, limit: 10 });
      clock += denied.retryAfterSeconds * 1_000;
      expect((await limiter.take(key, limits)).allowed).toBe(true);
    });

    test("allows again after exactly the time it asked to wait", async () => {
      const { limiter } = await openPorts();
      for (const perMinute of [1, 2, 7, 60]) {
        const key = randomUUID();
        const limits = { perMinute, perDay: 0 };
        for (let round = 0; round < 4; round += 1) {
          let answer = await limiter.take(key, limits);
          while (answer.allowed) answer = await limiter.take(key, limits);
          clock += answer.retryAfterSeconds * 1_000;
          expect((await limiter.take(key, limits)).allowed).toBe(true);
        }
      }
    });

    test("holds the day's limit across minutes", async () => {
      const { limiter } = await openPorts();
      const key = randomUUID();
      const limits = { perMinute: 2, perDay: 3 };
      for (let request = 0; request < 3; request += 1) {
        expect((await limiter.take(key, limits)).allowed).toBe(true);
        clock += 3 * minute;
      }
      const denied = await limiter.take(key, limits);
      expect(denied).toMatchObject({ allowed: false, limit: 3, remaining: 0 });
      expect(denied.retryAfterSeconds).toBe(86_400 - 9 * 60);
      clock += 2 * day;
      expect((await limiter.take(key, limits)).allowed).toBe(true);
    });

    test("counts a denied request in neither window", async () => {
      const { limiter } = await openPorts();
      const key = randomUUID();
      const limits = { perMinute: 1, perDay: 2 };
      for (let request = 0; request < 5; request += 1) await limiter.take(key, limits);
      clock += 3 * minute;
      expect((await limiter.take(key, limits)).allowed).toBe(true);
    });

    test("lets everything pass at a limit of 0", async () => {
      const { limiter } = await openPorts();
      const key = randomUUID();
      for (let request = 0; request < 3; request += 1) {
        expect(await limiter.take(key, { perMinute: 0, perDay: 0 })).toEqual({
          allowed: true,
          limit: 0,
          remaining: 0,
          resetSeconds: 0,
          retryAfterSeconds: 0,
        });
      }
    });

    test("lets exactly the limit through when requests race", async () => {
      const { limiter } = await openPorts();
      const key = randomUUID();
      const decisions = await Promise.all(Array.from({ length: 50 }, () => limiter.take(key, { perMinute: 20, perDay: 30 })));
      expect(decisions.filter(({ allowed }) => allowed)).toHaveLength(20);
    });

    test("applies a lowered limit at once", async () => {
      const { limiter } = await openPorts();
      const key = randomUUID();
      for (let request = 0; request < 5; request += 1) await limiter.take(key, { perMinute: 5, perDay: 0 });
      clock += minute + 1;
      const denied = await limiter.take(key, { perMinute: 2, perDay: 0 });
      expect(denied.allowed).toBe(false);
      clock += denied.retryAfterSeconds * 1_000;
      expect((await limiter.take(key, { perMinute: 2, perDay: 0 })).allowed).toBe(true);
    });
  });

  describe("the concurrency limiter", () => {
    test("gives a key its slots and no more, until one is given back, which counts once", async () => {
      const { concurrency } = await openPorts();
      const key = randomUUID();
      const [first, second] = [await concurrency.acquire(key, 2), await concurrency.acquire(key, 2)];
      expect(first).toBeDefined();
      expect(second).toBeDefined();
      expect(await concurrency.acquire(key, 2)).toBeUndefined();
      expect(await concurrency.acquire(randomUUID(), 2)).toBeDefined();
      first?.();
      first?.();
      const third = await concurrency.acquire(key, 2);
      expect(third).toBeDefined();
      expect(await concurrency.acquire(key, 2)).toBeUndefined();
    });

    test("gives exactly the slots there are when requests race", async () => {
      const { concurrency } = await openPorts();
      const key = randomUUID();
      const slots = await Promise.all(Array.from({ length: 50 }, () => concurrency.acquire(key, 7)));
      expect(slots.filter((slot) => slot !== undefined)).toHaveLength(7);
    });

    test("applies a changed maximum at once, and none at 0", async () => {
      const { concurrency } = await openPorts();
      const key = randomUUID();
      for (let slot = 0; slot < 3; slot += 1) await concurrency.acquire(key, 3);
      expect(await concurrency.acquire(key, 2)).toBeUndefined();
      expect(await concurrency.acquire(key, 4)).toBeDefined();
      for (let slot = 0; slot < 5; slot += 1) (await concurrency.acquire(key, 0))?.();
      expect(await concurrency.acquire(key, 4)).toBeUndefined();
    });
  });

  describe("the bus", () => {
    test("brings each message of a topic to all of its subscribers, in order", async () => {
      const { bus } = await openPorts();
      const topic = randomUUID();
      const [first, second] = [await collect(bus, topic), await collect(bus, topic)];
      await bus.publish(topic, "one");
      await bus.publish(`${topic}-other`, "not mine");
      await bus.publish(topic, "two: ünïcode\n");
      await Promise.all([first.count(2), second.count(2)]);
      expect(first.received).toEqual(["one", "two: ünïcode\n"]);
      expect(second.received).toEqual(["one", "two: ünïcode\n"]);
    });

    test("never calls a listener inside publish", async () => {
      const { bus } = await openPorts();
      const topic = randomUUID();
      const { received, count } = await collect(bus, topic);
      const published = bus.publish(topic, "later");
      expect(received).toEqual([]);
      await published;
      await count(1);
    });

    test("ends a subscription without touching the others", async () => {
      const { bus } = await openPorts();
      const topic = randomUUID();
      const [leaving, staying] = [await collect(bus, topic), await collect(bus, topic)];
      await leaving.unsubscribe();
      await bus.publish(topic, "after");
      await staying.count(1);
      expect(leaving.received).toEqual([]);
    });

    test("takes up a topic again after its last subscriber left", async () => {
      const { bus } = await openPorts();
      const topic = randomUUID();
      const leaving = await collect(bus, topic);
      const left = leaving.unsubscribe();
      const staying = await collect(bus, topic);
      await left;
      await bus.publish(topic, "again");
      await staying.count(1);
      expect(staying.received).toEqual(["again"]);
    });

    test("goes on after a listener threw", async () => {
      const { bus } = await openPorts();
      const topic = randomUUID();
      await bus.subscribe(topic, () => {
        throw new Error("broken listener");
      });
      const { received, count } = await collect(bus, topic);
      await bus.publish(topic, "one");
      await bus.publish(topic, "two");
      await count(2);
      expect(received).toEqual(["one", "two"]);
    });
  });
}
