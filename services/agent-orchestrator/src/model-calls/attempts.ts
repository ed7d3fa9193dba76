import { ConnectError } from "@connectrpc/connect";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import { ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import type { FailureLog } from "@turnwright/platform/failure-log";
import { allows } from "@turnwright/platform/identity/identity";
import type { Logger } from "@turnwright/platform/logger";
import type { RepeatListener } from "../model/model-client.ts";
import type { Admission } from "../model/routes/breaker.ts";
import type { ModelRoutes, OpenRoute, Target } from "../model/routes/route.ts";
import { type FailedAttempt, failedAttempt, fallsBack, verdictOf } from "./failed-attempt.ts";
import { isModelFailure, modelFailureFields } from "./failure-fields.ts";

/** The call whose attempts are made. */
interface AttemptedCall {
  readonly identity: Identity;
  readonly signal: AbortSignal;
  /** Public name of the model. */
  readonly model: string;
  /** The request, as JSON text in UTF-8. */
  readonly body: Uint8Array;
  readonly run?: { readonly runId: string; readonly conversationId: string };
  readonly onFailedAttempt?: (failed: FailedAttempt) => Promise<void>;
}

/** An attempt that may be made now. */
interface Attempt {
  readonly target: Target;
  readonly admission: Admission;
}

/**
 * The attempts of one call, at one target after the other. A target of another public model is passed over when the
 * caller's token may not use that model, and one whose breaker is open at all times. Each failure is logged once.
 */
export class Attempts implements RepeatListener {
  readonly #call: AttemptedCall;
  readonly #route: OpenRoute;
  readonly #targets: readonly Target[];
  readonly #logger: Logger;
  readonly #failures: FailureLog;
  #index = -1;
  #first: { readonly error: unknown } | undefined;

  /** Throws MODEL_NOT_FOUND. */
  constructor(
    call: AttemptedCall,
    deps: { readonly routes: ModelRoutes; readonly logger: Logger; readonly failures: FailureLog },
  ) {
    this.#call = call;
    this.#logger = deps.logger;
    this.#failures = deps.failures;
    this.#route = deps.routes.open(call.model);
    const { targets } = this.#route;
    const own = targets[0]?.model;
    // The called name itself was checked by the caller, who knows it by its own name or by an alias.
    const mayUse = ({ model }: Target) => model === own || allows(call.identity.allowedModels, model);
    this.#targets = targets.length === 1 ? targets : targets.filter(mayUse);
  }

  /** The next attempt. Throws the first failure, or that of an open breaker, when no target is left. */
  next(error?: unknown): Attempt {
    const from = this.#targets[this.#index];
    for (this.#index += 1; this.#index < this.#targets.length; this.#index += 1) {
      const target = this.#targets[this.#index] as Target;
      if (from !== undefined && !fallsBack(error, from, target, this.#call.signal)) continue;
      const admission = target.breaker.admit();
      if (admission !== undefined) return { target, admission };
    }
    if (this.#first !== undefined) throw this.#first.error;
    const refusal = this.#allOpen();
    this.#tell(this.#targets[0], refusal, "a model call failed");
    throw refusal;
  }

  /** Whether another target may take over after this failure, or after one that lets it, when none is given. */
  mayFollow(error?: unknown): boolean {
    const from = this.#targets[this.#index];
    if (from === undefined) return false;
    const isOpen = (target: Target) => target.breaker.retryInMs === 0;
    return this.#targets
      .slice(this.#index + 1)
      .some((target) => isOpen(target) && (error === undefined || fallsBack(error, from, target, this.#call.signal)));
  }

  /**
   * Takes the failure of an attempt. Resolves with the next attempt once the caller has been told. Throws the first
   * failure when none follows. `isShown`: outputs were yielded, which only a caller with `onFailedAttempt` can take
   * back. `hasAnswered`: an answer of status 2xx had begun.
   */
  async failed(
    { target, admission }: Attempt,
    error: unknown,
    { isShown, hasAnswered }: { readonly isShown: boolean; readonly hasAnswered: boolean },
  ): Promise<Attempt> {
    this.#report(target, admission, error, hasAnswered);
    this.#first ??= { error };
    const { onFailedAttempt } = this.#call;
    let next: Attempt;
    try {
      if (isShown && onFailedAttempt === undefined) throw error;
      next = this.next(error);
    } catch (failure) {
      this.#tell(target, error, "a model call failed");
      throw failure;
    }
    this.#tell(target, error, "a model call falls back", next.target);
    try {
      await onFailedAttempt?.(failedAttempt(target, error, isShown));
    } catch (refusal) {
      next.admission.dropped();
      throw refusal;
    }
    return next;
  }

  onRepeat(error: unknown): void {
    this.#tell(this.#targets[this.#index], error, "a model call is repeated");
  }

  /** Warns of a failure, unless the caller, a limit of ours or a client's mistake is its cause. */
  #tell(target: Target | undefined, error: unknown, message: string, next?: Target): void {
    const { signal, body, run, identity, model: named } = this.#call;
    if (target === undefined || signal.aborted || !isModelFailure(error)) return;
    const { provider, upstream: model } = target;
    const fields = () => ({
      ...modelFailureFields(error, body, named),
      run_id: run?.runId,
      conversation_id: run?.conversationId,
      token_id: identity.tokenId,
      provider,
      model,
      next: next?.provider,
      next_model: next?.upstream,
    });
    this.#failures.warn({ message, subject: [provider, model], error, fields });
  }

  /** Tells the breaker about a failure. */
  #report({ breaker, provider, upstream }: Target, admission: Admission, error: unknown, hasAnswered: boolean): void {
    const before = breaker.state;
    const verdict = verdictOf(error, { signal: this.#call.signal, hasAnswered, isAlone: this.#targets.length === 1 });
    if (verdict === "failed") admission.failed(error);
    else admission[verdict]();
    if (breaker.state !== "open" || before === "open") return;
    const facts = { provider, model: upstream, failures: breaker.failures, retry_in_ms: Math.round(breaker.retryInMs) };
    this.#logger.warn(facts, "the breaker of a model is open");
  }

  /** Must be called once, when the call has ended. */
  close(): void {
    this.#route.release();
  }

  /**
   * The failure of a call without a single attempt: the reason of its first target's last failure, and when to come
   * back. The words of that failure may be about another user's request.
   */
  #allOpen(): Error {
    const waits = this.#targets.map(({ breaker }) => breaker.retryInMs);
    const retryAfterSeconds = Math.max(1, Math.ceil(Math.min(...waits) / 1_000));
    const last = this.#targets[0]?.breaker.lastFailure;
    const reason = last instanceof ConnectError ? reasonOf(last) : ErrorReason.MODEL_FAILED;
    const text = `The model has failed several times in a row and is tried again in ${retryAfterSeconds} s.`;
    return fail(reason, text, { retryAfterSeconds, cause: last });
  }
}
