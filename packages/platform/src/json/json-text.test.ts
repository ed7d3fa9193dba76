import { describe, expect, test } from "vitest";
import { elementTexts, inexactPart, memberTexts } from "./json-text.ts";

describe("parts of JSON text", () => {
  test("are exactly the written text, byte for byte", () => {
    const json = ' {"a" : {"id":9007199254740993, "x":[1 , 2] } ,"b\\u0022": "q\\"}{,", "c":1.0e+2\n,"d":null,"e":[],"f":{}}  ';
    expect([...memberTexts(json)]).toEqual([
      ["a", '{"id":9007199254740993, "x":[1 , 2] }'],
      ['b"', '"q\\"}{,"'],
      ["c", "1.0e+2"],
      ["d", "null"],
      ["e", "[]"],
      ["f", "{}"],
    ]);
    expect(elementTexts('[ {"a":[1,2]},"]" , 3,[ ],true ]')).toEqual(['{"a":[1,2]}', '"]"', "3", "[ ]", "true"]);
    expect([...memberTexts("{}"), ...elementTexts(" [ ] ")]).toEqual([]);
    expect(memberTexts('{"a":1,"a":2}').get("a")).toBe("2");
  });

  test("agree with JSON.parse, whatever is in them", () => {
    let seed = 7;
    const random = (below: number) => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
      return Math.floor((seed / 2_147_483_648) * below);
    };
    const texts = ["", "\\", '"', "}{", "][", ",:", "é😀", "\n\t", " "];
    const value = (depth: number): unknown => {
      const kind = random(depth === 0 ? 4 : 6);
      if (kind === 0) return random(1_000) / 8;
      if (kind === 1) return [true, false, null][random(3)];
      if (kind < 4) return texts[random(texts.length)];
      const parts = Array.from({ length: random(4) }, () => value(depth - 1));
      return kind === 4 ? parts : Object.fromEntries(parts.map((part, i) => [`${texts[random(texts.length)]}${i}`, part]));
    };
    for (let i = 0; i < 2_000; i++) {
      const object = Object.fromEntries(
        Array.from({ length: random(5) }, (_, n) => [`${texts[random(texts.length)]}${n}`, value(4)]),
      );
      const json = JSON.stringify(object, undefined, random(3));
      const read = Object.fromEntries([...memberTexts(json)].map(([name, text]) => [name, JSON.parse(text)]));
      expect(read).toEqual(object);
      const list = JSON.stringify(Object.values(object), undefined, random(3));
      expect(elementTexts(list).map((text) => JSON.parse(text))).toEqual(Object.values(object));
      expect(inexactPart(json)).toBeUndefined();
    }
  });

  test.each([
    ["9007199254740993", ""],
    ["-9007199254740993", ""],
    ['{"id": 9007199254740993}', "id"],
    ['{"a":[1,{"b":18446744073709551615}]}', "a.1.b"],
    ["[1e400]", "0"],
    ["[1, -1e999]", "1"],
    ["[1e-400]", "0"],
    ["[9007199254740992.5]", "0"],
    ["[9007199254740990.7]", "0"],
    ["[1.00000000000000000001]", "0"],
    ["[-0.99999999999999999999]", "0"],
    ["[90071992547409931e-1]", "0"],
    ["[5e-324, 1e-324]", "1"],
    ['{"a":{"b":[[9007199254740993e0]]}}', "a.b.0.0"],
    ["[100000000000000000001]", "0"],
    ['{"x":"9007199254740993","y":9007199254740993}', "y"],
  ])("%s has a number that JavaScript does not hold", (json, path) => {
    expect(inexactPart(json)).toEqual({ path, fault: "number" });
  });

  test.each([
    "9007199254740991",
    "9007199254740992",
    "1e21",
    "1E+23",
    "100000000000000000000",
    "0.1",
    "0e400",
    "-0",
    "1.50",
    "1.000000000000000000000",
    "10e-1",
    "900719925474099100000e-5",
    '"9007199254740993"',
    '{"9007199254740993":1}',
  ])("%s comes through as it is", (json) => {
    expect(inexactPart(json)).toBeUndefined();
  });

  test("rounds fractions, as every double does", () => {
    expect(inexactPart("[3.14159265358979323846, 52.520006599999999999]")).toBeUndefined();
  });

  test.each([
    ['{"id":1,"id":2}', "id"],
    ['{"a":{"b":1,"\\u0062":2}}', "a.b"],
    ['[{"a":1},{"a":1,"a":1}]', "1.a"],
  ])("%s has a duplicate name, of which one is lost", (json, path) => {
    expect(inexactPart(json)).toEqual({ path, fault: "name" });
  });

  test("takes a megabyte in one pass", () => {
    const deep = `${'{"a":['.repeat(16)}${"1,".repeat(500_000)}1${"]}".repeat(16)}`;
    const startedAt = performance.now();
    expect(inexactPart(deep)).toBeUndefined();
    expect(performance.now() - startedAt).toBeLessThan(2_000);
    expect(inexactPart(`[${"9".repeat(1_000_000)}]`)).toEqual({ path: "0", fault: "number" });
  });
});
