import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { addUsage, maxTokenCount, noUsage } from "./chunk.ts";

const usage = (prompt_tokens: unknown, completion_tokens: unknown, total_tokens?: unknown) => ({
  prompt_tokens,
  completion_tokens,
  total_tokens,
});
const counts = ({ prompt_tokens, completion_tokens, total_tokens }: ReturnType<typeof addUsage>) => [
  prompt_tokens,
  completion_tokens,
  total_tokens,
];

describe("the usage of a model call", () => {
  test.each([
    ["whole counts", usage(12, 3, 15), [12, 3, 15]],
    ["a total that is missing", usage(12, 3), [12, 3, 15]],
    ["fractions", usage(12.5, 3.25, 15.75), [0, 0, 0]],
    ["negative counts", usage(-100, -5, -105), [0, 0, 0]],
    ["one count that is none", usage(-100, 5, 105), [0, 5, 105]],
    ["text", usage("12", "3"), [0, 0, 0]],
    ["numbers without end", usage(1e308 * 10, Number.NaN), [0, 0, 0]],
    ["more than anything holds", usage(maxTokenCount + 1, 2 ** 53), [0, 0, 0]],
    ["null", null, [0, 0, 0]],
    ["a list", [], [0, 0, 0]],
    ["a word", "many", [0, 0, 0]],
  ])("is believed as far as it counts: %s", (_, given, expected) => {
    expect(counts(addUsage(noUsage, given))).toEqual(expected);
    expect(counts(addUsage({ prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 }, given))).toEqual([
      (expected[0] ?? 0) + 1,
      (expected[1] ?? 0) + 1,
      (expected[2] ?? 0) + 2,
    ]);
  });

  test("is made of non-negative whole numbers, whatever JSON an endpoint sends", () => {
    const value = fc.oneof(fc.jsonValue(), fc.double(), fc.integer(), fc.maxSafeInteger());
    const record = fc.record({ prompt_tokens: value, completion_tokens: value, total_tokens: value }, { requiredKeys: [] });
    fc.assert(
      fc.property(fc.oneof(record, fc.jsonValue()), (given) => {
        for (const count of counts(addUsage(noUsage, given))) {
          expect(Number.isSafeInteger(count) && count >= 0).toBe(true);
        }
      }),
    );
  });
});
