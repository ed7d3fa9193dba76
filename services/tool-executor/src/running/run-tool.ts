import { setTimeout as delay } from "node:timers/promises";
import { ConnectError } from "@connectrpc/connect";
import { ErrorReason } from "@turnwright/platform/errors";
import { isTooDeep, maxJsonDepth } from "@turnwright/platform/json/json-depth";
import type { Logger } from "@turnwright/platform/logger";
import { z } from "zod";
import { type CallResult, neverBegan } from "../calls/call-result.ts";
import type { CheckedCall } from "../calls/checked-call.ts";
import { SandboxEndedError } from "../sandbox/sandbox.ts";
import type { ProbeResult } from "../tool-definition/define-tool.ts";
import type { PreparedCall, RegisteredTool } from "../tool-definition/registered-tool.ts";
import type { Slots } from "./slots.ts";

const maxOutputBytes = 2_097_152;
const maxErrorLength = 2_000;
/** Time for a tool to end by itself once its signal has fired. */
const graceMs = 1_000;
const maxProbeMs = 10_000;

/** The parts of a call that are needed to run it: its tool and its arguments. */
export type RunnableCall = Pick<CheckedCall, "registered" | "arguments">;

/** One attempt at a call. */
export interface Attempt {
  /** The user in whose turn it gets a slot. */
  readonly userId: string;
  /** The same for every attempt at the call. */
  readonly callKey: string;
  /** Cancels the attempt. */
  readonly signal: AbortSignal;
}

interface Running {
  readonly slots: Slots;
  readonly logger: Logger;
}

/**
 * How an attempt went. `result` is unset when the tool did not answer in time; `cut` is the reason its signal fired.
 */
interface Attempted {
  readonly kind: "neverBegan" | "unprepared" | "attempted";
  readonly result?: CallResult;
  readonly cut?: "timeout" | "cancel";
  readonly durationMs: number;
}

/** Calls a tool once it has a slot, within a time, with a signal that it should obey but need not. Never rejects. */
async function attemptCall(
  { slots, logger }: Running,
  { registered, arguments: args }: RunnableCall,
  { userId, callKey, signal }: Attempt,
  { method, timeoutMs }: { method: "execute" | "probe"; timeoutMs: number },
): Promise<Attempted> {
  const { tool } = registered;
  let release: () => void;
  try {
    release = await slots.take(userId, signal);
  } catch {
    return unbegun;
  }
  let place: PreparedCall;
  try {
    place = (await registered.prepare?.(signal)) ?? inThisProcess(tool);
  } catch (cause) {
    release();
    return signal.aborted ? unbegun : { kind: "unprepared", result: failed(cause, 0), durationMs: 0 };
  }
  const startedAt = performance.now();
  const controller = new AbortController();
  const onCancel = () => controller.abort(signal.reason);
  if (signal.aborted) onCancel();
  else signal.addEventListener("abort", onCancel, { once: true });
  const timer = setTimeout(() => controller.abort(new DOMException("The tool's time is over.", "TimeoutError")), timeoutMs);
  const durationMs = () => Math.round(performance.now() - startedAt);
  try {
    const context = { signal: controller.signal, logger: logger.child({ tool: tool.name, call: callKey }), callKey };
    const running = resultOf(() => place[method](args, context), durationMs);
    const result = await Promise.race([running, overdue(controller.signal, running)]);
    const cut = signal.aborted ? "cancel" : controller.signal.aborted ? "timeout" : undefined;
    if (result === undefined) logger.warn({ tool: tool.name, because: cut }, "tool did not obey its signal");
    return { kind: "attempted", result, cut, durationMs: durationMs() };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onCancel);
    place.release();
    release();
  }
}

