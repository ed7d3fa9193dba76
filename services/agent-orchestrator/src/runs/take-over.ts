import type { HandlerContext } from "@connectrpc/connect";
import type { Run, RunContext } from "@turnwright/contract/conversation/v1/run";
import { retrying } from "@turnwright/platform/async/retrying";
import { ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import { internalTokenHeader, requireIdentity } from "@turnwright/platform/identity/identity";
import { routedAgent } from "../agents/agents.ts";
import { abandonRun } from "../graph/fail-run.ts";
import { type Failure, failureOf } from "../graph/failure.ts";
import { logFailedRun } from "../graph/log-failed-run.ts";
import { callsMessageId, readState } from "../graph/state.ts";
import { isOutageOrTimeout } from "../outage.ts";
import { type Starter, traceOf } from "./caller.ts";
import { launch, type RunDeps, type Start, settleAgent } from "./launch.ts";
import { handedOver } from "./owned-runs.ts";
import { followedHandle, type RunHandle } from "./run-handle.ts";

const retryMs = 1_000;
const mintTimeoutMs = 5_000;
/** How often in a row the start of a claimed run may fail for another reason than an outage. */
const maxRefusals = 3;

type MintDeps = Pick<RunDeps, "runsByToken" | "tokens">;
type StartedBy = Pick<Run, "userId" | "tokenId">;

/**
 * The starter of a run, with a token that auth mints for its credential. Throws RUN_CREDENTIAL_ENDED, or auth's error
 * during an outage.
 */
async function mintStarter(deps: MintDeps, { userId, tokenId }: StartedBy, signal: AbortSignal): Promise<Starter> {
  if (tokenId === "") throw fail(ErrorReason.RUN_CREDENTIAL_ENDED, "It is unknown which credential started this run.");
  const options = { timeoutMs: mintTimeoutMs, signal };
  const { internalToken, identity } = await deps.tokens.mintInternalToken({ userId, tokenId }, options);
  if (identity === undefined) throw fail(ErrorReason.INTERNAL, "auth minted a token without an identity");
  return { identity, headers: { [internalTokenHeader]: internalToken } };
}

/**
 * Calls `act` with the starter of a run as auth knows it now. The credential may end after auth minted the token and
 * before the token arrives; this process then hears of the revocation meanwhile and asks auth again. Throws auth's
 * errors and the signal's reason.
 */
export async function asStarter<T>(
  deps: MintDeps,
  run: StartedBy,
  signal: AbortSignal,
  act: (starter: Starter) => T,
): Promise<T> {
  for (;;) {
    const told = new AbortController();
    const forget = deps.runsByToken.add(run.tokenId, told);
    try {
      const starter = await mintStarter(deps, run, signal);
      signal.throwIfAborted();
      if (!told.signal.aborted) return act(starter);
    } finally {
      forget();
    }
  }
}

/** The point from which a run that was driven before goes on. */
function resumePoint(deps: RunDeps, context: RunContext): Start {
  const routed = routedAgent(context.messages.findLast(({ role }) => role === "user")?.content ?? "");
  const { agent, state } = settleAgent(deps, readState(context.run?.state ?? ""), context, routed);
  if (context.run?.node !== "act") return { node: "think", agent, state };
  return { node: "act", agent, state: { ...state, messageId: callsMessageId(state, context.messages) } };
}

/** Ends a run for good. If the journal is away, a later heartbeat claims the run, and this process ends it then. */
async function abandon(deps: RunDeps, run: Run, failure: Failure): Promise<void> {
  await abandonRun(deps, run, failure).catch((cause: unknown) => {
    if (reasonOf(cause) !== ErrorReason.STALE_EPOCH) deps.unended.add(run, failure);
    deps.logger.warn({ err: cause, run_id: run.id }, "a run that cannot go on was not ended");
  });
}

/**
 * Resumes a claimed run as its starter, once auth mints a token for it, whatever made it claimable: a decision, a
 * review, the death of its worker, the end of the run before it, the end of its pause. A run whose credential has ended
 * is ended with that reason, and so is one that cannot be started or has failed in this process before. Undefined when
 * this process does not drive the run after all.
 */
export async function takeOver(
  deps: RunDeps,
  context: RunContext,
  {
    start,
    headers,
    secretVersion,
    isAwaited = false,
  }: {
    /** Unset: where the run's row says. */
    start?: Start;
    /** Headers of its calls besides the identity. */
    headers?: Readonly<Record<string, string>>;
    /** Version of the secret that admitted its starter; unset: no longer known. */
    secretVersion?: number;
    /** A call waits for the run: a process that shuts down drives it nevertheless, within its time limit. */
    isAwaited?: boolean;
  } = {},
): Promise<RunHandle | undefined> {
  const { run } = context;
  if (run === undefined) throw fail(ErrorReason.INTERNAL, "the journal returned a context without its run");
  // Owned from now on, so that the next heartbeat does not claim it again.
  const claim = deps.owned.begin(run.id);
  const attempt = async (): Promise<RunHandle | undefined> => {
    const isLeft = isAwaited ? deps.owned.isHandingOver : deps.owned.isDraining;
    if (claim.signal.aborted || isLeft) return undefined;
    return await asStarter(deps, run, claim.signal, (starter) => {
      if (secretVersion !== undefined && (starter.identity.secretVersion || 1) !== (secretVersion || 1)) {
        throw fail(ErrorReason.RUN_CREDENTIAL_ENDED, "The secret that this run was started with has been replaced.");
      }
      const from = start ?? resumePoint(deps, context);
      const handle = launch(deps, { ...starter, headers: { ...headers, ...starter.headers } }, context, from);
      deps.logger.info({ run_id: run.id, epoch: run.epoch }, "run claimed");
      return handle;
    });
  };
  const hasEnded = (error: unknown) => reasonOf(error) === ErrorReason.RUN_CREDENTIAL_ENDED;
  let refusals = 0;
  const mayPass = (error: unknown) => {
    refusals = isOutageOrTimeout(error) ? 0 : refusals + 1;
    return !claim.signal.aborted && !hasEnded(error) && refusals < maxRefusals;
  };
  try {
    const known = deps.unended.take(run);
    if (known !== undefined) {
      await abandon(deps, run, known);
      return undefined;
    }
    const handle = await retrying(attempt, {
      mayPass,
      patienceMs: Number.POSITIVE_INFINITY,
      firstMs: retryMs,
      longestMs: retryMs,
      onRetry: (error) => {
        const fields = () => ({ run_id: run.id, conversation_id: run.conversationId });
        deps.failures.warn({ message: "run could not be taken over; it will be tried again", subject: [], error, fields });
      },
    });
    if (handle !== undefined) return handle;
  } catch (error) {
    if (!claim.signal.aborted) {
      logFailedRun(deps, { runId: run.id, conversationId: run.conversationId, model: readState(run.state).model }, error);
      await abandon(deps, run, failureOf(error));
    }
  } finally {
    // Nothing after a launch, which owns the run under a controller of its own.
    deps.owned.end(run.id, claim);
  }
  return undefined;
}

/**
 * Resumes a run that a call has claimed, as its starter. The handle follows the run when it has ended or another worker
 * drives it. Throws RUN_HANDED_OVER when this process shuts down and its time is over: until it has gone, no other
 * worker claims the run.
 */
export async function resumeClaimed(
  deps: RunDeps,
  ctx: HandlerContext,
  context: RunContext,
  /** Set by the call that begins the run; the caller is then its starter. */
  start?: Start,
): Promise<RunHandle> {
  const { run } = context;
  if (run === undefined) throw fail(ErrorReason.INTERNAL, "the journal returned a context without its run");
  const secretVersion = start === undefined ? undefined : requireIdentity(ctx).secretVersion;
  const handle = await takeOver(deps, context, { start, headers: traceOf(ctx), secretVersion, isAwaited: true });
  if (handle === undefined && deps.owned.isHandingOver) throw handedOver();
  return handle ?? followedHandle(run, { from: { seq: run.seq, units: 0 } });
}
