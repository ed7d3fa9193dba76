import { Batch } from "@turnwright/platform/batch";
import pg from "pg";

/** How statements share commits. */
export interface GroupLimits {
  /** Rows of a group. */
  readonly maxRows: number;
  /** Groups of one kind under way at once; each takes a connection. */
  readonly inFlight: number;
}

/** Figures: docs/decisions/0010-group-commit.md. */
export const groupLimits: GroupLimits = { maxRows: 128, inFlight: 1 };

/** Characters of a group: long rows gain nothing from company, and all of a group's are in memory at once. */
const maxGroupSize = 1_000_000;

/** A run's row of a statement that takes many. */
export interface GroupRow {
  /** Lower case, as the database writes it. */
  readonly runId: string;
  /** The row as JSON, as the statement's `json_to_recordset` names its columns. */
  readonly json: string;
  /** What no two rows of a group may share, besides the run. */
  readonly keys: readonly string[];
}

/** The parameter of a statement for these rows alone. */
export function rowsParameter(rows: readonly GroupRow[]): string {
  return `[${rows.map(({ json }) => json).join(",")}]`;
}

/**
 * Runs a statement over many rows at once: one round trip, one transaction, one flush of the log. It answers with a row for each that
 * it took, by `run_id`, and must wait for no row that somebody else holds. Undefined is what it did not take, whyever: what follows is decided by
 * the statement for single rows. So it is too for all rows of a group that the database refused as a whole, of which nothing is left then.
 * Rejects when the outcome is not known.
 */
export function groupStatement<Answer extends { readonly run_id: string }, Row extends GroupRow = GroupRow>(
  pool: pg.Pool,
  statement: (rows: readonly Row[]) => { name: string; text: string },
  { maxRows, inFlight }: GroupLimits,
): (row: Row) => Promise<Answer | undefined> {
  const batch = new Batch<Row, Answer | undefined>({
    maxItems: maxRows,
    inFlight,
    maxSize: maxGroupSize,
    sizeOf: ({ json }) => json.length,
    keysOf: ({ runId, keys }) => [runId, ...keys],
    async flush(group) {
      try {
        const { rows } = await pool.query<Answer>({ ...statement(group), values: [rowsParameter(group)] });
        const taken = new Map(rows.map((row) => [row.run_id, row]));
        return group.map(({ runId }) => taken.get(runId));
      } catch (error) {
        // The database's own word that it did nothing; what it leaves open has been translated by the pool.
        if (error instanceof pg.DatabaseError) return group.map(() => undefined);
        throw error;
      }
    },
  });
  return (row) => batch.add(row);
}
