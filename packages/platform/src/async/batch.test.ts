import { expect, test } from "vitest";
import { Batch, type BatchOptions } from "./batch.ts";

/** A batch whose flushes are recorded and end on demand. */
function recorded(options: Omit<BatchOptions<string, string>, "flush"> = {}) {
  const flights: { items: readonly string[]; land: PromiseWithResolvers<void> }[] = [];
  const batch = new Batch<string, string>({
    ...options,
    async flush(items) {
      const land = Promise.withResolvers<void>();
      flights.push({ items, land });
      await land.promise;
      return items.map((item) => `${item}!`);
    },
  });
  return { batch, flights, items: () => flights.map((flight) => flight.items.join("")) };
}

const tick = () => new Promise((done) => setImmediate(done));

test("items added in one tick are flushed together, and later ones wait while they are in flight", async () => {
  const { batch, flights, items } = recorded({ inFlight: 1, maxItems: 3 });
  const results = ["a", "b"].map((item) => batch.add(item));
  await tick();
  results.push(...["c", "d", "e", "f"].map((item) => batch.add(item)));
  await tick();
  expect(items()).toEqual(["ab"]);
  for (let flight = 0; flight < 3; flight += 1) {
    flights[flight]?.land.resolve();
    await tick();
    await tick();
  }
  expect(items()).toEqual(["ab", "cde", "f"]);
  expect(await Promise.all(results)).toEqual(["a!", "b!", "c!", "d!", "e!", "f!"]);
  await batch.idle();
});

test("items that share a key are flushed one after another and in order", async () => {
  const { batch, flights, items } = recorded({ keysOf: (item) => [...item] });
  for (const item of ["x", "xy", "y", "z"]) void batch.add(item);
  await tick();
  expect(items()).toEqual(["xz"]);
  for (let flight = 0; flight < 3; flight += 1) {
    flights[flight]?.land.resolve();
    await tick();
    await tick();
  }
  expect(items()).toEqual(["xz", "xy", "y"]);
});

test("a stuck batch does not block the next for longer than its patience", async () => {
  const { batch, flights, items } = recorded({ inFlight: 1, patienceMs: 5 });
  void batch.add("a");
  await tick();
  const next = batch.add("b");
  while (flights.length < 2) await tick();
  expect(items()).toEqual(["a", "b"]);
  flights[1]?.land.resolve();
  expect(await next).toBe("b!");
  flights[0]?.land.resolve();
  await batch.idle();
});
