import type { CallEntry, RunScope } from "../store/calls.ts";
import type { RegisteredTool } from "../tool-definition/registered-tool.ts";
import type { Result } from "./call-results.ts";

/** A call that may run: its tool, its arguments as they are passed, and what the ledger writes down. */
export interface CheckedCall extends CallEntry {
  readonly registered: RegisteredTool;
  readonly args: Record<string, unknown>;
}

/** A call that may not run. */
export interface RefusedCall {
  readonly callId: string;
  readonly toolName: string;
  readonly argumentsHash: string;
  /** Why, for the model. */
  readonly refusal: string;
}

/** A call on its way in this process. */
export interface Flight {
  readonly call: CheckedCall;
  readonly userId: string;
  readonly controller: AbortController;
  readonly landing: PromiseWithResolvers<Result>;
  /**
   * Callers that still want the result; the tool is cancelled when none is left, a `once` tool some time after that.
   */
  watchers: number;
  /** What cancels a `once` tool that nobody has asked for since its last caller left. */
  farewell?: NodeJS.Timeout;
}

/** What a call is known by in this process. */
export function keyOf(scope: Pick<RunScope, "runId">, { callId }: { callId: string }): string {
  return JSON.stringify([scope.runId, callId]);
}

/** Whether somebody asks for what is on its way. */
export function isSameCall(flight: Flight, scope: RunScope, call: CheckedCall | RefusedCall): boolean {
  const { toolName, argumentsHash } = flight.call;
  return flight.userId === scope.userId && toolName === call.toolName && argumentsHash === call.argumentsHash;
}
