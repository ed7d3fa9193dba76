import { describe, expect, test } from "vitest";
import { readExact, writeExact } from "../json/exact.ts";
import { changesBetween, shortText } from "./changes.ts";
import { faultsOf } from "./check.ts";
import { alternativesOf, controlOf, emptyValue, fits, resolved, type Schema } from "./schema.ts";

const schema: Schema = {
  type: "object",
  required: ["method", "amount"],
  properties: {
    method: { type: "string", enum: ["GET", "POST"] },
    amount: { type: "integer" },
    note: { type: ["string", "null"] },
    tags: { type: "array", items: { type: "string" } },
    labels: { type: "object", additionalProperties: { type: "string" } },
    body: { anyOf: [{ type: "string" }, { $ref: "#/$defs/node" }] },
    any: {},
  },
  $defs: { node: { type: "object", properties: { next: { $ref: "#/$defs/node" } } } },
};
const of = (name: string) => resolved(schema.properties?.[name], schema, 0) as Schema;

describe("the controls of a schema", () => {
  test.each([
    ["method", "enum"],
    ["amount", "number"],
    ["note", "choice"],
    ["tags", "array"],
    ["labels", "map"],
    ["body", "choice"],
    ["any", "raw"],
  ])("fit its types: %s", (name, control) => {
    expect(controlOf(of(name), 1)).toBe(control);
  });

  test("follow references, not for ever", () => {
    const loop: Schema = { $ref: "#/$defs/a", $defs: { a: { $ref: "#/$defs/a" } } };
    expect(resolved(loop, loop, 0)).toBe(undefined);
    expect(resolved({ $ref: "https://evil.test/schema" }, schema, 0)).toBe(undefined);
    expect(resolved({ $ref: "#/$defs/missing" }, schema, 0)).toBe(undefined);
    expect(controlOf(of("tags"), 9)).toBe("raw");
    expect(writeExact(emptyValue(resolved({ $ref: "#/$defs/node" }, schema, 0), schema))).toBe("{}");
  });

  test("begin with the emptiest value that fits", () => {
    expect(writeExact(emptyValue(schema, schema))).toBe('{"method":"GET","amount":0}');
    expect(writeExact(emptyValue({ type: "string", default: "é" }, schema))).toBe('"é"');
  });

  test("find the alternative of a value", () => {
    const parts = alternativesOf(of("note"));
    expect(parts.findIndex((part) => fits(readExact("null"), part))).toBe(1);
    expect(fits(readExact("1.5"), { type: "integer" })).toBe(false);
    expect(fits(readExact('"POST"'), of("method"))).toBe(true);
  });
});

describe("the changes of a form", () => {
  test("are the smallest places that differ, with what was there", () => {
    const before = readExact('{"a":{"b":100,"c":[1,2]},"d":"x","gone":null}');
    const after = readExact('{"a":{"b":9007199254740993,"c":[1,3]},"d":"x","new/~":true}');
    const changes = changesBetween(before, after);
    expect(changes.map(({ path }) => path)).toEqual(["/a/b", "/a/c/1", "/gone", "/new~1~0"]);
    expect(changes.map((change) => `${shortText(change.before)} → ${shortText(change.after)}`)).toEqual([
      "100 → 9007199254740993",
      "2 → 3",
      "null → absent",
      "absent → true",
    ]);
    expect(changesBetween(before, before)).toEqual([]);
  });
});

describe("the check of a form", () => {
  test("names the field of each fault", () => {
    const faults = faultsOf(schema, '{"method":"PUT","amount":1.5,"tags":["a",2]}');
    expect(faults.map(({ path }) => path).sort()).toEqual(["/amount", "/method", "/tags/1"]);
    expect(faultsOf(schema, '{"method":"GET","amount":9007199254740993,"note":null}')).toEqual([]);
    expect(faultsOf(schema, '{"method":"GET"}').map(({ path }) => path)).toEqual([""]);
    expect(faultsOf(schema, "{")).toHaveLength(1);
  });

  test("leaves schemas that it cannot read to the server", () => {
    expect(faultsOf({ $ref: "#/nowhere" }, "{}")).toEqual([]);
  });
});
