import { describe, expect, test } from "vitest";
import { isNumberText, isSame, readExact, writeExact } from "./exact.ts";
import { isIndentable, type JsonLine, jsonLines } from "./json-lines.ts";
import { visible } from "./visible.ts";

const drawn = (lines: Iterable<JsonLine>) =>
  [...lines].map(({ indent, key, rest }) => `${"  ".repeat(indent)}${key === "" ? "" : `${key}: `}${rest}`).join("\n");

describe("the lines of JSON", () => {
  test.each([
    ["{}", "{}"],
    ["[ ]", "[]"],
    ['{"a":1}', '{\n  "a": 1\n}'],
    ['{"a":{"b":[1,2,{}]},"c":"d"}', '{\n  "a": {\n    "b": [\n      1,\n      2,\n      {}\n    ]\n  },\n  "c": "d"\n}'],
    ['["a","b"]', '[\n  "a",\n  "b"\n]'],
    ["[[],[[]]]", "[\n  [],\n  [\n    []\n  ]\n]"],
    ["1.50", "1.50"],
    [' "a" ', '"a"'],
  ])("are as people write them: %s", (text, lines) => {
    expect(drawn(jsonLines(text))).toBe(lines);
  });

  test("keep digits, escapes and the order of keys", () => {
    const text = '{"b":9007199254740993,"a":"\\u00e9\\n","c":1E400,"b":-0.10}';
    const lines = drawn(jsonLines(text));
    for (const part of ["9007199254740993", '"\\u00e9\\n"', "1E400", "-0.10"]) expect(lines).toContain(part);
    expect(lines.indexOf('"b"')).toBeLessThan(lines.indexOf('"a"'));
  });

  test("are like those of JSON.stringify for any JSON", () => {
    let seed = 7;
    const random = (limit: number) => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed % limit;
    };
    const any = (depth: number): unknown => {
      const kind = random(depth > 4 ? 4 : 6);
      if (kind === 4) return Array.from({ length: random(4) }, () => any(depth + 1));
      if (kind === 5) return Object.fromEntries(Array.from({ length: random(4) }, (_one, i) => [`k${i}"\\{`, any(depth + 1)]));
      return [null, true, random(1_000) / 8, '",:{[\\'][kind];
    };
    for (let i = 0; i < 200; i += 1) {
      const value = any(0);
      expect(drawn(jsonLines(JSON.stringify(value)))).toBe(JSON.stringify(value, undefined, 2));
    }
  });

  test("cost only what is read: the first of two million characters come at once", () => {
    const text = `[${"1,".repeat(1_000_000)}1]`;
    const before = process.cpuUsage();
    const lines = jsonLines(text);
    for (let i = 0; i < 200; i += 1) lines.next();
    expect(process.cpuUsage(before).user / 1_000).toBeLessThan(100);
  });

  test("lose nothing but white space of what is no JSON", () => {
    for (const text of ["{a b", '{"a', "]]}", "[1,,2]", '{"a":1}}x', "\\u0000", "{{{{"]) {
      expect(drawn(jsonLines(text)).replaceAll(/\s/g, "")).toBe(text.replaceAll(/\s/g, ""));
    }
  });

  test("are made of objects and lists that are not too long", () => {
    expect(isIndentable(' {"a":1}')).toBe(true);
    for (const text of ["", "1", '"{}"', "{a}", `[${"1,".repeat(200_000)}1]`]) expect(isIndentable(text)).toBe(false);
  });
});

describe("JSON that stays as it was written", () => {
  test.each([
    '{"order":1187,"amount_cents":9007199254740993}',
    '["\\u00e9","é",1e5,1E+5,-0,0.10,true,false,null]',
    '{"":{"a":[]},"b":{}}',
  ])("is written as it was read: %s", (text) => {
    expect(writeExact(readExact(text))).toBe(text);
  });

  test.each(["", "{", "[1,]", "{'a':1}", "01", "1.", "+1", "NaN", '"\n"', '"\\x"', "[1] 2", '{"a" 1}', "tru", "--1"])(
    "refuses %j",
    (text) => {
      expect(() => readExact(text)).toThrow(SyntaxError);
      expect(() => JSON.parse(text)).toThrow();
    },
  );

  test("bounds its depth", () => {
    expect(() => readExact("[".repeat(100_000))).toThrow("200 levels");
  });

  test("compares values, not their spelling, and numbers by their digits", () => {
    expect(isSame(readExact('{"a":"\\u00e9","b":1}'), readExact('{ "b":1, "a":"é" }'))).toBe(true);
    expect(isSame(readExact("9007199254740993"), readExact("9007199254740992"))).toBe(false);
    expect(isSame(readExact("[1,2]"), readExact("[2,1]"))).toBe(false);
    expect(["1", "-0.5e-7", "9007199254740993"].every(isNumberText)).toBe(true);
    expect(["", "01", "1x", " 1", "Infinity"].some(isNumberText)).toBe(false);
  });
});

test("characters that nobody sees are written as their escapes", () => {
  expect(visible("a\u202eb\u200bc\ufeffd\u2066e\u0000f")).toBe("a\\u202eb\\u200bc\\ufeffd\\u2066e\\u0000f");
  expect(visible("line\n\ttab é 漢字 😀 \r\nend")).toBe("line\n\ttab é 漢字 😀 \r\nend");
  expect(visible("\u{e0041}")).toBe("\\u{e0041}");
});
