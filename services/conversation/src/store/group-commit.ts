import { Batch } from "@turnwright/platform/async/batch";
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
/** A statement that takes longer waits for somebody else. */
const patienceMs = 100;

/** The row of a statement; columns are named as in `RowColumns`. */
type Row = Readonly<Record<string, unknown>>;

/** Columns of a statement's rows and their types; the order is that of the parameters of a single row. */
export type RowColumns = Readonly<Record<string, string>>;

/**
 * What a statement reads its rows from: many in one parameter, or one in a parameter for each column, which costs the least. Tables are joined to it
 * by `key = any (array[i.key])`: to a plain equality the planner may answer with a read of the whole index, which is cheap while the table is
 * small, and goes on with that plan.
 */
export function rowsSource(columns: RowColumns, rows: "many" | "one"): string {
  const list = Object.entries(columns);
  if (rows === "many") return `json_to_recordset($1::json) as i(${list.map(([name, type]) => `${name} ${type}`).join(", ")})`;
  return `(select ${list.map(([name, type], index) => `$${index + 1}::${type} as ${name}`).join(", ")}) as i`;
}

/** The parameters of a statement for one row. */
export function rowValues(columns: RowColumns, row: Row): unknown[] {
  return Object.entries(columns).map(([name, type]) => {
    const value = row[name] ?? null;
    return type === "json" && value !== null ? JSON.stringify(value) : value;
  });
}

/** What is to be written for one run. */
export interface GroupItem {
  /** As the database writes it, in lower case. */
  readonly runId: string;
  readonly row: Row;
  /** About how many characters the row has. */
  readonly size: number;
  /** What no two of a group may share, besides the run. */
  readonly keys: readonly string[];
}

/** One thing to write, in company or alone. */
interface GroupStatement<Item extends GroupItem, Answer> {
  /**
   * Takes many rows. It answers with a row for each that it took, by `run_id`, and leaves out what it did not take, whyever; it waits for no
   * row that somebody else holds.
   */
  together(items: readonly Item[]): { name: string; text: string };
  /** Decides on one: what came alone, what a group left out, and each of a group that the database refused as a whole. */
  alone(item: Item): Promise<Answer>;
}

/**
 * Writes together what comes while a statement of the same kind is under way: one round trip, one transaction, one flush of the log. Rejects with the error
 * of the group when its outcome is not known.
 */
export function createGroupWriter<Item extends GroupItem, Answer>(
  pool: pg.Pool,
  { together, alone }: GroupStatement<Item, Answer>,
  { maxRows, inFlight }: GroupLimits,
): (item: Item) => Promise<Answer> {
  // Undefined: left to the statement for one.
  const batch = new Batch<Item, { readonly answer: Answer } | undefined>({
    maxItems: maxRows,
    inFlight,
    patienceMs,
    maxSize: maxGroupSize,
    sizeOf: ({ size }) => size,
    keysOf: ({ runId, keys }) => [runId, ...keys],
    async flush(group) {
      const [first] = group;
      if (first !== undefined && group.length === 1) return [{ answer: await alone(first) }];
      try {
        const values = [JSON.stringify(group.map(({ row }) => row))];
        const { rows } = await pool.query<Answer & { run_id: string }>({ ...together(group), values });
        const taken = new Map(rows.map((answer) => [answer.run_id, { answer }]));
        return group.map(({ runId }) => taken.get(runId));
      } catch (error) {
        // The database's own word that nothing was done; where that is not known, the pool has translated the error.
        if (error instanceof pg.DatabaseError) return group.map(() => undefined);
        throw error;
      }
    },
  });
  return async (item) => {
    const written = await batch.add(item);
    return written === undefined ? await alone(item) : written.answer;
  };
}
