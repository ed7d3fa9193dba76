import { expect, test } from "vitest";
import { withoutPatterns } from "./sandboxed-tool.ts";

test("regular expressions are removed wherever a schema may stand; arguments and values with the same names stay", () => {
  const schema = {
    type: "object",
    properties: {
      pattern: { type: "string", pattern: "^(a+)+$", minLength: 2 },
      list: { type: "array", items: { oneOf: [{ type: "string", pattern: "x" }, { type: "number" }] } },
      fixed: { const: { pattern: "kept" } },
    },
    required: ["pattern"],
  };
  expect(withoutPatterns(schema)).toEqual({
    type: "object",
    properties: {
      pattern: { type: "string", minLength: 2 },
      list: { type: "array", items: { anyOf: [{ type: "string" }, { type: "number" }] } },
      fixed: { const: { pattern: "kept" } },
    },
    required: ["pattern"],
  });
});

test("the remaining schema accepts no less than before", () => {
  const schema = {
    type: "object",
    patternProperties: { "^x-": { type: "string" } },
    additionalProperties: false,
    not: { required: ["pattern"], pattern: "a" },
  };
  expect(withoutPatterns(schema)).toEqual({ type: "object" });
});
