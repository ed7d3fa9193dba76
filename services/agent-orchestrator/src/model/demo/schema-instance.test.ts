import { Ajv2020 } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { textMatching } from "./pattern-text.ts";
import { instanceOf } from "./schema-instance.ts";

const ajv = new Ajv2020({ strict: false, allErrors: true });
formats.default(ajv);

function faultsOf(schema: object | boolean, value: unknown): string {
  const validate = ajv.compile(schema);
  // As a client reads it.
  return validate(JSON.parse(JSON.stringify(value))) ? "" : `${ajv.errorsText(validate.errors)}: ${JSON.stringify(value)}`;
}

const node = { type: "object", properties: { name: { type: "string" }, next: { $ref: "#/$defs/node" } }, required: ["name"] };
const list = {
  type: "object",
  properties: { value: { type: "integer" }, next: { anyOf: [{ $ref: "#/$defs/list" }, { type: "null" }] } },
  required: ["value", "next"],
  additionalProperties: false,
};

const schemas: Readonly<Record<string, object | boolean>> = {
  "of everything": true,
  "without keywords": {},
  "of a flat object": {
    type: "object",
    properties: { city: { type: "string" }, days: { type: "integer" }, unit: { enum: ["C", "F"] }, fine: { type: "boolean" } },
    required: ["city", "days", "unit", "fine"],
    additionalProperties: false,
  },
  "of nested objects and lists": {
    type: "object",
    properties: {
      steps: {
        type: "array",
        minItems: 2,
        items: { type: "object", properties: { text: { type: "string" } }, required: ["text"] },
      },
    },
    required: ["steps"],
  },
  "of constants": { type: "object", properties: { kind: { const: "weather" }, zero: { const: 0 } }, required: ["kind", "zero"] },
  "of nullable fields": {
    type: "object",
    properties: { a: { type: ["null", "string"] }, b: { type: "null" } },
    required: ["a", "b"],
  },
  "of limited numbers": {
    type: "object",
    properties: {
      a: { type: "integer", minimum: 5, maximum: 6 },
      b: { type: "number", exclusiveMinimum: 0, exclusiveMaximum: 1 },
      c: { type: "integer", multipleOf: 7, minimum: 50 },
      d: { type: "integer", maximum: -3 },
      e: { type: "number", minimum: 0.25, maximum: 0.25 },
      f: { type: "integer", exclusiveMinimum: 3, exclusiveMaximum: 5 },
    },
    required: ["a", "b", "c", "d", "e", "f"],
  },
  "of limited texts": {
    type: "object",
    properties: {
      a: { type: "string", minLength: 300 },
      b: { type: "string", maxLength: 3 },
      c: { type: "string", maxLength: 0 },
    },
    required: ["a", "b", "c"],
  },
  "of formats": {
    type: "object",
    properties: Object.fromEntries(
      ["date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"].map((format) => [
        format,
        { type: "string", format },
      ]),
    ),
    required: ["date-time", "uuid"],
  },
  "of patterns": {
    type: "object",
    properties: {
      a: { type: "string", pattern: "^[A-Z]{2}-\\d{4}$" },
      b: { type: "string", pattern: "^(?:red|green)(?<n>[^a-z])?$" },
      c: { type: "string", pattern: "^\\+?[1-9]\\d{1,14}$" },
      d: { type: "string", pattern: "^[a-z]+$", minLength: 5 },
      e: { type: "string", pattern: "^\\u0041\\.\\n$" },
    },
    required: ["a", "b", "c", "d", "e"],
  },
  "of unlike items": {
    type: "object",
    properties: {
      words: { type: "array", minItems: 3, uniqueItems: true, items: { type: "string" } },
      numbers: { type: "array", minItems: 3, uniqueItems: true, items: { type: "integer", minimum: 0 } },
      kinds: { type: "array", minItems: 2, maxItems: 2, uniqueItems: true, items: { enum: ["x", "y"] } },
      pair: { type: "array", prefixItems: [{ type: "string" }, { type: "number" }], items: false, minItems: 2 },
    },
    required: ["words", "numbers", "kinds", "pair"],
  },
  "of alternatives": { anyOf: [false, { type: "object", properties: { a: { enum: ["b"] } }, required: ["a"] }] },
  "of parts": {
    allOf: [
      { type: "object", properties: { a: { type: "string" } }, required: ["a"] },
      { properties: { b: { type: "integer" } }, required: ["b"] },
    ],
  },
  "with definitions": {
    type: "object",
    properties: { at: { $ref: "#/$defs/a~1place" }, many: { type: "array", items: { $ref: "#/$defs/a~1place" } } },
    required: ["at", "many"],
    $defs: { "a/place": { type: "object", properties: { x: { type: "number" } }, required: ["x"], additionalProperties: false } },
  },
  "that contains itself where it may end": { $ref: "#/$defs/node", $defs: { node } },
  "that contains itself or null": { $ref: "#/$defs/list", $defs: { list } },
  "that contains a list of itself": {
    type: "object",
    properties: { children: { type: "array", items: { $ref: "#" } }, name: { type: "string" } },
    required: ["children", "name"],
    additionalProperties: false,
  },
  "of open objects": { type: "object", required: ["x"], minProperties: 3, additionalProperties: { type: "integer" } },
  "with a member named like a prototype": JSON.parse(
    '{"type":"object","properties":{"__proto__":{"type":"string"}},"required":["__proto__"]}',
  ),
};

