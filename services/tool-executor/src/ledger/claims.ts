import { retrying } from "@turnwright/platform/async/retrying";
import { ErrorReason, reasonOf } from "@turnwright/platform/errors";
import type { Logger } from "@turnwright/platform/logger";
import { isDataRefused } from "@turnwright/platform/postgres/pool";
import { uuidv7 } from "@turnwright/platform/uuid";
import type pg from "pg";
import type { CheckedCall } from "../calls/checked-call.ts";
import { type Claim, claimCalls, confirmClaims, type NewCall, type RunScope } from "../store/calls.ts";

/** How long a claim is repeated while the database is away, in milliseconds: after a lease, others look at the call. */
const patienceMs = 5_000;
const pauses = { firstMs: 50, longestMs: 400, jitter: true };

/** The claims of some calls of a round, and the ids of those that the ledger refuses for good. */
interface ClaimedCalls {
  readonly claims: Map<string, Claim>;
  readonly refused: Set<string>;
}

/**
 * Claims calls for this process. When the answer to a claim is lost, only this process knows that the call has not
 * begun: it repeats the claim under the same ids, and finds what it has claimed.
 */
export class Claims {
  readonly #pool: pg.Pool;
  readonly #logger: Logger;
  readonly #leaseMs: number;

  constructor(deps: { pool: pg.Pool; logger: Logger; leaseMs: number }) {
    this.#pool = deps.pool;
    this.#logger = deps.logger;
    this.#leaseMs = deps.leaseMs;
  }

  /**
   * Claims calls together. When the ledger refuses one of them for good, each is claimed alone, and only it is refused.
   * Rejects when the database does not answer.
   */
  async claim(scope: RunScope, calls: readonly CheckedCall[]): Promise<ClaimedCalls> {
    const claimed: ClaimedCalls = { claims: new Map(), refused: new Set() };
    await this.#claim(
      scope,
      calls.map((call) => ({ id: uuidv7(), call })),
      claimed,
    );
    return claimed;
  }

  async #claim(scope: RunScope, calls: readonly NewCall[], claimed: ClaimedCalls): Promise<void> {
    try {
      const claims = await retrying((attempt) => this.#claimOnce(scope, calls, attempt > 1), {
        ...pauses,
        patienceMs,
        mayPass: (error) => reasonOf(error) === ErrorReason.DATABASE_UNAVAILABLE,
      });
      for (const [callId, claim] of claims) claimed.claims.set(callId, claim);
    } catch (error) {
      if (!isDataRefused(error)) throw error;
      const [only, another] = calls;
      if (another !== undefined) {
        for (const call of calls) await this.#claim(scope, [call], claimed);
      } else if (only !== undefined) {
        const { callId, toolName } = only.call;
        const ids = { run_id: scope.runId, call_id: callId, tool: toolName };
        this.#logger.error({ err: error, ...ids }, "tool call cannot be recorded");
        claimed.refused.add(callId);
      }
    }
  }

  async #claimOnce(scope: RunScope, calls: readonly NewCall[], isRepeated: boolean): Promise<Map<string, Claim>> {
    const claims = await claimCalls(this.#pool, scope, calls, this.#leaseMs);
    if (!isRepeated) return claims;
    // In this order: an earlier statement may still be under way, and the claim waits for its end.
    const others = calls.filter(({ call }) => !claims.has(call.callId)).map(({ id }) => id);
    if (others.length === 0) return claims;
    return new Map([...claims, ...(await confirmClaims(this.#pool, others, this.#leaseMs))]);
  }
}
