import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test } from "vitest";
import { pieceBytes, StreamTurns } from "./stream-turns.ts";

test("a user's pieces beyond those of a turn wait for the next ones, in order, and another user's do not", async () => {
  const turns = new StreamTurns();
  const passed: number[] = [];
  for (let piece = 0; piece < 40; piece += 1) {
    const turn = turns.take("a", pieceBytes);
    if (turn === undefined) passed.push(piece);
    else void turn.then(() => passed.push(piece));
  }
  expect(passed).toHaveLength(16);
  expect(turns.take("b", pieceBytes)).toBeUndefined();
  await nextTurn();
  expect(passed).toHaveLength(32);
  expect(turns.take("a", pieceBytes)).toBeInstanceOf(Promise);
  expect(turns.take("b", pieceBytes)).toBeUndefined();
  await nextTurn();
  expect(passed).toEqual(Array.from({ length: 40 }, (_, piece) => piece));
});

test("a turn gives each user their pieces anew", async () => {
  const turns = new StreamTurns();
  for (let turn = 0; turn < 3; turn += 1) {
    for (let piece = 0; piece < 16; piece += 1) expect(turns.take("a", pieceBytes)).toBeUndefined();
    await nextTurn();
  }
});

test("large answers are read one a turn", async () => {
  const turns = new StreamTurns();
  const read: number[] = [];
  for (let answer = 0; answer < 3; answer += 1) {
    const turn = turns.take("a", 1_048_576);
    if (turn === undefined) read.push(answer);
    else void turn.then(() => read.push(answer));
  }
  for (const expected of [[0], [0, 1], [0, 1, 2]]) {
    expect(read).toEqual(expected);
    await nextTurn();
  }
});
