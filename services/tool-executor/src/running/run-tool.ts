import { setTimeout as delay } from "node:timers/promises";
import { ConnectError } from "@connectrpc/connect";
import { isTooDeep, maxJsonDepth } from "@turnwright/platform/json/json-depth";
import type { Logger } from "@turnwright/platform/logger";
import { z } from "zod";
import { SandboxEndedError } from "../sandbox/sandbox.ts";
import { neverBegan as neverBeganError } from "../store/calls.ts";
import type { ProbeResult } from "../tool-definition/define-tool.ts";
import type { PreparedCall, RegisteredTool } from "../tool-definition/registered-tool.ts";
import type { Slots } from "./slots.ts";

/** How one attempt at a call ended. */
export type Outcome =
  | { readonly kind: "success"; readonly output: string; readonly durationMs: number }
  | { readonly kind: "failed"; readonly error: string; readonly cause: unknown; readonly durationMs: number }
  | {
      /** `unknown`: a `once` tool was cut off after it had begun. */
      readonly kind: "timeout" | "cancelled" | "unknown";
      readonly error: string;
      /** `end`: its process ended under it. */
      readonly because: "timeout" | "cancel" | "end";
      /** False: the tool was never called. */
      readonly began: boolean;
      readonly durationMs: number;
    };

const maxOutputLength = 2_097_152;
const maxErrorLength = 2_000;
/** How long a tool has to end on its own terms once its signal has fired. */
const graceMs = 1_000;

/** A call as the tool gets it. */
export interface ToolRun {
  readonly registered: RegisteredTool;
  readonly args: Record<string, unknown>;
  readonly userId: string;
  readonly callKey: string;
  readonly signal: AbortSignal;
}

/** How a tool answered: `settled` is unset when it did not in time, `cut` says why its signal fired. */
type Attempt =
  | { readonly kind: "neverBegan" }
  | { readonly kind: "unprepared"; readonly cause: unknown }
  | {
      readonly kind: "attempted";
      readonly settled: Settled | undefined;
      readonly cut: "timeout" | "cancel" | undefined;
      readonly durationMs: number;
    };

/** Calls into a tool once it has a slot, within a time, with a signal that it should obey but need not. Never rejects. */
async function attempt(
  deps: { slots: Slots; logger: Logger },
  call: ToolRun,
  { method, timeoutMs }: { method: "execute" | "probe"; timeoutMs: number },
): Promise<Attempt> {
  const { tool } = call.registered;
  let release: () => void;
  try {
    release = await deps.slots.take(call.userId, call.signal);
  } catch {
    return { kind: "neverBegan" };
  }
  let place: PreparedCall;
  try {
    place = (await call.registered.prepare?.(call.signal)) ?? inThisProcess(tool);
  } catch (cause) {
    release();
    return call.signal.aborted ? { kind: "neverBegan" } : { kind: "unprepared", cause };
  }
  const startedAt = performance.now();
  const controller = new AbortController();
  const onCancel = () => controller.abort(call.signal.reason);
  if (call.signal.aborted) onCancel();
  else call.signal.addEventListener("abort", onCancel, { once: true });
  const timer = setTimeout(() => controller.abort(new DOMException("The tool's time is over.", "TimeoutError")), timeoutMs);
  try {
    const logger = deps.logger.child({ tool: tool.name, call: call.callKey });
    const running = execute(() => place[method](call.args, { signal: controller.signal, logger, callKey: call.callKey }));
    const settled = await Promise.race([running, overdue(controller.signal, running)]);
    const cut = call.signal.aborted ? "cancel" : controller.signal.aborted ? "timeout" : undefined;
    if (settled === undefined) deps.logger.warn({ tool: tool.name, because: cut }, "tool did not obey its signal");
    return { kind: "attempted", settled, cut, durationMs: Math.round(performance.now() - startedAt) };
  } finally {
    clearTimeout(timer);
    call.signal.removeEventListener("abort", onCancel);
    place.release();
    release();
  }
}

