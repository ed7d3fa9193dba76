import { describe, expect, test } from "vitest";
import { briefly } from "../../../testing/answers.ts";
import { callPieces } from "./call-pieces.ts";
import { ToolCallAssembler } from "./tool-call-assembler.ts";

/** Assembles chunks, each a list of `tool_calls` or the value of that field. */
function assemble(...chunks: unknown[]) {
  const assembler = new ToolCallAssembler();
  const placed = chunks.map((tool_calls) => {
    const message = { tool_calls };
    return assembler.add(callPieces(message, () => JSON.stringify(message)));
  });
  return { assembler, placed, calls: assembler.calls, brief: assembler.calls.map(briefly) };
}
const called = (name?: unknown, args?: unknown) => ({ function: { name, arguments: args } });
const sum = '{"expression":"2+3"}';
const product = '{"expression":"4*5"}';

describe("the pieces of calls are put together", () => {
  test.each<[string, unknown[], string[]]>([
    ["by their index", [[{ index: 0, id: "a", ...called("f", "") }], [{ index: 0, ...called(undefined, "{}") }]], ["f({})"]],
    [
      "with index 0 for each of two calls that have ids",
      [[{ index: 0, id: "a", ...called("f", sum) }], [{ index: 0, id: "b", ...called("f", product) }]],
      [`f(${sum})`, `f(${product})`],
    ],
    [
      "with index 0 for each of two calls in pieces",
      [
        [{ index: 0, id: "a", ...called("f", "") }],
        [{ index: 0, ...called(undefined, sum) }],
        [{ index: 0, id: "b", ...called("g", "") }],
        [{ index: 0, ...called(undefined, product) }],
      ],
      [`f(${sum})`, `g(${product})`],
    ],
    [
      "with index 0 for each of two whole calls without ids",
      [[{ index: 0, ...called("f", sum) }], [{ index: 0, ...called("f", product) }]],
      [`f(${sum})`, `f(${product})`],
    ],
    [
      "with index 0 for calls of two tools without arguments",
      [[{ index: 0, ...called("f", "{}") }], [{ index: 0, ...called("g", "{}") }]],
      ["f({})", "g({})"],
    ],
    [
      "by an id on every piece, without an index",
      [[{ id: "a", ...called("f", "") }], [{ id: "a", ...called(null, sum) }]],
      [`f(${sum})`],
    ],
    [
      "with the name and the id on every piece",
      ["", '{"expression":', '"2+3"}'].map((args) => [{ index: 0, id: "a", ...called("f", args) }]),
      [`f(${sum})`],
    ],
    [
      "with the name on every piece, without ids and indexes",
      ["", '{"expression":', '"2+3"}'].map((args) => [called("f", args)]),
      [`f(${sum})`],
    ],
    [
      "with a name in pieces",
      [[{ index: 0, id: "a", ...called("calc") }], [{ index: 0, ...called("ulator", "{}") }]],
      ["calculator({})"],
    ],
    ["without ids and indexes, in one list", [[called("f", sum), called("g", product)]], [`f(${sum})`, `g(${product})`]],
    [
      "without ids and indexes, one after the other",
      [[called("f", '{"expression":')], [called(undefined, '"2+3"}')], [called("g", product)]],
      [`f(${sum})`, `g(${product})`],
    ],
    [
      "without indexes, where only the first piece has an id",
      [[{ id: "a", ...called("f", "") }], [called(undefined, sum)], [{ id: "b", ...called("g", product) }]],
      [`f(${sum})`, `g(${product})`],
    ],
    [
      "with one id for two calls in one list",
      [
        [
          { id: "a", ...called("f", sum) },
          { id: "a", ...called("g", product) },
        ],
      ],
      [`f(${sum})`, `g(${product})`],
    ],
    [
      "with one id for two indexes",
      [[{ index: 0, id: "a", ...called("f", sum) }], [{ index: 1, id: "a", ...called("f", product) }]],
      [`f(${sum})`, `f(${product})`],
    ],
    [
      "with an id that changes from piece to piece",
      [
        [{ index: 0, id: "a", ...called("f", "") }],
        [{ index: 0, id: "b", ...called("", sum) }],
        [{ index: 0, id: "c", ...called(null, "") }],
      ],
      [`f(${sum})`],
    ],
    [
      "with an id that comes late",
      [[{ index: 0, ...called("f", "") }], [{ index: 0, id: "a", ...called("", sum) }]],
      [`f(${sum})`],
    ],
    [
      "with ids that are null",
      [[{ index: 0, id: null, ...called("f", "") }], [{ index: 0, id: null, ...called(null, sum) }]],
      [`f(${sum})`],
    ],
    [
      "with ids that are numbers",
      [[{ id: 1, ...called("f", sum) }], [{ id: 2, ...called("f", product) }]],
      [`f(${sum})`, `f(${product})`],
    ],
    [
      "with an index that is text",
      [[{ index: "0", id: "a", ...called("f", "") }], [{ index: "0", ...called(null, sum) }]],
      [`f(${sum})`],
    ],
    [
      "with an index that is negative or a fraction",
      [[{ index: -1, id: "a", ...called("f", sum) }], [{ index: 0.5, id: "b", ...called("g", product) }]],
      [`f(${sum})`, `g(${product})`],
    ],
    [
      "with arguments that are null or absent",
      [[{ index: 0, id: "a", ...called("f", null) }], [{ index: 1, id: "b", ...called("g") }]],
      ["f({})", "g({})"],
    ],
    [
      "with an empty object before the arguments",
      [[{ index: 0, id: "a", ...called("f", "{}") }], [{ index: 0, ...called(null, sum) }]],
      [`f(${sum})`],
    ],
    [
      "with the whole call again at the end",
      [[{ index: 0, id: "a", ...called("f", sum) }], [{ index: 0, id: "a", ...called("f", sum) }]],
      [`f(${sum})`],
    ],
    ["with entries that are none", [[null, 1, "x", [], { index: 0, id: "a", ...called("f", "{}") }]], ["f({})"]],
    ["as one call in the place of a list", [{ id: "a", ...called("f", "{}") }], ["f({})"]],
    ["as a custom tool's call", [[{ index: 0, id: "a", type: "custom", custom: { name: "f", input: "go" } }]], ["f(go)"]],
  ])("%s", (_name, chunks, expected) => {
    expect(assemble(...chunks).brief).toEqual(expected);
  });

  test("from an object for arguments, with every digit", () => {
    const assembler = new ToolCallAssembler();
    const args = '{ "id": 9007199254740993, "amount": 1.50, "a": 1, "a": 2 }';
    const text = `{"tool_calls": [null, {"id":"a","function":{"name":"f","arguments": ${args} }}]}`;
    assembler.add(callPieces(JSON.parse(text), () => text));
    expect(assembler.calls[0]?.function.arguments).toBe(args);
  });
});

