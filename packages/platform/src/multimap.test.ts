import { expect, test } from "vitest";
import { Multimap } from "./multimap.ts";

test("multimap: a key holds each value once, and is removed with its last one", () => {
  const map = new Multimap<string, number>();
  map.add("a", 1);
  map.add("a", 1);
  map.add("a", 2);
  expect(map.get("a")).toEqual([1, 2]);
  expect(map.delete("a", 1)).toBe(true);
  expect(map.delete("a", 1)).toBe(false);
  expect(map.delete("b", 1)).toBe(false);
  expect(map.has("a")).toBe(true);
  map.delete("a", 2);
  expect(map.has("a")).toBe(false);
  expect([...map.keys()]).toEqual([]);
});

test("multimap: returned values do not change with the map", () => {
  const map = new Multimap<string, number>();
  map.add("a", 1);
  map.add("a", 2);
  for (const value of map.get("a")) map.delete("a", value);
  expect(map.get("a")).toEqual([]);
});