/** Runs a tool within its time. Never rejects. */
export async function runTool(deps: { slots: Slots; logger: Logger }, call: ToolRun): Promise<Outcome> {
  const { tool } = call.registered;
  const attempted = await attempt(deps, call, { method: "execute", timeoutMs: tool.timeoutMs });
  if (attempted.kind === "neverBegan") return neverBegan;
  if (attempted.kind === "unprepared") {
    return { kind: "failed", error: messageOf(attempted.cause), cause: attempted.cause, durationMs: 0 };
  }
  const { settled, cut, durationMs } = attempted;
  if (settled !== undefined && (settled.kind === "success" || cut === undefined)) {
    if (tool.effect === "once" && settled.kind === "failed" && settled.cause instanceof SandboxEndedError) {
      const error = `${settled.error} Nobody knows whether the call took effect.`;
      return { kind: "unknown", because: "end", began: true, error, durationMs };
    }
    return { ...settled, durationMs };
  }
  const because = cut ?? "timeout";
  return { ...cutOff(call.registered, because), because, began: true, durationMs };
}

const probeMs = 10_000;
const probeShape = z.discriminatedUnion("status", [
  z.object({ status: z.literal("completed"), output: z.unknown() }),
  z.object({ status: z.literal("not_started") }),
  z.object({ status: z.literal("unknown") }),
]);

/** What became of an earlier call, as the tool's probe says; `unknown` when it has none, fails or takes too long. Never rejects. */
export async function probeTool(deps: { slots: Slots; logger: Logger }, call: ToolRun): Promise<ProbeResult> {
  const { tool } = call.registered;
  if (tool.probe === undefined) return { status: "unknown" };
  const attempted = await attempt(deps, call, { method: "probe", timeoutMs: Math.min(tool.timeoutMs, probeMs) });
  const settled = attempted.kind === "attempted" ? attempted.settled : undefined;
  const said = settled?.kind === "success" ? probeShape.safeParse(JSON.parse(settled.output)) : undefined;
  if (said?.success) return said.data;
  deps.logger.warn({ tool: tool.name, call: call.callKey, attempt: attempted.kind }, "probe of a tool said nothing");
  return { status: "unknown" };
}

const neverBegan: Outcome = {
  kind: "cancelled",
  because: "cancel",
  began: false,
  error: neverBeganError,
  durationMs: 0,
};

function inThisProcess(tool: RegisteredTool["tool"]): PreparedCall {
  return {
    execute: (args, context) => tool.execute(args, context),
    probe: (args, context) => tool.probe?.(args, context),
    release() {},
  };
}

function cutOff({ tool }: RegisteredTool, because: "timeout" | "cancel") {
  const what = because === "timeout" ? `ran into its time limit of ${tool.timeoutMs} ms` : "was cancelled while it ran";
  if (tool.effect === "once") {
    return { kind: "unknown" as const, error: `The tool ${what}; nobody knows whether it took effect.` };
  }
  return { kind: because === "timeout" ? ("timeout" as const) : ("cancelled" as const), error: `The tool ${what}.` };
}

type Settled = { kind: "success"; output: string } | { kind: "failed"; error: string; cause: unknown };

async function execute(work: () => unknown): Promise<Settled> {
  try {
    const output = JSON.stringify((await work()) ?? null) ?? "null";
    if (output.length > maxOutputLength) return tooMuch(`is longer than ${maxOutputLength} characters`);
    if (isTooDeep(output)) return tooMuch(`is nested deeper than ${maxJsonDepth}`);
    return { kind: "success", output };
  } catch (cause) {
    return { kind: "failed", error: messageOf(cause), cause };
  }
}

function tooMuch(what: string): Settled {
  return { kind: "failed", error: `The tool's result ${what}.`, cause: undefined };
}

/** Resolves, with nothing, when the signal has fired and the grace after it is over as well. */
async function overdue(signal: AbortSignal, running: Promise<unknown>): Promise<undefined> {
  await aborted(signal, running);
  const ended = new AbortController();
  const end = () => ended.abort();
  void running.then(end);
  await delay(graceMs, undefined, { signal: ended.signal }).catch(() => {});
}

function aborted(signal: AbortSignal, running: Promise<unknown>): Promise<void> {
  return new Promise((resolve) => {
    const onAbort = () => resolve();
    signal.addEventListener("abort", onAbort, { once: true });
    void running.then(() => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    });
  });
}

function messageOf(error: unknown): string {
  const message = error instanceof ConnectError ? error.rawMessage : error instanceof Error ? error.message : String(error);
  return (message || "The tool failed.").replaceAll("\0", "").slice(0, maxErrorLength);
}