test("calls keep their ids, have different ones, and get one when the endpoint gives none", () => {
  const { calls } = assemble([{ id: "a", ...called("f", sum) }, { id: "a", ...called("g", product) }, called("h", "{}")]);
  expect(calls[0]?.id).toBe("a");
  expect(calls.map(({ id }) => id).every((id) => id !== "")).toBe(true);
  expect(new Set(calls.map(({ id }) => id)).size).toBe(3);
});

describe("a call that must not run has a problem", () => {
  const problemsOf = (...chunks: unknown[]) => assemble(...chunks).calls.map(({ problem }) => problem);

  test("when it names no tool", () => {
    expect(
      problemsOf([{ id: "a", ...called("") }, { id: "b", ...called(null, sum) }, { id: "c" }, { id: "d", ...called("f") }]),
    ).toEqual(["The call names no tool.", "The call names no tool.", "The call names no tool.", undefined]);
  });

  test("when its name or its arguments are too long, of which no more is kept", () => {
    const { calls } = assemble(
      [{ index: 0, id: "a", ...called("f".repeat(101), "{}") }],
      ...Array.from({ length: 40 }, () => [{ index: 1, id: "b", ...called("g", "x".repeat(10_000)) }]),
    );
    expect(calls.map(({ problem }) => problem)).toEqual([
      expect.stringContaining("name is longer than 100"),
      expect.stringContaining("arguments are longer than 262144"),
    ]);
    expect(calls[1]?.function.arguments).toHaveLength(262_144);
  });

  test("when the answer has more than 128 calls: none of them may run, and no more are kept", () => {
    const list = Array.from({ length: 200 }, (_, at) => ({ index: at, id: `c${at}`, ...called("f", "{}") }));
    const { calls } = assemble(list);
    expect(calls).toHaveLength(128);
    expect(new Set(calls.map(({ problem }) => problem))).toEqual(
      new Set(["The answer has more than 128 calls: none of them was run."]),
    );
    expect(assemble(list.slice(0, 128)).calls.every(({ problem }) => problem === undefined)).toBe(true);
  });
});

test("clients get each call under an index of its own, its id and name once", () => {
  const { placed } = assemble(
    [{ index: 0, id: "a", ...called("f", "") }],
    [{ index: 0, id: "a", ...called("f", sum) }],
    [{ index: 0, id: "b", ...called("g", product) }],
  );
  expect(placed.flat().map(({ index, id, name, arguments: args }) => [index, id, name, args])).toEqual([
    [0, "a", "f", ""],
    [0, undefined, "", sum],
    [1, "b", "g", product],
  ]);
});

test("a hundred thousand pieces that look like whole calls take linear time", () => {
  const assembler = new ToolCallAssembler();
  const piece = callPieces({ tool_calls: [{ index: 0, ...called("f", '{"a":[{}') }] }, () => undefined);
  const started = performance.now();
  for (let at = 0; at < 100_000; at++) assembler.add(piece);
  expect(performance.now() - started).toBeLessThan(3_000);
});
