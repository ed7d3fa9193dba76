import { Batch } from "@turnwright/platform/async/batch";
import type { Logger } from "@turnwright/platform/logger";
import type pg from "pg";
import { type FreeCall, insertFreeCalls } from "../store/calls.ts";

/** Writes down calls without a run behind their callers' backs: it is a record, not a promise, so a failure is only logged. */
export class FreeCallLog {
  readonly #logger: Logger;
  readonly #entries: Batch<FreeCall, true>;

  constructor(deps: { pool: pg.Pool; logger: Logger }) {
    this.#logger = deps.logger;
    this.#entries = new Batch({
      flush: async (calls) => {
        await insertFreeCalls(deps.pool, calls);
        return calls.map(() => true as const);
      },
    });
  }

  add(call: FreeCall): void {
    this.#entries.add(call).catch((error: unknown) => {
      this.#logger.warn({ err: error, tool: call.toolName }, "tool call not written down");
    });
  }

  /** Resolves when all that was added is written. */
  idle(): Promise<void> {
    return this.#entries.idle();
  }
}
