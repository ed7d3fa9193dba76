import { toJson } from "@bufbuild/protobuf";
import { ToolSpecSchema } from "@turnwright/contract/tool/v1/tool";
import { detailOf, ErrorReason, reasonOf } from "@turnwright/platform/errors";
import { expect, test } from "vitest";
import { z } from "zod";
import { defineTool } from "./define-tool.ts";
import { registerTool } from "./registered-tool.ts";

const tool = registerTool(
  defineTool({
    name: "search",
    description: "Searches.",
    parameters: z.object({
      query: z.string(),
      limit: z.int().min(1).default(5),
      filter: z.strictObject({ tags: z.array(z.string()) }).optional(),
    }),
    effect: "once",
    requiresApproval: true,
    timeoutMs: 1_500,
    version: "7",
    execute: () => null,
  }),
);

test("the spec has the JSON Schema that models see, with defaulted fields optional", () => {
  expect(toJson(ToolSpecSchema, tool.spec, { useProtoFieldName: true })).toMatchObject({
    definition: {
      type: "function",
      function: {
        name: "search",
        parameters: {
          type: "object",
          properties: { query: { type: "string" }, limit: { default: 5, minimum: 1 } },
          required: ["query"],
        },
      },
    },
    effect: "EFFECT_ONCE",
    requires_approval: true,
    timeout_ms: 1_500,
    version: "7",
  });
  expect(tool.spec.definition?.function?.parameters).not.toHaveProperty("$schema");
});

test("arguments are parsed with their defaults; empty text means no arguments", () => {
  expect(tool.parse('{"query":"a"}')).toEqual({ query: "a", limit: 5 });
  const none = registerTool({ ...tool.tool, parameters: z.object({}) });
  expect(none.parse("")).toEqual({});
  expect(none.parse(" ")).toEqual({});
});

test.each([
  ["{", "function.arguments"],
  ["[]", "function.arguments"],
  ['"text"', "function.arguments"],
  ["null", "function.arguments"],
  [`{"query":${"[".repeat(40)}${"]".repeat(40)}}`, "function.arguments"],
  [`${"[".repeat(100_000)}`, "function.arguments"],
  ["{}", "query"],
  ['{"query":1}', "query"],
  ['{"query":"a","limit":0}', "limit"],
  ['{"query":"a","filter":{"tags":["b",1]}}', "filter.tags.1"],
  ['{"query":"a","filter":{"tags":[],"more":1}}', "filter.more"],
  ['{"query":"a","limit":9007199254740993}', "limit"],
  ['{"query":"a","limit":1e400}', "limit"],
  ['{"query":"a","limit":1,"limit":2}', "limit"],
  ['{"query":"a","filter":{"tags":[],"tags":["b"]}}', "filter.tags"],
])("%.50s is refused with the field %s", (json, param) => {
  const error = thrownBy(() => tool.parse(json));
  expect(reasonOf(error)).toBe(ErrorReason.INVALID_TOOL_ARGUMENTS);
  expect(detailOf(error)?.param).toBe(param);
  expect(String(error)).toContain(`${param}: `);
});

function thrownBy(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}
