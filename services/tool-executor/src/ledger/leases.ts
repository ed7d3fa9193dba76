import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Logger } from "@turnwright/platform/logger";
import type pg from "pg";
import { type Claim, renewLeases } from "../store/calls.ts";

/**
 * Renews the leases of this process's running calls, all with one statement, which also reports the calls that are to
 * stop. A call that ends before the first renewal costs no statement.
 */
export class Leases {
  readonly leaseMs: number;
  readonly #pool: pg.Pool;
  readonly #logger: Logger;
  readonly #held = new Map<string, { readonly claim: Claim; stop(): void }>();
  #timer: NodeJS.Timeout | undefined;
  #isRenewing = false;
  #renewedAt = 0;

  constructor(deps: { pool: pg.Pool; logger: Logger; leaseMs: number }) {
    this.leaseMs = deps.leaseMs;
    this.#pool = deps.pool;
    this.#logger = deps.logger;
  }

  /** Renews a claim until the returned function is called. Calls `stop` when the call is to stop. */
  hold(claim: Claim, stop: () => void): () => void {
    if (this.#held.size === 0) this.#renewedAt = performance.now();
    this.#held.set(claim.id, { claim, stop });
    this.#timer ??= setInterval(() => void this.#renew(), this.leaseMs / 4);
    return () => {
      this.#held.delete(claim.id);
      if (this.#held.size > 0) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
    };
  }

  /** Rejects when calls are held and no renewal has succeeded for the length of a lease. */
  async ready(): Promise<void> {
    if (this.#held.size === 0 || performance.now() - this.#renewedAt <= this.leaseMs) return;
    throw fail(ErrorReason.UNAVAILABLE, "The leases of running calls are not renewed.");
  }

  async #renew(): Promise<void> {
    if (this.#isRenewing) return;
    this.#isRenewing = true;
    const claims = [...this.#held.values()].map(({ claim }) => claim);
    try {
      for (const id of await renewLeases(this.#pool, claims, this.leaseMs)) this.#held.get(id)?.stop();
      this.#renewedAt = performance.now();
    } catch (error) {
      this.#logger.warn({ err: error, calls: claims.length }, "leases of running calls not renewed");
    } finally {
      this.#isRenewing = false;
    }
  }
}
