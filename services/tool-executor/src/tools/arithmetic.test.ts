import fc from "fast-check";
import { expect, test } from "vitest";
import { compareWithMathjs } from "../../testing/calculator-comparison.ts";
import { evaluate } from "./arithmetic.ts";

test.each([
  ["1337 * 42", 56154],
  ["2+2", 4],
  ["1 + 2 * 3", 7],
  ["(1 + 2) * 3", 9],
  ["8 / 4 / 2", 1],
  ["10 - 4 - 3", 3],
  ["-3 - -3", 0],
  ["2 * -3", -6],
  ["--2", 2],
  ["-(2 + 3)", -5],
  [".5 + 5.", 5.5],
  ["1e3 + 1.5E-1", 1000.15],
  ["\t( 7 )\n", 7],
  ["1/3", 1 / 3],
])("%s is %d", (expression, value) => {
  expect(evaluate(expression)).toBe(value);
});

test.each([
  ["", "ends too early"],
  ["   ", "ends too early"],
  ["1 +", "ends too early"],
  ["(1", "ends too early"],
  ["1)", '")" at position 2'],
  ["1 2", "2 at position 3"],
  ["* 3", '"*" at position 1'],
  ["()", '")" at position 2'],
  ["2 ** 3", '"*" at position 4'],
  ["1e", '"e" at position 2'],
  ["1..2", ".2"],
  ["process.exit(1)", '"p" at position 1'],
  ["constructor", '"c"'],
  ["1 / 0", "division by zero"],
  ["1 / (2 - 2)", "division by zero"],
  ["1 / -0", "division by zero"],
  ["1e308 * 10", "range"],
  ["1e999", "range"],
  ["٣ + 1", "position 1"],
  ["1".repeat(1_001), "longer than 1000"],
  [`${"(".repeat(101)}1${")".repeat(101)}`, "nested deeper than 100"],
  [`${"-".repeat(500)}1`, "nested deeper than 100"],
])("%s has no value", (expression, part) => {
  expect(evaluate(expression)).toEqual({ error: expect.stringContaining(part) });
});

test("the limits themselves are allowed", () => {
  expect(evaluate(`${"(".repeat(99)}1${")".repeat(99)}`)).toBe(1);
  expect(evaluate(`${"1+".repeat(499)}1`)).toBe(500);
});

interface Term {
  readonly text: string;
  readonly value: number;
}

const operators: Readonly<Record<string, (a: number, b: number) => number>> = {
  "+": (a, b) => a + b,
  "-": (a, b) => a - b,
  "*": (a, b) => a * b,
  "/": (a, b) => a / b,
};

const { term } = fc.letrec<{ term: Term; leaf: Term; binary: Term; negated: Term }>((tie) => ({
  term: fc.oneof({ depthSize: "small", withCrossShrink: true }, tie("leaf"), tie("binary"), tie("negated")),
  leaf: fc
    .oneof(fc.nat(1_000_000), fc.double({ min: 0, max: 1e9, noNaN: true }))
    .map((value) => ({ text: String(value), value })),
  binary: fc
    .tuple(tie("term"), fc.constantFrom(...Object.keys(operators)), tie("term"), fc.constantFrom("", " ", "  "))
    .map(([left, operator, right, space]) => ({
      text: `(${left.text}${space}${operator}${space}${right.text})`,
      value: operators[operator]?.(left.value, right.value) ?? Number.NaN,
    })),
  negated: tie("term").map(({ text, value }) => ({ text: `-${text}`, value: -value })),
}));

test("an expression rendered from a tree has the tree's value", () => {
  fc.assert(
    fc.property(term, ({ text, value }) => {
      const result = evaluate(text);
      if (typeof result === "object") {
        // Only a division by zero, the range or a limit may leave it without a value.
        expect(result.error).toMatch(/division by zero|range of numbers|longer than|nested deeper/);
      } else {
        expect(result).toBe(value);
      }
    }),
  );
});

test("precedence and left association are those of JavaScript", () => {
  const numbers = fc.array(fc.nat(1_000), { minLength: 2, maxLength: 8 });
  const signs = fc.array(fc.constantFrom("+", "-", "*", "/"), { minLength: 7, maxLength: 7 });
  fc.assert(
    fc.property(numbers, signs, (values, used) => {
      const expression = values.map((value, index) => (index === 0 ? `${value}` : `${used[index - 1]}${value}`)).join("");
      const sums: number[] = [];
      let product = values[0] ?? 0;
      let sign = 1;
      let divided = false;
      values.slice(1).forEach((value, index) => {
        const operator = used[index];
        if (operator === "*") product *= value;
        else if (operator === "/") {
          divided ||= value === 0;
          product /= value;
        } else {
          sums.push(sign * product);
          sign = operator === "-" ? -1 : 1;
          product = value;
        }
      });
      sums.push(sign * product);
      const expected = sums.reduce((sum, part) => sum + part);
      if (divided) expect(evaluate(expression)).toEqual({ error: "division by zero" });
      else expect(evaluate(expression)).toBeCloseTo(expected, 6);
    }),
  );
});

test("any text has a value or an error, and nothing is thrown", () => {
  const texts = fc.oneof(fc.string(), fc.stringMatching(/^[-+*/().0-9eE ]{0,60}$/), fc.string({ unit: "binary" }));
  fc.assert(
    fc.property(texts, (text) => {
      const result = evaluate(text);
      if (typeof result === "number") expect(Number.isFinite(result)).toBe(true);
      else expect(result.error).not.toBe("");
    }),
  );
});

test("5,000 generated expressions agree with mathjs, and no attack among them has a value", () => {
  const { disagreements, escapes, slowestMs } = compareWithMathjs({ count: 5_000, seed: 7 });
  expect({ disagreements, escapes }).toEqual({ disagreements: [], escapes: [] });
  expect(slowestMs).toBeLessThanOrEqual(50);
});
