import type { JsonObject } from "@bufbuild/protobuf";
import { z } from "zod";
import type { JsonSchema, Tool } from "../tool-definition/define-tool.ts";
import { type RegisteredTool, registerTool } from "../tool-definition/registered-tool.ts";
import type { SandboxPool } from "./sandbox-pool.ts";

/**
 * A tool whose code runs in a pool. Its arguments are checked here by the JSON Schema, without its regular expressions: those are the
 * tool's own and could hold up the executor. Its process checks them in full, and gives the tool what its own schema makes of them.
 */
export function sandboxTool(pool: SandboxPool, tool: Tool): RegisteredTool {
  const check = registerTool({ ...tool, parameters: checkable(tool.parameters as JsonSchema) });
  const seen = check.spec.definition?.function;
  if (seen !== undefined) seen.parameters = tool.parameters as JsonObject;
  return {
    tool,
    spec: check.spec,
    parse(json) {
      check.parse(json);
      // As they came: a default of the parent's reading could be what the tool's own schema does not take.
      return json.trim() === "" ? {} : JSON.parse(json);
    },
    prepare: (signal) => pool.prepare(signal),
  };
}

function checkable(schema: JsonSchema): JsonSchema {
  const open = withoutPatterns(schema) as JsonSchema;
  try {
    z.fromJSONSchema(open as Parameters<typeof z.fromJSONSchema>[0]);
    return open;
  } catch {
    return { type: "object" };
  }
}

const mapsOfSchemas: ReadonlySet<string> = new Set(["properties", "$defs", "definitions", "dependentSchemas"]);
const values: ReadonlySet<string> = new Set(["const", "enum", "default", "examples"]);
/** Keywords that a wider schema inside of them makes narrower, and regular expressions. */
const leftOut: ReadonlySet<string> = new Set([
  "pattern",
  "patternProperties",
  "propertyNames",
  "not",
  "if",
  "then",
  "else",
  "contains",
  "minContains",
  "maxContains",
]);

/** A schema that takes at least what the given one takes, and has no regular expression. */
export function withoutPatterns(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withoutPatterns);
  if (typeof schema !== "object" || schema === null) return schema;
  const named = "patternProperties" in schema;
  const kept = Object.entries(schema).flatMap(([keyword, value]): [string, unknown][] => {
    if (leftOut.has(keyword) || (named && keyword === "additionalProperties")) return [];
    if (values.has(keyword)) return [[keyword, value]];
    if (keyword === "oneOf") return [["anyOf", withoutPatterns(value)]];
    if (mapsOfSchemas.has(keyword) && typeof value === "object" && value !== null) {
      return [[keyword, Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, withoutPatterns(inner)]))]];
    }
    return [[keyword, withoutPatterns(value)]];
  });
  return Object.fromEntries(kept);
}
