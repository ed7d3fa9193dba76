import { describe, expect, test } from "vitest";
import { clockWords, wrongClocks } from "./clocks.ts";

const hour = 3_600_000;
const fiveMinutes = 300_000;
const clocks = (ms: Readonly<Record<string, readonly number[]>>) =>
  Object.fromEntries(Object.entries(ms).map(([part, all]) => [part, new Map(all.map((one, at) => [`10.0.0.${at}:1`, one]))]));

describe("the clocks of a mesh", () => {
  test("are right when they differ by no more than tokens tolerate", () => {
    expect(wrongClocks({})).toEqual([]);
    expect(wrongClocks(clocks({ auth: [fiveMinutes], conversation: [-4], tools: [0] }))).toEqual([]);
  });

  test("are wrong where a part differs from the rest", () => {
    const wrong = wrongClocks(clocks({ auth: [0], conversation: [-hour], tools: [20] }));
    expect(wrong).toEqual([{ part: "conversation", aheadMs: -hour, isWhole: true }]);
    expect(wrong.map(clockWords)).toEqual(["its clock is 60 min behind those of the other parts"]);
  });

  test("are wrong at the gateway when all parts agree on another time", () => {
    const [wrong, ...rest] = wrongClocks(clocks({ auth: [-hour], conversation: [-hour, -hour - 10], tools: [-hour] }));
    expect(rest).toEqual([]);
    expect(wrong).toMatchObject({ part: "gateway", isWhole: true });
    expect(wrong && clockWords(wrong)).toBe("its clock is 60 min ahead of those of the other parts");
  });

  test("of one instance do not condemn its part", () => {
    const wrong = wrongClocks(clocks({ auth: [0], conversation: [0, hour], tools: [0] }));
    expect(wrong).toEqual([{ part: "conversation", aheadMs: hour, isWhole: false }]);
  });
});
