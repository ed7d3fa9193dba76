import type { Logger } from "@turnwright/platform/logger";
import type pg from "pg";
import { rejectExpiredApprovals, type Unsweepable } from "./store/expired-approvals.ts";

const longestPauseMs = 5_000;
const shortestPauseMs = 250;

/**
 * Starts to reject calls whose time for a decision is over, within 5 s of that time, or within a quarter of a shorter
 * expiry. Any number of processes may sweep. Without an expiry, calls parked under an earlier one are still rejected.
 */
export function startExpirySweeper(deps: { pool: pg.Pool; logger: Logger; expiryMs: number }): { stop(): Promise<void> } {
  const { pool, logger, expiryMs } = deps;
  const pauseMs = expiryMs === 0 ? longestPauseMs : Math.min(longestPauseMs, Math.max(shortestPauseMs, expiryMs / 4));
  const unsweepable: Unsweepable = {
    runIds: new Set(),
    onAdded: (runId, error) => logger.error({ err: error, run_id: runId }, "expired tool calls of a run cannot be rejected"),
  };
  let sweeping: Promise<void> | undefined;
  const sweep = async () => {
    try {
      const calls = await rejectExpiredApprovals(pool, unsweepable);
      if (calls > 0) logger.info({ calls }, "expired tool calls rejected");
    } catch (error) {
      logger.warn({ err: error }, "expired tool calls could not be rejected");
    }
  };
  const timer = setInterval(() => {
    sweeping ??= sweep().finally(() => {
      sweeping = undefined;
    });
  }, pauseMs).unref();
  return {
    async stop() {
      clearInterval(timer);
      await sweeping;
    },
  };
}
