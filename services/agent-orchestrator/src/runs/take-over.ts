import { setTimeout as delay } from "node:timers/promises";
import { ConnectError } from "@connectrpc/connect";
import type { Run, RunContext } from "@turnwright/contract/conversation/v1/run";
import { ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import { internalTokenHeader } from "@turnwright/platform/identity/identity";
import { callsMessageId, readState } from "../graph/state.ts";
import { type Behalf, launch, type Start, type StartedTurn, settledState, type TurnDeps } from "./launch.ts";

const againMs = 1_000;
const mintTimeoutMs = 5_000;
const abandonTimeoutMs = 5_000;

type MintDeps = Pick<TurnDeps, "liveRuns" | "tokens">;
type Started = Pick<Run, "userId" | "tokenId">;

/**
 * Who started a run, by a token that auth mints for that credential. Throws RUN_CREDENTIAL_ENDED; what auth throws
 * while it does not answer.
 */
async function starterOf(deps: MintDeps, { userId, tokenId }: Started, signal: AbortSignal): Promise<Behalf> {
  if (tokenId === "") throw fail(ErrorReason.RUN_CREDENTIAL_ENDED, "Nobody knows which credential started this run.");
  const options = { timeoutMs: mintTimeoutMs, signal };
  const { internalToken, identity } = await deps.tokens.mintInternalToken({ userId, tokenId }, options);
  if (identity === undefined) throw fail(ErrorReason.INTERNAL, "auth minted a token without an identity");
  return { identity, headers: { [internalTokenHeader]: internalToken } };
}

/**
 * Hands over who started a run, as auth knows them now, at once: what auth mints may have ended before it is here,
 * which is told to whoever listens by then, and it is asked again. Throws as auth does, and the signal's reason.
 */
export async function asStarter<T>(deps: MintDeps, run: Started, signal: AbortSignal, act: (starter: Behalf) => T): Promise<T> {
  for (;;) {
    const told = new AbortController();
    const forget = deps.liveRuns.add(run.tokenId, told);
    try {
      const starter = await starterOf(deps, run, signal);
      signal.throwIfAborted();
      if (!told.signal.aborted) return act(starter);
    } finally {
      forget();
    }
  }
}

/** Where a run that was driven before goes on. */
function startOf(deps: TurnDeps, context: RunContext): Start {
  const stored = settledState(deps, readState(context.run?.state ?? ""), context);
  if (context.run?.node !== "act") return { node: "think", state: stored };
  return { node: "act", state: { ...stored, messageId: callsMessageId(stored, context.messages) } };
}

/** Ends a run for good. Where the journal does not hear it, the next beat finds the run again. */
async function giveUp(deps: TurnDeps, run: Run, error: unknown): Promise<void> {
  const why = error instanceof ConnectError ? error.rawMessage : "The credential that started this run has ended.";
  const ended = { runId: run.id, epoch: run.epoch, error: why };
  await deps.journal.abandonRun(ended, { timeoutMs: abandonTimeoutMs }).catch((cause: unknown) => {
    deps.logger.warn({ err: cause, run_id: run.id }, "run was not ended whose credential has ended; it is tried again");
  });
}

/**
 * Goes on with a claimed run as who started it, as soon as auth lets it, whatever set it going: a decision, a review,
 * the end of its worker, its turn or its time. A run whose credential has ended ends with the reason. Undefined when
 * this process does not drive it.
 */
export async function takeOver(
  deps: TurnDeps,
  context: RunContext,
  {
    start,
    headers,
    secretVersion,
  }: {
    /** Unset: where it stands. */
    start?: Start;
    /** What travels with its calls beside the identity. */
    headers?: Readonly<Record<string, string>>;
    /** Of the secret by which its starter was let in; unset: nobody knows it any more. */
    secretVersion?: number;
  } = {},
): Promise<StartedTurn | undefined> {
  const { run } = context;
  if (run === undefined) throw fail(ErrorReason.INTERNAL, "the journal gave a context without its run");
  // From now on, so that the next beat does not claim it again.
  const claim = deps.driving.begin(run.id);
  while (!claim.signal.aborted && !deps.driving.isDraining) {
    try {
      return await asStarter(deps, run, claim.signal, (starter) => {
        if (secretVersion !== undefined && (starter.identity.secretVersion || 1) !== (secretVersion || 1)) {
          throw fail(ErrorReason.RUN_CREDENTIAL_ENDED, "The secret that this run was started with has been replaced.");
        }
        const behalf = { ...starter, headers: { ...headers, ...starter.headers } };
        const turn = launch(deps, behalf, context, start ?? startOf(deps, context));
        deps.logger.info({ run_id: run.id, epoch: run.epoch }, "run claimed");
        return turn;
      });
    } catch (error) {
      if (claim.signal.aborted) break;
      if (reasonOf(error) === ErrorReason.RUN_CREDENTIAL_ENDED) {
        await giveUp(deps, run, error);
        break;
      }
      deps.logger.warn({ err: error, run_id: run.id }, "run could not be taken over; it is tried again");
      await delay(againMs);
    }
  }
  deps.driving.end(run.id, claim);
  return undefined;
}
