import type { ResultMessage } from "../calls/call-result.ts";
import type { CallIdentity, CheckedCall } from "../calls/checked-call.ts";
import type { RunScope } from "../store/calls.ts";

/** Names a call among those in flight in this process. */
export function inFlightKey(run: Pick<RunScope, "runId">, callId: string): string {
  return JSON.stringify([run.runId, callId]);
}

/** A call on its way in this process, and the callers that wait for its result. */
export class InFlightCall {
  readonly scope: RunScope;
  readonly call: CheckedCall;
  readonly #controller = new AbortController();
  readonly #ending = Promise.withResolvers<ResultMessage>();
  readonly #abandonAfterMs: number;
  #callers = 0;
  /** Cancels a `once` call that nobody has asked for since its last caller left. */
  #abandonTimer: NodeJS.Timeout | undefined;

  /** `abandonAfterMs`: how long a `once` call goes on without a caller. */
  constructor(scope: RunScope, call: CheckedCall, abandonAfterMs: number) {
    this.scope = scope;
    this.call = call;
    this.#abandonAfterMs = abandonAfterMs;
  }

  get key(): string {
    return inFlightKey(this.scope, this.call.callId);
  }

  /** Fires when the call is to stop. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get result(): Promise<ResultMessage> {
    return this.#ending.promise;
  }

  /** Whether a request of this user asks for the very call that is on its way. */
  isSame(scope: RunScope, { toolName, argumentsHash }: CallIdentity): boolean {
    const { call } = this;
    return this.scope.userId === scope.userId && call.toolName === toolName && call.argumentsHash === argumentsHash;
  }

  /**
   * The call's result for one more caller, who leaves when the signal fires. Without callers the call is cancelled,
   * except for a `once` call, which could never run again: its caller may have died, and the worker that takes over the
   * run has `abandonAfterMs` to ask for it. A run that ends on purpose stops its calls by CancelCalls.
   */
  join(signal: AbortSignal): Promise<ResultMessage> {
    clearTimeout(this.#abandonTimer);
    this.#callers += 1;
    const leave = () => {
      this.#callers -= 1;
      if (this.#callers > 0) return;
      const cancel = () => this.cancel(signal.reason);
      if (this.call.registered.tool.effect !== "once") cancel();
      else this.#abandonTimer = setTimeout(cancel, this.#abandonAfterMs).unref();
    };
    if (signal.aborted) leave();
    else signal.addEventListener("abort", leave, { once: true });
    return this.#ending.promise.finally(() => signal.removeEventListener("abort", leave));
  }

  cancel(reason: unknown): void {
    this.#controller.abort(reason);
  }

  succeed(result: ResultMessage): void {
    clearTimeout(this.#abandonTimer);
    this.#ending.resolve(result);
  }

  fail(error: unknown): void {
    clearTimeout(this.#abandonTimer);
    this.#ending.reject(error);
  }
}
