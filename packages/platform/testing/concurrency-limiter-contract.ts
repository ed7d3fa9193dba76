import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { Release, SlotBucket } from "../src/ports/concurrency-limiter.ts";
import type { Ports } from "../src/ports/ports.ts";

/** The function that returns a slot; undefined when no slot was given. */
export function releaseOf(slot: Release | SlotBucket | undefined): Release | undefined {
  return typeof slot === "function" ? slot : undefined;
}

/** Contract tests for every implementation of the concurrency limiter. */
export function concurrencyContract(openPorts: () => Promise<Ports>): void {
  describe("the concurrency limiter", () => {
    test("gives a key its slots and no more until one is released, which counts once", async () => {
      const { concurrency } = await openPorts();
      const bucket = { key: randomUUID(), max: 2 };
      const [first, second] = [releaseOf(await concurrency.acquire([bucket])), releaseOf(await concurrency.acquire([bucket]))];
      expect(second).toBeDefined();
      expect(await concurrency.acquire([bucket])).toEqual(bucket);
      expect(releaseOf(await concurrency.acquire([{ key: randomUUID(), max: 2 }]))).toBeDefined();
      first?.();
      first?.();
      expect(releaseOf(await concurrency.acquire([bucket]))).toBeDefined();
      expect(await concurrency.acquire([bucket])).toEqual(bucket);
    });

    test("gives exactly the available slots when requests race", async () => {
      const { concurrency } = await openPorts();
      const bucket = { key: randomUUID(), max: 7 };
      const slots = await Promise.all(Array.from({ length: 50 }, () => concurrency.acquire([bucket])));
      expect(slots.filter((slot) => releaseOf(slot) !== undefined)).toHaveLength(7);
    });

    test("applies a changed maximum at once, and none at 0", async () => {
      const { concurrency } = await openPorts();
      const key = randomUUID();
      const take = async (max: number) => releaseOf(await concurrency.acquire([{ key, max }]));
      for (let slot = 0; slot < 3; slot += 1) await take(3);
      expect(await take(2)).toBeUndefined();
      expect(await take(4)).toBeDefined();
      for (let slot = 0; slot < 5; slot += 1) (await take(0))?.();
      expect(await take(4)).toBeUndefined();
    });

    test("takes a slot of every bucket or of none, and releases all of them", async () => {
      const { concurrency } = await openPorts();
      const parent = { key: randomUUID(), max: 3 };
      const children = Array.from({ length: 14 }, () => ({ key: randomUUID(), max: 2 }));
      const free = { key: randomUUID(), max: 0 };
      const slots = await Promise.all(children.map((child) => concurrency.acquire([child, parent, free])));
      const held = slots.flatMap((slot) => releaseOf(slot) ?? []);
      expect(held).toHaveLength(3);
      for (const slot of slots) if (releaseOf(slot) === undefined) expect(slot).toEqual(parent);
      // Refused callers hold no slot.
      for (const [i, child] of children.entries()) {
        const own = [releaseOf(await concurrency.acquire([child])), releaseOf(await concurrency.acquire([child]))];
        expect(own.filter((release) => release !== undefined)).toHaveLength(releaseOf(slots[i]) === undefined ? 2 : 1);
        for (const release of own) release?.();
      }
      for (const release of held) release();
      for (let slot = 0; slot < 3; slot += 1) expect(releaseOf(await concurrency.acquire([parent]))).toBeDefined();
      expect(await concurrency.acquire([parent])).toEqual(parent);
    });
  });
}
