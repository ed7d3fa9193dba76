import { z } from "zod";
import type { JsonSchema, Tool } from "../tool-definition/define-tool.ts";
import { type RegisteredTool, registerSandboxedTool } from "../tool-definition/registered-tool.ts";
import type { SandboxPool } from "./sandbox-pool.ts";

/**
 * A tool whose code runs in a pool. The executor checks its arguments by the JSON Schema without regular expressions,
 * which are the tool's own and could hold up the executor. The tool's process then checks them in full, and gives the
 * tool the value that its own schema makes of them.
 */
export function sandboxTool(pool: SandboxPool, tool: Tool): RegisteredTool {
  return registerSandboxedTool(tool, {
    check: looseCheck(tool.parameters as JsonSchema),
    prepare: (signal) => pool.prepare(signal),
  });
}

function looseCheck(schema: JsonSchema): z.ZodType {
  try {
    return z.fromJSONSchema(withoutPatterns(schema) as Parameters<typeof z.fromJSONSchema>[0]);
  } catch {
    return z.fromJSONSchema({ type: "object" });
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
