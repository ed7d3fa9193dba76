import { setTimeout as delay } from "node:timers/promises";
import type { RunContext } from "@turnwright/contract/conversation/v1/run";
import { retrying } from "@turnwright/platform/async/retrying";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { versionFields } from "../graph/versions.ts";
import { isOutage } from "../outage.ts";
import type { RunDeps } from "./launch.ts";
import { handedOver } from "./owned-runs.ts";
import { takeOver } from "./take-over.ts";

/** Pause after a failed heartbeat: when the journal is back, other workers must not take this one for dead. */
const retryMs = 250;
const beatTimeoutMs = 2_000;
/** The most heartbeats in flight: a late response must not delay the next heartbeat. */
const maxInFlight = 3;
/** Timeout of a heartbeat that claims runs as well. */
const claimTimeoutMs = 8_000;
/**
 * How long heartbeats may fail before this process reports itself unready, in milliseconds: longer than it takes to
 * detect that the journal or its database is away.
 */
const longestSilenceMs = 6_000;
/** Runs that are claimed and read at a time. */
const claimLimit = 8;
/** Timeout of the claim or the context of one run. */
const contextTimeoutMs = 8_000;
/** How long the reading of a claimed run's context is repeated during an outage, in milliseconds. */
const retryContextMs = 10_000;
/** How long stopped runs may take to end, in milliseconds, so that other workers claim them only afterwards. */
const stopMs = 2_000;

/** Keeps the runs of this process its own, and claims others. */
export interface Worker {
  /** Sends the first heartbeat and goes on until `stop`. */
  start(): void;
  /** Resumes a claimed run as its starter, once auth mints a token for it. Never rejects. */
  takeOver(context: RunContext): Promise<void>;
  /** Rejects when no heartbeat has succeeded for 6 s: this process then cannot drive stored runs. */
  ready(): Promise<void>;
  /**
   * Claims no more runs and resolves when those under way have ended. When the limit fires, they are stopped without a
   * commit.
   */
  drain(limit: AbortSignal): Promise<void>;
  /** Ends the heartbeats. Runs still under way are stopped; other workers may claim them at once. */
  stop(): Promise<void>;
}

/**
 * Makes a worker. Every `beatMs` milliseconds it sends the heartbeat that keeps its runs its own, and it resumes runs
 * of dead workers and queued runs that are due.
 */
export function createWorker(deps: RunDeps & { maxRuns: number; beatMs: number }): Worker {
  const { journal, logger, workerId, owned, beatMs } = deps;
  let timer: NodeJS.Timeout | undefined;
  const inFlight = new Set<Promise<void>>();
  let isClaiming = false;
  /** Runs that a heartbeat named and whose contexts are being read. */
  const arriving = new Set<string>();
  let isFailing = false;
  let acceptedAt = performance.now();
  /** Runs that the last response named as lost. */
  let lastLost = { runIds: new Set<string>(), toldAt: 0 };

  const resume = async (context: RunContext): Promise<void> => {
    await takeOver(deps, context).catch((error: unknown) => logger.error({ err: error }, "run was not taken over"));
  };
  const versions = versionFields(deps.graphVersions);
  /** Claims a due run, or reads the context of a run claimed under `epoch`, and resumes it. Never rejects. */
  const arrive = async (runId: string, epoch = 0): Promise<void> => {
    if (owned.isDraining || arriving.has(runId)) return;
    arriving.add(runId);
    const read = () => journal.claimRun({ runId, workerId, ...versions, epoch }, { timeoutMs: contextTimeoutMs });
    try {
      // A claim is not repeated: the next heartbeat names a run again that is still due.
      const mayPass = (error: unknown) => epoch > 0 && isOutage(error) && !owned.isDraining;
      const { context } = await retrying(read, { mayPass, patienceMs: retryContextMs });
      if (context !== undefined) void resume(context);
    } catch (error) {
      logger.warn({ err: error, run_id: runId }, "the context of a claimed run was not read; a later heartbeat claims it again");
    } finally {
      arriving.delete(runId);
    }
  };
  const beat = async (limit: number): Promise<void> => {
    const driving = [...new Set([...owned.keys(), ...arriving])];
    const request = { workerId, claimLimit: limit, ...versions, driving, idsOnly: true };
    const askedAt = performance.now();
    const answer = await journal.beat(request, { timeoutMs: limit > 0 ? claimTimeoutMs : beatTimeoutMs });
    const { claimed, claimedRuns, dueRunIds, lost } = answer;
    for (const runId of lost) {
      // A run that began or ended during the request may be named by mistake: only one named twice is stopped.
      if (askedAt < lastLost.toldAt || !lastLost.runIds.has(runId)) continue;
      owned.get(runId)?.abort(fail(ErrorReason.STALE_EPOCH, "Another worker owns the run."));
    }
    lastLost = { runIds: new Set(lost), toldAt: performance.now() };
    // Not awaited: the next heartbeat must not be late.
    for (const { runId, epoch } of claimedRuns) void arrive(runId, epoch);
    for (const runId of dueRunIds) void arrive(runId);
    // From a journal of an earlier release.
    for (const context of claimed) void resume(context);
  };
  const tick = (): void => {
    timer = setTimeout(tick, isFailing ? retryMs : beatMs).unref();
    if (inFlight.size >= maxInFlight) return;
    const limit =
      owned.isDraining || isClaiming ? 0 : Math.max(0, Math.min(claimLimit, deps.maxRuns - owned.size) - arriving.size);
    if (limit > 0) isClaiming = true;
    const beating = beat(limit)
      .then(
        () => {
          isFailing = false;
          acceptedAt = performance.now();
        },
        (error: unknown) => {
          // While this process drains, the journal may be on its way down too.
          if (!isFailing && !owned.isDraining) logger.warn({ err: error }, "the journal did not accept the worker's heartbeat");
          isFailing = true;
        },
      )
      .finally(() => {
        inFlight.delete(beating);
        if (limit > 0) isClaiming = false;
      });
    inFlight.add(beating);
  };

  const stopRuns = (): void => {
    for (const controller of owned.values()) {
      controller.abort(handedOver());
    }
  };
  const handOver = (): void => {
    if (owned.size > 0 && !owned.isHandingOver) logger.info({ runs: owned.size }, "runs are handed over");
    owned.isHandingOver = true;
    stopRuns();
  };
  const drain = async (limit: AbortSignal): Promise<void> => {
    owned.isDraining = true;
    await owned.idle(limit);
    if (limit.aborted) handOver();
    // Calls in flight may still claim runs.
    else limit.addEventListener("abort", handOver, { once: true });
  };
  return {
    start() {
      acceptedAt = performance.now();
      timer = setTimeout(tick, 0).unref();
    },
    takeOver: resume,
    async ready() {
      if (performance.now() - acceptedAt <= longestSilenceMs) return;
      throw fail(ErrorReason.UNAVAILABLE, "The journal has not accepted the worker's heartbeats for a while.");
    },
    drain,
    async stop() {
      await drain(AbortSignal.abort());
      await owned.idle(AbortSignal.timeout(stopMs));
      clearTimeout(timer);
      // The message that this worker leaves must be the last one that the journal gets from it.
      await Promise.race([Promise.all(inFlight), delay(beatTimeoutMs, undefined, { ref: false })]);
      stopRuns();
      await journal.beat({ workerId, leaving: true }, { timeoutMs: 2_000 }).catch((error: unknown) => {
        logger.warn(
          { err: error },
          "the journal was not told that the worker leaves; its runs are claimed after its heartbeats time out",
        );
      });
    },
  };
}