/** Runs a tool within its time. Never rejects. */
export async function runTool(running: Running, call: RunnableCall, attempt: Attempt): Promise<CallResult> {
  const { tool } = call.registered;
  const limits = { method: "execute", timeoutMs: tool.timeoutMs } as const;
  const { kind, result, cut, durationMs } = await attemptCall(running, call, attempt, limits);
  if (result !== undefined && (kind !== "attempted" || result.status === "success" || cut === undefined)) {
    const isLost = kind === "attempted" && tool.effect === "once" && result.cause instanceof SandboxEndedError;
    if (!isLost) return result;
    const error = `${result.error} Nobody knows whether the call took effect.`;
    return { ...result, status: "unknown", error, reason: ErrorReason.TOOL_FAILED, cause: undefined };
  }
  return cutOff(tool, cut ?? "timeout", durationMs);
}

const probeShape = z.discriminatedUnion("status", [
  z.object({ status: z.literal("completed"), output: z.unknown() }),
  z.object({ status: z.literal("not_started") }),
  z.object({ status: z.literal("unknown") }),
]);

/**
 * Asks a tool's probe about an earlier call. Gives `unknown` when the tool has no probe, or it fails or takes too long.
 * Never rejects.
 */
export async function probeTool(running: Running, call: RunnableCall, attempt: Attempt): Promise<ProbeResult> {
  const { tool } = call.registered;
  if (tool.probe === undefined) return { status: "unknown" };
  const limits = { method: "probe", timeoutMs: Math.min(tool.timeoutMs, maxProbeMs) } as const;
  const { kind, result } = await attemptCall(running, call, attempt, limits);
  const probed = result?.status === "success" ? probeShape.safeParse(JSON.parse(result.output ?? "null")) : undefined;
  if (probed?.success) return probed.data;
  running.logger.warn({ tool: tool.name, call: attempt.callKey, attempt: kind }, "probe of a tool gave no answer");
  return { status: "unknown" };
}

const unbegun: Attempted = {
  kind: "neverBegan",
  result: {
    status: "cancelled",
    output: null,
    error: neverBegan,
    durationMs: 0,
    began: false,
    reason: ErrorReason.CANCELLED,
  },
  durationMs: 0,
};

function inThisProcess(tool: RegisteredTool["tool"]): PreparedCall {
  return {
    execute: (args, context) => tool.execute(args, context),
    probe: (args, context) => tool.probe?.(args, context),
    release() {},
  };
}

/** The result of a call whose signal fired before its tool had succeeded. */
function cutOff({ effect, timeoutMs }: RegisteredTool["tool"], cut: "timeout" | "cancel", durationMs: number): CallResult {
  const fate = cut === "timeout" ? `ran into its time limit of ${timeoutMs} ms` : "was cancelled while it ran";
  const reason = cut === "timeout" ? ErrorReason.TOOL_TIMEOUT : ErrorReason.CANCELLED;
  const ended = { output: null, durationMs, began: true, reason };
  if (effect === "once") {
    return { ...ended, status: "unknown", error: `The tool ${fate}; nobody knows whether it took effect.` };
  }
  return { ...ended, status: cut === "timeout" ? "failed" : "cancelled", error: `The tool ${fate}.` };
}

async function resultOf(work: () => unknown, durationMs: () => number): Promise<CallResult> {
  try {
    const output = JSON.stringify((await work()) ?? null) ?? "null";
    const excess =
      Buffer.byteLength(output) > maxOutputBytes
        ? `larger than ${maxOutputBytes} bytes`
        : isTooDeep(output) && `nested deeper than ${maxJsonDepth}`;
    if (excess) return { ...failed(`The tool's result is ${excess}.`, durationMs()), cause: undefined };
    return { status: "success", output, error: null, durationMs: durationMs(), began: true };
  } catch (cause) {
    return failed(cause, durationMs());
  }
}

function failed(cause: unknown, durationMs: number): CallResult {
  return {
    status: "failed",
    output: null,
    error: messageOf(cause),
    durationMs,
    began: true,
    reason: ErrorReason.TOOL_FAILED,
    cause,
  };
}

/** Resolves when the signal has fired and the grace period after it has passed. */
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
