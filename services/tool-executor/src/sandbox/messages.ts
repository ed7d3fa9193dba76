import { z } from "zod";
import type { JsonSchema, ToolEffect } from "../tool-definition/define-tool.ts";
import { headerName, headerValue } from "../tool-definition/header-fields.ts";

/** The description of a file's tool, from its process. */
export interface ToolDescription {
  readonly name: string;
  readonly description: string;
  /** JSON Schema of the arguments. */
  readonly parameters: JsonSchema;
  readonly effect: ToolEffect;
  readonly requiresApproval: boolean;
  readonly timeoutMs: number;
  readonly version: string;
  /** Whether it can be asked about an earlier call. */
  readonly hasProbe: boolean;
  /** `host` or `host:port` that it may reach by fetch. */
  readonly hosts: readonly string[];
}

/** The functions of a tool that a message can call. */
export type ToolMethod = "execute" | "probe";

/** From the executor to a sandbox. */
export type ToSandbox =
  | {
      readonly type: "call";
      readonly id: number;
      readonly method: ToolMethod;
      readonly arguments: unknown;
      readonly callKey: string;
    }
  | { readonly type: "abort"; readonly id: number }
  /** The response to a `fetch`; its body is the frame's. */
  | {
      readonly type: "response";
      readonly id: number;
      readonly url: string;
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
    }
  | { readonly type: "fetch-failed"; readonly id: number; readonly message: string };

/** Log lines of one call, and characters of a line. A sandbox sends no more, and the executor writes no more. */
export const maxLogs = 100;
export const maxLogLength = 1_000;

/** Requests of one call: at once and in all, and the bytes of a request's or a response's body. */
export const maxFetchesAtOnce = 4;
export const maxFetches = 100;
export const maxFetchBytes = 1_048_576;
const maxHeaderBytes = 32_768;

const id = z.int();

/**
 * From a sandbox to the executor. A tool's code can write to the pipe too, so every message is validated.
 */
export const fromSandbox = z.discriminatedUnion("type", [
  z.object({ type: z.literal("loaded"), tool: z.custom<ToolDescription>((tool) => typeof tool === "object" && tool !== null) }),
  z.object({ type: z.literal("fault"), fault: z.string() }),
  z.object({ type: z.literal("output"), id, output: z.unknown() }),
  z.object({ type: z.literal("failed"), id, message: z.string(), param: z.string().optional() }),
  // The body is the frame's. A redirect is a response here; its next hop is another request, checked like the first.
  z.object({
    type: z.literal("fetch"),
    id,
    url: z.string().max(8_192),
    method: z.string().regex(/^[A-Z]{1,16}$/),
    headers: z
      .record(z.string().regex(headerName), z.string().regex(headerValue))
      .refine((headers) => JSON.stringify(headers).length <= maxHeaderBytes, "are too long"),
  }),
  z.object({ type: z.literal("fetch-abort"), id }),
  z.object({ type: z.literal("log"), level: z.enum(["info", "warn", "error"]), message: z.string() }),
]);
export type FromSandbox = z.output<typeof fromSandbox>;
