import type { JsonSchema, ToolEffect } from "../define-tool.ts";

/** What a file's tool says of itself. */
export interface ToolDescription {
  readonly name: string;
  readonly description: string;
  /** JSON Schema of what a call may pass. */
  readonly parameters: JsonSchema;
  readonly effect: ToolEffect;
  readonly requiresApproval: boolean;
  readonly timeoutMs: number;
  readonly version: string;
}

/** From the executor to a sandbox. */
export type ToSandbox =
  | { readonly type: "call"; readonly id: number; readonly args: unknown; readonly callKey: string }
  | { readonly type: "abort"; readonly id: number };

/** From a sandbox to the executor. */
export type FromSandbox =
  | { readonly type: "loaded"; readonly tool: ToolDescription }
  | { readonly type: "fault"; readonly fault: string }
  | { readonly type: "output"; readonly id: number; readonly output: unknown }
  | { readonly type: "failed"; readonly id: number; readonly message: string; readonly param?: string }
  | { readonly type: "log"; readonly level: "info" | "warn" | "error"; readonly message: string };
