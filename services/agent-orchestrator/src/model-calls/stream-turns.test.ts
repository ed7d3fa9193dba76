import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test } from "vitest";
import { StreamTurns } from "./stream-turns.ts";

test("a user's pieces beyond those of a turn wait for the next ones, in order, and another user's do not", async () => {
  const turns = new StreamTurns();
  const passed: number[] = [];
  for (let piece = 0; piece < 40; piece += 1) {
    const turn = turns.take("a");
    if (turn === undefined) passed.push(piece);
    else void turn.then(() => passed.push(piece));
  }
  expect(passed).toHaveLength(16);
  expect(turns.take("b")).toBeUndefined();
  await nextTurn();
  expect(passed).toHaveLength(32);
  expect(turns.take("a")).toBeInstanceOf(Promise);
  expect(turns.take("b")).toBeUndefined();
  await nextTurn();
  expect(passed).toEqual(Array.from({ length: 40 }, (_, piece) => piece));
});

test("a turn gives each user their pieces anew", async () => {
  const turns = new StreamTurns();
  for (let turn = 0; turn < 3; turn += 1) {
    for (let piece = 0; piece < 16; piece += 1) expect(turns.take("a")).toBeUndefined();
    await nextTurn();
  }
});
