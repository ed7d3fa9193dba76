import type { JsonObject } from "@bufbuild/protobuf";
import { z } from "zod";
import type { JsonSchema, Tool } from "../tool-definition/define-tool.ts";
import { type RegisteredTool, registerTool } from "../tool-definition/registered-tool.ts";
import type { SandboxPool } from "./sandbox-pool.ts";

/**
 * A tool whose code runs in a pool. The executor checks its arguments by the JSON Schema without regular expressions,
 * which are the tool's own and could hold up the executor. The tool's process then checks them in full, and gives the
 * tool the value that its own schema makes of them.
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
      // Passed on as they came: the tool's own schema might not accept a default that is filled in here.
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
/** Regular expressions, and keywords that become narrower when the schema inside them becomes wider. */
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

/** A schema without regular expressions that accepts at least everything that the given one accepts. */
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
