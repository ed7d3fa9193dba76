import { Batch } from "@turnwright/platform/async/batch";
import type { Logger } from "@turnwright/platform/logger";
import type pg from "pg";
import { type DirectCall, insertDirectCalls } from "../store/direct-calls.ts";

/** Records calls without a run while their callers go on. The record is no promise: a failure is only logged. */
export class DirectCallLog {
  readonly #logger: Logger;
  readonly #calls: Batch<DirectCall, true>;

  constructor(deps: { pool: pg.Pool; logger: Logger }) {
    this.#logger = deps.logger;
    this.#calls = new Batch({
      flush: async (calls) => {
        await insertDirectCalls(deps.pool, calls);
        return calls.map(() => true as const);
      },
    });
  }

  add(direct: DirectCall): void {
    this.#calls.add(direct).catch((error: unknown) => {
      this.#logger.warn({ err: error, tool: direct.call.toolName }, "tool call not recorded");
    });
  }

  /** Resolves when every added call is recorded. */
  idle(): Promise<void> {
    return this.#calls.idle();
  }
}
