import type { Logger } from "@turnwright/platform/logger";
import type pg from "pg";
import { type Claim, renewLeases } from "./store/calls.ts";

/**
 * Keeps the leases of this process's running calls alive, all with one statement, and learns by it which of them are to stop. Calls that
 * end sooner cost none.
 */
export class Leases {
  readonly leaseMs: number;
  readonly #pool: pg.Pool;
  readonly #logger: Logger;
  readonly #held = new Map<string, { readonly claim: Claim; stop(): void }>();
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: { pool: pg.Pool; logger: Logger; leaseMs: number }) {
    this.leaseMs = deps.leaseMs;
    this.#pool = deps.pool;
    this.#logger = deps.logger;
  }

  /** Renews a claim until what it returns is called; calls `stop` when somebody wants the call to stop. */
  hold(claim: Claim, stop: () => void): () => void {
    this.#held.set(claim.id, { claim, stop });
    this.#timer ??= setInterval(() => void this.#renew(), this.leaseMs / 4);
    return () => {
      this.#held.delete(claim.id);
      if (this.#held.size > 0) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
    };
  }

  async #renew(): Promise<void> {
    const claims = [...this.#held.values()].map(({ claim }) => claim);
    try {
      for (const id of await renewLeases(this.#pool, claims, this.leaseMs)) this.#held.get(id)?.stop();
    } catch (error) {
      this.#logger.warn({ err: error, calls: claims.length }, "leases of running calls not renewed");
    }
  }
}
