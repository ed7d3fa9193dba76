import type { Logger } from "@turnwright/platform/logger";
import type { z } from "zod";

/**
 * What a tool does to the world, which decides what may happen after a crash: `read` and `idempotent` calls run again,
 * a `once` call whose outcome is not known never does.
 */
export type ToolEffect = "read" | "idempotent" | "once";

/** A JSON Schema of an object, for tools that do not use zod. */
export type JsonSchema = { readonly [keyword: string]: unknown };

/** The schema of a tool's arguments: always one of an object. */
export type ToolParameters = z.ZodObject | JsonSchema;

/** What `execute` gets: the validated arguments. */
export type ToolArguments<P extends ToolParameters> = P extends z.ZodObject ? z.output<P> : Record<string, unknown>;

/** What a call brings besides its arguments. */
export interface ToolContext {
  /** Fires when the call is cancelled or over its time; pass it to everything that waits. */
  readonly signal: AbortSignal;
  readonly logger: Logger;
  /** The same for every attempt at one call; an `idempotent` tool passes it on as its idempotency key. */
  readonly callKey: string;
}

/** What a tool found out about an earlier call that was cut off, by whatever it keeps under the call's key. */
export type ProbeResult =
  /** It took effect; `output` is what `execute` would have returned. */
  | { readonly status: "completed"; readonly output: unknown }
  /** It did not take effect, and what was sent of it cannot take effect any more: the call runs again. */
  | { readonly status: "not_started" }
  | { readonly status: "unknown" };

/** A tool: what models see of it, what the executor must know, and its code. */
export interface Tool<P extends ToolParameters = ToolParameters> {
  /** 1 to 64 letters, digits, `_` or `-`; unique. */
  readonly name: string;
  /** What it does, for the model. */
  readonly description: string;
  readonly parameters: P;
  readonly effect: ToolEffect;
  /** A person must approve each call. */
  readonly requiresApproval?: boolean;
  /** Time limit of one call, in milliseconds. */
  readonly timeoutMs: number;
  /** Changes with the code; an approval holds for one version. */
  readonly version: string;
  /**
   * `host` or `host:port` that `fetch` may reach; none unless given. `host` stands for all its ports. Those inside of
   * private networks must be in the executor's TOOLS_ALLOWED_HOSTS as well. Holds for tools of TOOLS_DIR, which have no
   * other way to the network.
   */
  readonly hosts?: readonly string[];
  /** Returns a JSON value, or throws with a message that is meant for the model. */
  execute(args: ToolArguments<P>, context: ToolContext): unknown;
  /**
   * For `once` tools: says what became of an earlier call with this key whose process is gone. Changes nothing. Has as
   * long as a call, at most 10 s; if it throws, the outcome stays unknown.
   */
  probe?(args: ToolArguments<P>, context: ToolContext): ProbeResult | Promise<ProbeResult>;
}

/** Types a tool: the arguments of `execute` follow from `parameters`. */
export function defineTool<P extends ToolParameters>(tool: Tool<P>): Tool<P> {
  return tool;
}
