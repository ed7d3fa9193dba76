import { Batch } from "@turnwright/platform/async/batch";
import type { Logger } from "@turnwright/platform/logger";
import { isDataRefused } from "@turnwright/platform/postgres/pool";
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
      blamesItem: isDataRefused,
    });
  }

  add(direct: DirectCall): void {
    this.#calls.add(direct).catch((error: unknown) => {
      const { call, userId } = direct;
      const ids = { call_id: call.callId, tool: call.toolName, user_id: userId };
      this.#logger.error({ err: error, ...ids }, "tool call not recorded");
    });
  }

  /** Resolves when every added call is recorded. */
  idle(): Promise<void> {
    return this.#calls.idle();
  }
}
