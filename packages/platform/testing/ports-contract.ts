import { randomUUID } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { afterEach, describe, expect, test } from "vitest";
import type { Bus } from "../src/ports/bus.ts";
import type { Ports } from "../src/ports/ports.ts";
import { concurrencyContract } from "./concurrency-limiter-contract.ts";

const minute = 60_000;
const day = 86_400_000;

/** Collects the messages of a subscription. */
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

/** Contract tests for every implementation of the ports. `open` creates ports whose limiter uses the given clock. */
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
    test("allows requests up to the limit and denies further ones, with the time to wait", async () => {
      const { limiter } = await openPorts();
      const key = randomUUID();
      const limits = { perMinute: 3, perDay: 100 };
      const decisions = [];
      for (let request = 0; request < 4; request += 1) decisions.push(await limiter.take([{ key, ...limits }]));
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
      expect((await limiter.take([{ key: randomUUID(), ...limits }])).allowed).toBe(true);
      expect((await limiter.take([{ key: randomUUID(), ...limits }])).allowed).toBe(true);
    });

    test("does not allow twice the limit around the end of a window", async () => {
      const { limiter } = await openPorts();
      const key = randomUUID();
      const limits = { perMinute: 10, perDay: 0 };
      await limiter.take([{ key, ...limits }]);
      clock += minute - 1_000;
      for (let request = 0; request < 9; request += 1) expect((await limiter.take([{ key, ...limits }])).allowed).toBe(true);
      clock += 2_000;
      expect((await limiter.take([{ key, ...limits }])).allowed).toBe(true);
      const denied = await limiter.take([{ key, ...limits }]);
      expect(denied).toMatchObject({ allowed: false, limit: 10 });
      clock += denied.retryAfterSeconds * 1_000;
      expect((await limiter.take([{ key, ...limits }])).allowed).toBe(true);
    });

    test("allows again after exactly the time it asked to wait", async () => {
      const { limiter } = await openPorts();
      for (const perMinute of [1, 2, 7, 60]) {
        const key = randomUUID();
        const limits = { perMinute, perDay: 0 };
        for (let round = 0; round < 4; round += 1) {
          let answer = await limiter.take([{ key, ...limits }]);
          while (answer.allowed) answer = await limiter.take([{ key, ...limits }]);
          clock += answer.retryAfterSeconds * 1_000;
          expect((await limiter.take([{ key, ...limits }])).allowed).toBe(true);
        }
      }
    });

    test("applies the daily limit across minutes", async () => {
      const { limiter } = await openPorts();
      const key = randomUUID();
      const limits = { perMinute: 2, perDay: 3 };
      for (let request = 0; request < 3; request += 1) {
        expect((await limiter.take([{ key, ...limits }])).allowed).toBe(true);
        clock += 3 * minute;
      }
      const denied = await limiter.take([{ key, ...limits }]);
      expect(denied).toMatchObject({ allowed: false, limit: 3, remaining: 0 });
      expect(denied.retryAfterSeconds).toBe(86_400 - 9 * 60);
      clock += 2 * day;
      expect((await limiter.take([{ key, ...limits }])).allowed).toBe(true);
    });

    test("counts a denied request in neither window", async () => {
      const { limiter } = await openPorts();
      const key = randomUUID();
      const limits = { perMinute: 1, perDay: 2 };
      for (let request = 0; request < 5; request += 1) await limiter.take([{ key, ...limits }]);
      clock += 3 * minute;
      expect((await limiter.take([{ key, ...limits }])).allowed).toBe(true);
    });

    test("lets everything pass at a limit of 0", async () => {
      const { limiter } = await openPorts();
      const key = randomUUID();
      for (let request = 0; request < 3; request += 1) {
        expect(await limiter.take([{ key, perMinute: 0, perDay: 0 }])).toEqual({
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
      const decisions = await Promise.all(Array.from({ length: 50 }, () => limiter.take([{ key, perMinute: 20, perDay: 30 }])));
      expect(decisions.filter(({ allowed }) => allowed)).toHaveLength(20);
    });

    test("applies a lowered limit at once", async () => {
      const { limiter } = await openPorts();
      const key = randomUUID();
      for (let request = 0; request < 5; request += 1) await limiter.take([{ key, perMinute: 5, perDay: 0 }]);
      clock += minute + 1;
      const denied = await limiter.take([{ key, perMinute: 2, perDay: 0 }]);
      expect(denied.allowed).toBe(false);
      clock += denied.retryAfterSeconds * 1_000;
      expect((await limiter.take([{ key, perMinute: 2, perDay: 0 }])).allowed).toBe(true);
    });
  });

  describe("the limiter, with several buckets for one request", () => {
    test("serves what descends from a key no more than the key's own limit", async () => {
      const { limiter } = await openPorts();
      const parent = { key: randomUUID(), perMinute: 3, perDay: 3 };
      const children = Array.from({ length: 14 }, () => ({ key: randomUUID(), perMinute: 3, perDay: 3 }));
      const decisions = await Promise.all(children.map((child) => limiter.take([child, parent])));
      expect(decisions.filter(({ allowed }) => allowed)).toHaveLength(3);
      expect(await limiter.take([parent])).toMatchObject({ allowed: false, limit: 3, remaining: 0 });
    });

    test("reports the tightest bucket, and the first of equal ones", async () => {
      const { limiter } = await openPorts();
      const [own, account] = [randomUUID(), randomUUID()];
      const take = (perMinute: number, ofAccount: number, perDay = 0) =>
        limiter.take([
          { key: own, perMinute, perDay },
          { key: account, perMinute: ofAccount, perDay: 0 },
        ]);
      expect(await take(10, 5)).toMatchObject({ allowed: true, limit: 5, remaining: 4, resetSeconds: 60 });
      expect(await take(5, 8)).toMatchObject({ limit: 5, remaining: 3 });
      expect(await take(8, 8)).toMatchObject({ limit: 8, remaining: 5 });
      expect(await take(8, 8, 2)).toMatchObject({ limit: 2, remaining: 1, resetSeconds: 86_400 });
    });

    test("takes from none of them when one refuses, and waits exactly for the last", async () => {
      const { limiter } = await openPorts();
      const [own, parent, account] = [randomUUID(), randomUUID(), randomUUID()];
      const buckets = [
        { key: own, perMinute: 10, perDay: 100 },
        { key: parent, perMinute: 2, perDay: 100 },
        { key: account, perMinute: 7, perDay: 3 },
      ];
      for (let request = 0; request < 6; request += 1) await limiter.take(buckets);
      expect(await limiter.take(buckets.slice(0, 1))).toMatchObject({ allowed: true, remaining: 10 - 3 });
      expect(await limiter.take(buckets.slice(2))).toMatchObject({ allowed: true, limit: 3, remaining: 0 });
      const denied = await limiter.take(buckets);
      expect(denied).toMatchObject({ allowed: false, limit: 3, retryAfterSeconds: 86_400 });
      clock += (denied.retryAfterSeconds - 1) * 1_000;
      expect((await limiter.take(buckets)).allowed).toBe(false);
      clock += 1_000;
      expect((await limiter.take(buckets)).allowed).toBe(true);
    });

    test("skips unlimited buckets", async () => {
      const { limiter } = await openPorts();
      const free = { key: randomUUID(), perMinute: 0, perDay: 0 };
      expect(await limiter.take([free, { key: randomUUID(), perMinute: 2, perDay: 0 }])).toMatchObject({
        limit: 2,
        remaining: 1,
      });
      expect(await limiter.take([free])).toMatchObject({ allowed: true, limit: 0 });
      expect(await limiter.take([])).toMatchObject({ allowed: true, limit: 0 });
    });
  });

  concurrencyContract(openPorts);

  describe("the bus", () => {
    test("delivers each message of a topic to all of its subscribers, in order", async () => {
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

    test("resumes a topic after its last subscriber left", async () => {
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

    test("continues after a listener has thrown", async () => {
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
