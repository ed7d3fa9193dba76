import type { Logger } from "@turnwright/platform/logger";
import type pg from "pg";
import { type Claim, renewLeases } from "./store.ts";

/** Keeps the leases of this process's running calls alive, all with one statement. Calls that end sooner cost none. */
export class Leases {
  readonly leaseMs: number;
  readonly #pool: pg.Pool;
  readonly #logger: Logger;
  readonly #held = new Map<string, Claim>();
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: { pool: pg.Pool; logger: Logger; leaseMs: number }) {
    this.leaseMs = deps.leaseMs;
    this.#pool = deps.pool;
    this.#logger = deps.logger;
  }

  /** Renews a claim until what it returns is called. */
  hold(claim: Claim): () => void {
    this.#held.set(claim.id, claim);
    this.#timer ??= setInterval(() => this.#renew(), this.leaseMs / 4);
    return () => {
      this.#held.delete(claim.id);
      if (this.#held.size > 0) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
    };
  }

  #renew(): void {
    renewLeases(this.#pool, [...this.#held.values()], this.leaseMs).catch((error: unknown) => {
      this.#logger.warn({ err: error, calls: this.#held.size }, "leases of running calls not renewed");
    });
  }
}
