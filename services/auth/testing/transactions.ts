import type pg from "pg";
import { expect } from "vitest";

/** Other transactions, which keep their locks until they end. */
interface OtherTransactions {
  /** Begins a transaction with a statement. */
  begin(sql: string, values: unknown[]): Promise<OtherTransaction>;
  /** Resolves once as many statements wait for a lock as there are calls. Fails when a call ends without waiting. */
  waits(calls: readonly Promise<unknown>[]): Promise<void>;
  /** Rolls back transactions that a failed test left open. */
  rollBack(): Promise<void>;
}

/** A transaction that is open. */
interface OtherTransaction {
  query(sql: string, values: unknown[]): Promise<unknown>;
  commit(): Promise<void>;
}

export function otherTransactions(pool: () => pg.Pool): OtherTransactions {
  const open = new Set<() => Promise<void>>();
  return {
    async begin(sql, values) {
      const client = await pool().connect();
      const end = async (word: "commit" | "rollback") => {
        open.delete(rollback);
        await client.query(word);
        client.release();
      };
      const rollback = () => end("rollback");
      open.add(rollback);
      await client.query("begin");
      await client.query(sql, values);
      return { query: (text, params) => client.query(text, params), commit: () => end("commit") };
    },
    async waits(calls) {
      let ended = 0;
      const note = () => {
        ended += 1;
      };
      for (const call of calls) call.then(note, note);
      await expect
        .poll(
          async () => {
            const { rowCount } = await pool().query(
              "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
            );
            return ended > 0 || (rowCount ?? 0) >= calls.length;
          },
          { timeout: 15_000, interval: 5 },
        )
        .toBe(true);
      expect(ended).toBe(0);
    },
    async rollBack() {
      for (const rollback of open) await rollback();
    },
  };
}
