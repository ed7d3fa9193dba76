import { databasePing } from "@turnwright/platform/postgres/database-ping";
import { watchReadiness } from "@turnwright/platform/process/readiness";
import type pg from "pg";

/** Knows whether the ledger's database answers this process, and since when. */
export interface OutageWatch {
  /** Rejects with the database's last failure if it has not answered since. */
  ready(): Promise<void>;
  /**
   * False during an outage and for most of a lease after it: the holder of a call may not have been able to renew its
   * lease, and an expired one proves nothing.
   */
  readonly isSettled: boolean;
  stop(): void;
}

/** Starts to ask the database, several times per lease. A process that has just started assumes no outage. */
export function startOutageWatch({ pool, leaseMs }: { pool: pg.Pool; leaseMs: number }): OutageWatch {
  const settleMs = leaseMs * 0.8;
  /** When the database came back after an outage, by the clock of this process. */
  let backAt = Number.NEGATIVE_INFINITY;
  let seenAt = performance.now();
  let fault: unknown;
  /** Nothing was asked for so long that this process, or the whole machine, cannot have run. */
  const stoodStill = (now: number) => now - seenAt > settleMs;
  const readiness = watchReadiness({
    ready: databasePing(pool, leaseMs * 0.4),
    intervalMs: leaseMs * 0.2,
    patienceMs: leaseMs,
    tell: (found) => {
      const now = performance.now();
      if (found === undefined) {
        if (fault !== undefined || stoodStill(now)) backAt = now;
        seenAt = now;
      }
      fault = found;
    },
  });
  return {
    async ready() {
      if (fault !== undefined) throw fault;
    },
    get isSettled() {
      const now = performance.now();
      return fault === undefined && !stoodStill(now) && now - backAt >= settleMs;
    },
    stop: () => readiness.stop(),
  };
}
