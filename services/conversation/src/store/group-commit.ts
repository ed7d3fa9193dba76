import { Batch } from "@turnwright/platform/async/batch";
import pg from "pg";

/** Limits of a group commit. */
export interface GroupLimits {
  /** The most rows in a group. */
  readonly maxRows: number;
  /** Groups of one kind in flight at once; each takes a connection. */
  readonly inFlight: number;
}

/** Figures: docs/decisions/0010-group-commit.md. */
export const groupLimits: GroupLimits = { maxRows: 128, inFlight: 1 };

/** The most characters in a group. Long rows gain nothing from a group, and a group is in memory as a whole. */
const maxGroupSize = 1_000_000;
/** Milliseconds after which a statement counts as blocked by a lock, and the next group may start beside it. */
const patienceMs = 100;

/** A statement's row, keyed by column. */
type Row = Readonly<Record<string, unknown>>;

/** A row's columns and their SQL types, in the order of the parameters of a single row. */
export type RowColumns = Readonly<Record<string, string>>;

/**
 * The SQL source of a statement's rows, `i`: many in one JSON parameter, or a single one in a parameter per column,
 * which costs least. Join tables to it by `key = any (array[i.key])`. For a plain equality the planner may read the
 * whole index, which is cheap while the table is small, and keep that plan.
 */
export function rowsSource(columns: RowColumns, rows: "many" | "one"): string {
  const list = Object.entries(columns);
  if (rows === "many") return `json_to_recordset($1::json) as i(${list.map(([name, type]) => `${name} ${type}`).join(", ")})`;
  return `(select ${list.map(([name, type], index) => `$${index + 1}::${type} as ${name}`).join(", ")}) as i`;
}

/** A single row's parameters. */
export function rowValues(columns: RowColumns, row: Row): unknown[] {
  return Object.entries(columns).map(([name, type]) => {
    const value = row[name] ?? null;
    return type === "json" && value !== null ? JSON.stringify(value) : value;
  });
}

/** A write for one run. */
export interface GroupItem {
  /** UUID as the database prints it, in lower case. */
  readonly runId: string;
  readonly row: Row;
  /** Approximate number of characters in the row. */
  readonly size: number;
  /** Keys that, like the run, no two items of a group may share. */
  readonly keys: readonly string[];
}

/** The statements for one kind of write, in a group or alone. */
interface GroupStatement<Item extends GroupItem, Answer> {
  /**
   * The statement for many rows. It returns a row, with `run_id`, for each one that it wrote, omits those that it did
   * not write for any reason, and waits for no row lock.
   */
  together(items: readonly Item[]): { name: string; text: string };
  /**
   * Writes a single item: one that arrived alone, one that the group statement omitted, and each one of a group that
   * the database rejected as a whole.
   */
  alone(item: Item): Promise<Answer>;
}

/**
 * Makes a writer that groups the items that arrive while a statement of their kind is in flight: one round trip, one
 * transaction, one flush of the log. Rejects with the group's error when the group's outcome is unknown.
 */
export function createGroupWriter<Item extends GroupItem, Answer>(
  pool: pg.Pool,
  { together, alone }: GroupStatement<Item, Answer>,
  { maxRows, inFlight }: GroupLimits,
): (item: Item) => Promise<Answer> {
  // Undefined: the group statement omitted the item.
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
      let values: string[];
      try {
        values = [JSON.stringify(group.map(({ row }) => row))];
      } catch {
        // Each alone: only the row that cannot be written as JSON fails.
        return group.map(() => undefined);
      }
      try {
        const { rows } = await pool.query<Answer & { run_id: string }>({ ...together(group), values });
        const taken = new Map(rows.map((answer) => [answer.run_id, { answer }]));
        return group.map(({ runId }) => taken.get(runId));
      } catch (error) {
        // The database itself reports that nothing was written. When the outcome is unknown, the pool has already
        // translated the error to another class.
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