describe("a schema", () => {
  test.each(Object.keys(schemas))("%s gets a value that it allows", (name) => {
    const schema = schemas[name] ?? true;
    for (const words of ["Paris for 3 days 🙂🙂", "", "9".repeat(400)])
      expect(faultsOf(schema, instanceOf(schema, words))).toBe("");
  });

  test("gets a value of the user's words", () => {
    const schema = { type: "object", properties: { city: { type: "string" }, days: { type: "integer" } } };
    expect(instanceOf(schema, "Paris for 3 days")).toEqual({ city: "Paris for 3 days", days: 3 });
  });

  test.each([
    ["allows nothing", false],
    ["demands what it forbids", { type: "object", required: ["a"], additionalProperties: false }],
    ["contains itself without an end", { type: "object", properties: { a: { $ref: "#" } }, required: ["a"] }],
    ["refers to what is not there", { $ref: "#/$defs/none" }],
    ["has an empty range", { type: "integer", minimum: 5, maximum: 4 }],
    ["has a pattern of unknown form", { type: "string", pattern: "(?=a)b" }],
  ])("that %s gets none", (_what, schema) => {
    expect(instanceOf(schema, "words")).toBeUndefined();
  });

  test("of a few lines that describes billions of values ends in bounded time", () => {
    const twice = (ref: string) => ({ type: "array", minItems: 2, items: { $ref: ref } });
    const levels = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`d${i}`, twice(`#/$defs/d${i + 1}`)]));
    const wide = Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`p${i}`, {}]));
    const started = performance.now();
    expect(instanceOf({ $ref: "#/$defs/d0", $defs: { ...levels, d40: true } }, "x")).toBeUndefined();
    expect(instanceOf({ type: "array", minItems: 1e9, items: { type: "string", minLength: 1e9 } }, "x")).toBeDefined();
    expect(instanceOf({ allOf: [{ $ref: "#" }] }, "x")).toBeUndefined();
    const none = { properties: { q: false }, required: ["q"] };
    expect(instanceOf({ type: "object", properties: wide, anyOf: Array(5_000).fill(none) }, "x")).toBeUndefined();
    expect(performance.now() - started).toBeLessThan(2_000);
  });

  test("of any form whatever does not break the maker", () => {
    const keyword = fc.constantFrom(
      "type",
      "properties",
      "items",
      "anyOf",
      "enum",
      "$ref",
      "required",
      "pattern",
      "minimum",
      "allOf",
    );
    const value = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constantFrom("object", "array", "#", "string", "[a-"));
    fc.assert(
      fc.property(fc.dictionary(keyword, value), fc.string(), (schema, words) => {
        const made = instanceOf(schema, words);
        if (made !== undefined) expect(JSON.stringify(made)).toBeTypeOf("string");
      }),
    );
  });
});

test("a text is made for patterns, and never by running them", () => {
  const atom = fc.constantFrom("a", "\\d", "[b-f]", "(?:x|yz)", "\\.", "[^a-y]", "(k)", ".");
  const times = fc.constantFrom("", "*", "+", "?", "{3}", "{1,4}", "{2,}", "+?");
  const pattern = fc.array(fc.tuple(atom, times), { maxLength: 8 }).map((parts) => `^${parts.flat().join("")}$`);
  fc.assert(
    fc.property(pattern, (source) => {
      const text = textMatching(source);
      expect(text).toBeDefined();
      expect(text).toMatch(new RegExp(source, "u"));
    }),
  );
  const started = performance.now();
  expect(textMatching(`^(${"a+".repeat(20)})+$`)).toBe("a".repeat(20));
  for (const odd of ["(", "[", "a{99999}", "\\", "(?<=a)b", "\\1", "[]", "x".repeat(2_000), "(".repeat(100)]) {
    expect(textMatching(odd)?.length ?? 0).toBeLessThan(1_001);
  }
  expect(performance.now() - started).toBeLessThan(500);
});
