import { expect, test } from "vitest";
import { isTooDeep, jsonExcess } from "./json-depth.ts";

test("values are counted wherever they stand, and what stands in strings is not", () => {
  const cases: readonly (readonly [string, number])[] = [
    ["{}", 1],
    ['{"a":1,"b":2}', 2],
    ["[1,2,3]", 3],
    ['{"a":[{},{},{}]}', 7],
    [`{"a":"${",[{".repeat(50)}","b":"\\",\\",\\""}`, 2],
  ];
  for (const [json, values] of cases) {
    expect(jsonExcess(json, values), json).toBeUndefined();
    expect(jsonExcess(json, values - 1), json).toContain(`holds more than ${values - 1} values`);
  }
});

test("nesting is bounded whether values are or not", () => {
  expect(jsonExcess("[".repeat(33), 1_000)).toContain("nests deeper than 32 levels");
  expect(jsonExcess("[".repeat(32), 1_000)).toBeUndefined();
  expect(isTooDeep("[".repeat(33))).toBe(true);
  expect(isTooDeep(`[${"1,".repeat(100_000)}1]`)).toBe(false);
});
