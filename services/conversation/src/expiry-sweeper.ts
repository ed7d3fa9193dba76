import type { Logger } from "@turnwright/platform/logger";
import type pg from "pg";
import { rejectExpiredApprovals } from "./store/expired-approvals.ts";

const longestPauseMs = 5_000;
const shortestPauseMs = 250;

/**
 * Rejects calls whose time to be decided is over, as long as the service runs: at the latest 5 s after it, or a quarter of a shorter expiry.
 * Any number of processes may do so; with no expiry, those that were asked for under an earlier one are still rejected.
 */
export function startExpirySweeper(deps: { pool: pg.Pool; logger: Logger; expiryMs: number }): { stop(): Promise<void> } {
  const { pool, logger, expiryMs } = deps;
  const pauseMs = expiryMs === 0 ? longestPauseMs : Math.min(longestPauseMs, Math.max(shortestPauseMs, expiryMs / 4));
  let sweeping: Promise<void> | undefined;
  const sweep = async () => {
    try {
      const calls = await rejectExpiredApprovals(pool);
      if (calls > 0) logger.info({ calls }, "tool calls rejected that nobody decided on in time");
    } catch (error) {
      logger.warn({ err: error }, "expired approvals not rejected yet");
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
