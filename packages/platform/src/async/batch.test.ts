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

test("a bad item is rejected alone; the others land, in order", async () => {
  const refused = new Error("refused");
  const landed: string[] = [];
  const batch = new Batch<string, string>({
    flush(items) {
      if (items.some((item) => item.startsWith("bad"))) throw refused;
      landed.push(...items);
      return Promise.resolve(items.map((item) => `${item}!`));
    },
    blamesItem: (error) => error === refused,
  });
  const items = ["a", "bad 1", "b", "c", "d", "bad 2", "e"];
  const results = await Promise.allSettled(items.map((item) => batch.add(item)));
  expect(landed).toEqual(["a", "b", "c", "d", "e"]);
  expect(results.map(({ status }) => status)).toEqual([
    "fulfilled",
    "rejected",
    "fulfilled",
    "fulfilled",
    "fulfilled",
    "rejected",
    "fulfilled",
  ]);
});

test("a failure that no item caused is not tried again item by item", async () => {
  let flushes = 0;
  const batch = new Batch<string, string>({
    flush() {
      flushes += 1;
      return Promise.reject(new Error("away"));
    },
    blamesItem: () => false,
  });
  const results = await Promise.allSettled(["a", "b", "c"].map((item) => batch.add(item)));
  expect(results.map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
  expect(flushes).toBe(1);
});

test("an item whose keys cannot be determined is rejected alone", async () => {
  const batch = new Batch<string | null, string>({
    keysOf: (item) => [(item as string).slice(0, 1)],
    flush: (items) => Promise.resolve(items.map((item) => `${item}!`)),
  });
  const [bad, good] = await Promise.allSettled([batch.add(null), batch.add("a")]);
  expect(bad).toMatchObject({ status: "rejected" });
  expect(good).toMatchObject({ status: "fulfilled", value: "a!" });
});
