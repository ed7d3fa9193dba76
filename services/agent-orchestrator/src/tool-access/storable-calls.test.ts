import { describe, expect, test } from "vitest";
import type { ModelToolCall } from "../model/edge/chunk.ts";
import { invalidCallName, storableCalls } from "./storable-calls.ts";

const call = (name: string, args = "{}", rest: object = {}): ModelToolCall => ({
  id: "c1",
  type: "function",
  function: { name, arguments: args },
  ...rest,
});
/** The only call as it is stored, and the text with which it is refused. */
function only(answered: ModelToolCall) {
  const { calls, refusals } = storableCalls([answered]);
  expect(calls).toHaveLength(1);
  const text = refusals.get("c1");
  return { ...calls[0]?.function, error: text === undefined ? undefined : (JSON.parse(text) as { error: string }).error };
}

describe("a call", () => {
  test.each([
    '{"id": 9007199254740993}',
    '{"amount":1.50}',
    ' { "a" : 1,\n "a": 2 } ',
    '{"text":"\\u0000 \\ud800 x"}',
    `{"a":"${"x".repeat(262_144 - 8)}"}`,
    `${'{"a":'.repeat(31)}{}${"}".repeat(31)}`,
  ])("with valid arguments stays byte for byte, case %#", (args) => {
    expect(only(call("calculator", args))).toEqual({ name: "calculator", arguments: args, error: undefined });
  });

  test.each(["get weather", "funktion-ü", "x".repeat(100), "a/b.c:d"])("of a tool named %s keeps its name", (name) => {
    expect(only(call(name))).toEqual({ name, arguments: "{}", error: undefined });
  });

  test.each(["", " ", "\n"])("with the arguments %j has none", (args) => {
    expect(only(call("current_time", args))).toEqual({ name: "current_time", arguments: "{}", error: undefined });
  });

  test.each([
    ["", "does not name a tool"],
    ["  ", "does not name a tool"],
    ["x".repeat(101), "longer than 100 characters"],
    ["x".repeat(5_000_000), "longer than 100 characters"],
    ["calc\0ulator", "characters that no name may have"],
    ["calc\ud800", "characters that no name may have"],
    ["a\nb", "characters that no name may have"],
  ])("with a name that cannot be stored, case %#, is refused under another one", (name, problem) => {
    const { error, ...stored } = only(call(name, '{"a":1}'));
    expect(stored).toEqual({ name: invalidCallName, arguments: '{"a":1}' });
    expect(error).toContain(problem);
  });

  test.each([
    ["{", "not valid JSON"],
    ['{"a":1}}', "not valid JSON"],
    ['{"a":\0}', "not valid JSON"],
    ["null", "not a JSON object"],
    ["[1]", "not a JSON object"],
    ['"{}"', "not a JSON object"],
    ['{"a":"\ud800"}', "half a surrogate pair"],
    [`{"a":"${"x".repeat(300 * 1_024)}"}`, "longer than 262144 characters"],
    [`{"a":"${"x".repeat(5_000_000)}"}`, "longer than 262144 characters"],
    [`${'{"a":'.repeat(40)}1${"}".repeat(40)}`, "nested deeper than 32 levels"],
    [`${"[".repeat(200_000)}`, "nested deeper than 32 levels"],
  ])("with arguments that cannot be sent back, case %#, is refused without them", (args, problem) => {
    const { error = "", ...stored } = only(call("calculator", args));
    expect(stored).toEqual({ name: "calculator", arguments: "{}" });
    expect(error).toContain(problem);
    expect(error.length).toBeLessThan(400);
    expect(error.isWellFormed() && !error.includes("\0")).toBe(true);
    expect(error).toContain(args.slice(0, 3).toWellFormed().replaceAll("\0", "\ufffd"));
  });

  test("that the edge found fault with is refused for that, and keeps its extra fields without the fault", () => {
    const { calls, refusals } = storableCalls([call("calculator", "{}", { problem: "It is half.", extra_content: { a: 1 } })]);
    expect(refusals.get("c1")).toBe('{"error":"It is half."}');
    expect(calls).toEqual([call("calculator", "{}", { extra_content: { a: 1 } })]);
  });
});

describe("the calls of an answer", () => {
  const many = (count: number, args = "{}") =>
    Array.from({ length: count }, (_, index) => ({ ...call("calculator", args), id: `c${index}` }));

  test("are taken up to 128", () => {
    expect(storableCalls(many(128))).toEqual({ calls: many(128), refusals: new Map() });
  });

  test.each([129, 10_000])("run not at all when there are %i, and the first 128 are kept", (count) => {
    const { calls, refusals } = storableCalls(many(count));
    expect(calls).toEqual(many(128));
    expect([...refusals.keys()]).toEqual(calls.map(({ id }) => id));
    expect(refusals.get("c0")).toContain(`has ${count} calls; at most 128`);
  });

  test("keep their arguments up to 1 MiB together; those beyond it are refused", () => {
    const large = `{"a":"${"x".repeat(250_000)}"}`;
    const { calls, refusals } = storableCalls(many(6, large));
    expect(calls.map((one) => one.function.arguments.length)).toEqual([250_008, 250_008, 250_008, 250_008, 2, 2]);
    expect([...refusals.keys()]).toEqual(["c4", "c5"]);
    expect(refusals.get("c4")).toContain("together are larger than 1048576 bytes");
  });

  test("count the bytes of their arguments, not the characters", () => {
    const { calls, refusals } = storableCalls(many(3, `{"a":"${"\u20ac".repeat(150_000)}"}`));
    expect([...refusals.keys()]).toEqual(["c2"]);
    expect(calls[2]?.function.arguments).toBe("{}");
  });

  test("do not affect each other", () => {
    const [good, bad] = [call("calculator", '{"a":1}'), { ...call(""), id: "c2" }];
    const { calls, refusals } = storableCalls([good, bad]);
    expect(calls[0]).toEqual(good);
    expect([...refusals.keys()]).toEqual(["c2"]);
  });
});
