import { setTimeout as delay } from "node:timers/promises";
import type { RunContext } from "@turnwright/contract/conversation/v1/run";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { versionFields } from "../graph/turn.ts";
import type { TurnDeps } from "./launch.ts";
import { takeOver } from "./take-over.ts";

const beatMs = 1_000;
/** After a sign of life that was not taken: others must not take this process for dead when the journal is back. */
const retryMs = 250;
const beatTimeoutMs = 2_000;
/** Signs of life that may be unanswered at once: one that is late must not make the next one late. */
const mostUnanswered = 3;
/** For one that claims as well. */
const claimTimeoutMs = 8_000;
/**
 * For how long none may have been taken: longer than it takes to see that it is the journal which is away, or its
 * database.
 */
const longestSilenceMs = 6_000;
/** Runs that are taken over at a time. */
const claimLimit = 8;
/** How long runs may take to stop, so that nothing of them is under way when others claim them. */
const stopMs = 2_000;

/** What keeps the runs of this process its own. */
export interface Worker {
  /** Goes on with a claimed run as who started it, as soon as auth lets it. Never rejects. */
  takeOver(context: RunContext): Promise<void>;
  /** Rejects when the journal has not taken a sign of life for 6 s: then this process can drive no stored run. */
  ready(): Promise<void>;
  /**
   * Claims no more runs, and resolves when those under way have ended; when the limit fires, they are stopped, without
   * a word in the journal.
   */
  drain(limit: AbortSignal): Promise<void>;
  /** Ends the signs of life. Runs that are still under way are stopped, and are anybody's at once. */
  stop(): Promise<void>;
}

/**
 * Says each second that this process is alive, by which its runs stay its own, and goes on with those of processes that
 * are not, and with queued ones whose turn it is.
 */
export function startWorker(deps: TurnDeps & { maxRuns: number }): Worker {
  const { journal, logger, workerId, driving } = deps;
  let timer: NodeJS.Timeout | undefined;
  const unanswered = new Set<Promise<void>>();
  let isClaiming = false;
  let isSilent = false;
  let heardAt = performance.now();
  /** Runs that the last answer called lost. */
  let lastLost = { runIds: new Set<string>(), toldAt: 0 };

  const goOn = async (context: RunContext): Promise<void> => {
    await takeOver(deps, context).catch((error: unknown) => logger.error({ err: error }, "run was not taken over"));
  };
  const beat = async (limit: number): Promise<void> => {
    const request = { workerId, claimLimit: limit, ...versionFields(deps.graphVersions), driving: [...driving.keys()] };
    const askedAt = performance.now();
    const { claimed, lost } = await journal.beat(request, { timeoutMs: limit > 0 ? claimTimeoutMs : beatTimeoutMs });
    for (const runId of lost) {
      // What began or ended while we asked is not meant: the next beat tells.
      if (askedAt < lastLost.toldAt || !lastLost.runIds.has(runId)) continue;
      driving.get(runId)?.abort(fail(ErrorReason.STALE_EPOCH, "Another worker has the run."));
    }
    lastLost = { runIds: new Set(lost), toldAt: performance.now() };
    // Not waited for: the next sign of life must not be late.
    for (const context of claimed) void goOn(context);
  };
  const tick = (): void => {
    timer = setTimeout(tick, isSilent ? retryMs : beatMs).unref();
    if (unanswered.size >= mostUnanswered) return;
    const limit = driving.isDraining || isClaiming ? 0 : Math.max(0, Math.min(claimLimit, deps.maxRuns - driving.size));
    if (limit > 0) isClaiming = true;
    const beating = beat(limit)
      .then(
        () => {
          isSilent = false;
          heardAt = performance.now();
        },
        (error: unknown) => {
          if (!isSilent) logger.warn({ err: error }, "the journal did not take the worker's sign of life");
          isSilent = true;
        },
      )
      .finally(() => {
        unanswered.delete(beating);
        if (limit > 0) isClaiming = false;
      });
    unanswered.add(beating);
  };
  timer = setTimeout(tick, 0).unref();

  const stopRuns = (): void => {
    for (const controller of driving.values()) {
      controller.abort(fail(ErrorReason.RUN_HANDED_OVER, "This process ends; the run goes on in another one."));
    }
  };
  const drain = async (limit: AbortSignal): Promise<void> => {
    driving.isDraining = true;
    await driving.idle(limit);
    if (driving.size > 0) logger.info({ runs: driving.size }, "runs are handed over");
    stopRuns();
  };
  return {
    takeOver: goOn,
    async ready() {
      if (performance.now() - heardAt <= longestSilenceMs) return;
      throw fail(ErrorReason.UNAVAILABLE, "The journal has not taken the worker's signs of life for a while.");
    },
    drain,
    async stop() {
      await drain(AbortSignal.abort());
      await driving.idle(AbortSignal.timeout(stopMs));
      clearTimeout(timer);
      // The last word on this worker must be that it leaves.
      await Promise.race([Promise.all(unanswered), delay(beatTimeoutMs, undefined, { ref: false })]);
      stopRuns();
      await journal.beat({ workerId, leaving: true }, { timeoutMs: 2_000 }).catch((error: unknown) => {
        logger.warn(
          { err: error },
          "the journal was not told that the worker leaves; its runs are claimed when it has been silent",
        );
      });
    },
  };
}
