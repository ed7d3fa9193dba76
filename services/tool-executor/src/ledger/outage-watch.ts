import { databasePing } from "@turnwright/platform/postgres/database-ping";
import { type ReadinessWatch, watchReadiness } from "@turnwright/platform/process/readiness";
import type pg from "pg";

/**
 * Looks several times within a lease whether the ledger's database answers this process, and remembers since when it has. A process that has just started
 * takes it that there was no outage.
 */
export class LedgerWatch {
  readonly #settleMs: number;
  readonly #watch: ReadinessWatch;
  /** When the database was found back after an outage, by the clock of this process. */
  #backAt = Number.NEGATIVE_INFINITY;
  #seenAt = performance.now();
  #fault: unknown;

  constructor(deps: { pool: pg.Pool; leaseMs: number }) {
    const { pool, leaseMs } = deps;
    this.#settleMs = leaseMs * 0.8;
    this.#watch = watchReadiness({
      ready: databasePing(pool, leaseMs * 0.4),
      intervalMs: leaseMs * 0.2,
      patienceMs: leaseMs,
      tell: (fault) => {
        const now = performance.now();
        if (fault === undefined) {
          if (this.#fault !== undefined || this.#stoodStill(now)) this.#backAt = now;
          this.#seenAt = now;
        }
        this.#fault = fault;
      },
    });
  }

  /** Rejects with what the database's last answer was, if that was none. */
  async ready(): Promise<void> {
    if (this.#fault !== undefined) throw this.#fault;
  }

  /**
   * False during an outage and for most of a lease after it: whoever holds a call may not have been able to say so, and a lease that is over proves
   * nothing.
   */
  get isSettled(): boolean {
    const now = performance.now();
    return this.#fault === undefined && !this.#stoodStill(now) && now - this.#backAt >= this.#settleMs;
  }

  stop(): void {
    this.#watch.stop();
  }

  /** Nobody looked for so long that this process, or the whole machine, cannot have run. */
  #stoodStill(now: number): boolean {
    return now - this.#seenAt > this.#settleMs;
  }
}
