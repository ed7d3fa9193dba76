import { expect, test } from "vitest";
import { isFair, raceApprovals } from "./approval-races.ts";

test("exactly one of many racing decisions wins and its call is made once, before and after kill -9 of every process", async () => {
  const figures = await raceApprovals({ shape: "all-in-one", runs: 6, decisions: 20 });
  expect(isFair(figures), JSON.stringify(figures)).toBe(true);
  expect(isFair({ ...figures, effects: figures.effects + 1 })).toBe(false);
}, 120_000);
