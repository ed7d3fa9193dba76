import { create, type JsonObject } from "@bufbuild/protobuf";
import { Effect, type ToolSpec, ToolSpecSchema } from "@turnwright/contract/tool/v1/tool";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { isTooDeep, maxJsonDepth } from "@turnwright/platform/json/json-depth";
import { inexactPart } from "@turnwright/platform/json/json-text";
import { z } from "zod";
import type { Tool, ToolContext, ToolEffect, ToolParameters } from "./define-tool.ts";

/** An environment that is ready to run one call. */
export interface PreparedCall {
  execute(args: Record<string, unknown>, context: ToolContext): unknown;
  /** Asks the tool what became of an earlier call; only for tools that have a probe. */
  probe(args: Record<string, unknown>, context: ToolContext): unknown;
  /** Gives it back. Call it once, whether a call ran or not. */
  release(): void;
}

/** A tool of the registry. */
export interface RegisteredTool {
  readonly tool: Tool;
  readonly spec: ToolSpec;
  /**
   * Parses and validates a call's arguments. Throws INVALID_TOOL_ARGUMENTS; `param` is the path of the invalid
   * argument, or `function.arguments` when the text as a whole is invalid.
   */
  parse(json: string): Record<string, unknown>;
  /** Prepares the environment of a call before its time begins. Tools without this method run in this process. */
  prepare?(signal: AbortSignal): Promise<PreparedCall>;
}

const effects: Readonly<Record<ToolEffect, Effect>> = {
  read: Effect.READ,
  idempotent: Effect.IDEMPOTENT,
  once: Effect.ONCE,
};

/** Converts a tool's schema to JSON Schema for models, and to a check of arguments. Throws when zod cannot. */
export function registerTool(tool: Tool): RegisteredTool {
  const { check, parameters } = readParameters(tool.parameters);
  return { tool, spec: specOf(tool, parameters), parse: (json) => checked(check, parseJson(json)) };
}

/**
 * Registers a tool whose calls run in a process of their own. `check` decides on its arguments, but the tool gets them
 * as they came: defaults that are filled in here might not suit the tool's own schema.
 */
export function registerSandboxedTool(
  tool: Tool,
  { check, prepare }: { check: z.ZodType; prepare(signal: AbortSignal): Promise<PreparedCall> },
): RegisteredTool {
  return {
    tool,
    spec: specOf(tool, tool.parameters as JsonObject),
    parse(json) {
      const value = parseJson(json);
      checked(check, value);
      return value as Record<string, unknown>;
    },
    prepare,
  };
}

function specOf(tool: Tool, parameters: JsonObject): ToolSpec {
  return create(ToolSpecSchema, {
    definition: { type: "function", function: { name: tool.name, description: tool.description, parameters } },
    effect: effects[tool.effect],
    requiresApproval: tool.requiresApproval === true,
    timeoutMs: tool.timeoutMs,
    version: tool.version,
  });
}

function readParameters(parameters: ToolParameters): { check: z.ZodType; parameters: JsonObject } {
  if (isZod(parameters)) {
    const { $schema, ...schema } = z.toJSONSchema(parameters, { io: "input" });
    return { check: parameters, parameters: schema as JsonObject };
  }
  return { check: z.fromJSONSchema(parameters as Parameters<typeof z.fromJSONSchema>[0]), parameters: parameters as JsonObject };
}

/** Also true for objects of another copy of zod, which a custom tool may bring along. */
function isZod(parameters: ToolParameters): parameters is z.ZodObject {
  return "_zod" in parameters;
}

/** The value as the check parses it. Throws INVALID_TOOL_ARGUMENTS. */
function checked(check: z.ZodType, value: unknown): Record<string, unknown> {
  const parsed = check.safeParse(value, { reportInput: false });
  if (parsed.success) return parsed.data as Record<string, unknown>;
  const issue = parsed.error.issues[0];
  const path =
    issue === undefined ? [] : issue.code === "unrecognized_keys" ? [...issue.path, ...issue.keys.slice(0, 1)] : issue.path;
  const param = path.map(String).join(".") || "function.arguments";
  throw invalid(param, issue?.message ?? "is not valid");
}

const inexactNumber =
  "the tool would get another number than this one; integers are exact up to 9007199254740991, larger ones only as a string, " +
  "where the tool takes one";

function parseJson(json: string): unknown {
  // For a tool without required arguments models may write nothing at all.
  if (json.trim() === "") return {};
  if (isTooDeep(json)) throw invalid("function.arguments", `is nested deeper than ${maxJsonDepth}`);
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch {
    throw invalid("function.arguments", "is not JSON");
  }
  // A person may have approved the text, so the tool must get exactly its value. Text that JSON.parse would change is
  // refused.
  const inexact = inexactPart(json);
  if (inexact === undefined) return parsed;
  const what = inexact.fault === "name" ? "is named twice" : inexactNumber;
  throw invalid(inexact.path || "function.arguments", what);
}

function invalid(param: string, what: string) {
  return fail(ErrorReason.INVALID_TOOL_ARGUMENTS, `${param}: ${what}`, { param });
}
