import { expect, test } from "vitest";
import { Slots } from "./slots.ts";

const signal = new AbortController().signal;
const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

test("no more run than there are slots, and a freed slot goes to a waiting owner", async () => {
  const slots = new Slots(2);
  const [first] = [await slots.take("a", signal), await slots.take("a", signal)];
  const order: string[] = [];
  const third = slots.take("a", signal).then((release) => {
    order.push("third");
    return release;
  });
  await settle();
  expect(order).toEqual([]);
  first?.();
  await third;
  expect(order).toEqual(["third"]);
});

test("owners take turns, each in its own order", async () => {
  const slots = new Slots(1);
  let release = await slots.take("x", signal);
  const order: string[] = [];
  const calls = ["a1", "a2", "a3", "b1", "c1", "b2"].map((name) =>
    slots.take(name.charAt(0), signal).then((next) => {
      order.push(name);
      release = next;
    }),
  );
  for (const _ of calls) {
    release();
    await settle();
  }
  expect(order).toEqual(["a1", "b1", "c1", "a2", "b2", "a3"]);
});

test("a wait that its signal ends takes no slot", async () => {
  const slots = new Slots(1);
  const release = await slots.take("a", signal);
  const controller = new AbortController();
  const cut = slots.take("b", controller.signal);
  const kept = slots.take("b", signal);
  controller.abort(new Error("gone"));
  await expect(cut).rejects.toThrow("gone");
  await expect(slots.take("b", controller.signal)).rejects.toThrow("gone");
  release();
  (await kept)();
  (await slots.take("c", signal))();
});
