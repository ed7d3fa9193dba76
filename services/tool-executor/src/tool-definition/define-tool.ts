import type { Logger } from "@turnwright/platform/logger";
import type { z } from "zod";

/**
 * A tool's effect on the world, which decides what may happen after a crash: `read` and `idempotent` calls run again, a
 * `once` call with an unknown outcome never does.
 */
export type ToolEffect = "read" | "idempotent" | "once";

/** A JSON Schema of an object, for tools that do not use zod. */
export type JsonSchema = { readonly [keyword: string]: unknown };

/** The schema of a tool's arguments, which are always an object. */
export type ToolParameters = z.ZodObject | JsonSchema;

/** The validated arguments, as `execute` gets them. */
export type ToolArguments<P extends ToolParameters> = P extends z.ZodObject ? z.output<P> : Record<string, unknown>;

/** The context of a call, besides its arguments. */
export interface ToolContext {
  /** Fires when the call is cancelled or exceeds its time limit. Pass it to everything that waits. */
  readonly signal: AbortSignal;
  readonly logger: Logger;
  /** The same for every attempt at one call; an `idempotent` tool passes it on as its idempotency key. */
  readonly callKey: string;
}

/** A tool's findings about an earlier call that was cut off, by the data that it keeps under the call's key. */
export type ProbeResult =
  /** It took effect; `output` is the value that `execute` would have returned. */
  | { readonly status: "completed"; readonly output: unknown }
  /** It did not take effect, and nothing sent for it can take effect any more. The call runs again. */
  | { readonly status: "not_started" }
  | { readonly status: "unknown" };

/** A tool: its description for models, the facts that the executor needs, and its code. */
export interface Tool<P extends ToolParameters = ToolParameters> {
  /** 1 to 64 letters, digits, `_` or `-`; unique. */
  readonly name: string;
  /** A description for the model. */
  readonly description: string;
  readonly parameters: P;
  readonly effect: ToolEffect;
  /** A person must approve each call. */
  readonly requiresApproval?: boolean;
  /** Time limit of one call, in milliseconds. */
  readonly timeoutMs: number;
  /** Change it with the code: an approval is for one version. */
  readonly version: string;
  /**
   * Hosts that `fetch` may reach, as `host` (all its ports) or `host:port`; none unless given. Hosts in private
   * networks must also be in the executor's TOOLS_ALLOWED_HOSTS. This applies to tools of TOOLS_DIR, which have no
   * other way to the network.
   */
  readonly hosts?: readonly string[];
  /** Returns a JSON value, or throws an error with a message for the model. */
  execute(args: ToolArguments<P>, context: ToolContext): unknown;
  /**
   * For `once` tools: reports what became of an earlier call with this key whose process died. It must change nothing.
   * Its time limit is the call's, at most 10 s. If it throws, the outcome stays unknown.
   */
  probe?(args: ToolArguments<P>, context: ToolContext): ProbeResult | Promise<ProbeResult>;
}

/** Infers the types of a tool: the arguments of `execute` follow from `parameters`. */
export function defineTool<P extends ToolParameters>(tool: Tool<P>): Tool<P> {
  return tool;
}
