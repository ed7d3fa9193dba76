import pg from "pg";
import { ErrorReason, fail } from "../errors.ts";
import type { Logger } from "../logger.ts";

/** Runs statements: a pool, or the client of a transaction. */
export type Queryable = Pick<pg.Pool, "query">;

/** The client of a transaction; valid until its callback ends. */
export type Tx = pg.PoolClient;

const types = new pg.TypeOverrides();
types.setTypeParser(pg.types.builtins.INT8, (text) => {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError("a bigint column holds a value beyond 2^53");
  return value;
});
types.setTypeParser(pg.types.builtins.NUMERIC, Number);

/**
 * Creates a pool whose connections see one schema. `bigint` and `numeric` are read as numbers (a bigint beyond 2^53
 * rejects the query). Errors that mean "no database" (refused, lost, shutting down, unknown user) become
 * DATABASE_UNAVAILABLE; a statement that times out becomes DEADLINE_EXCEEDED; any other error keeps its SQLSTATE in
 * `code`.
 */
export function createPool(options: {
  /** `postgres://…` */
  url: string;
  /** Maximum number of open connections; 25 unless given. */
  max?: number;
  /** The only schema on the search path; the server's default unless given. */
  schema?: string;
  /** The role for all statements; the login's own unless given. The login must be a member of it. */
  role?: string;
  applicationName: string;
  logger: Logger;
  /** Milliseconds after which the server aborts a statement; 30 s unless given, 0 for never. */
  statementTimeoutMs?: number;
}): pg.Pool {
  const schema = options.schema === undefined ? "" : ` -c search_path=${options.schema}`;
  const role = options.role === undefined ? "" : ` -c role=${options.role}`;
  const { statementTimeoutMs = 30_000 } = options;
  const settings = `-c statement_timeout=${statementTimeoutMs} -c timezone=UTC${schema}${role}`;
  const pool = new pg.Pool({
    connectionString: withOptions(options.url, settings),
    max: options.max ?? 25,
    application_name: options.applicationName,
    options: settings,
    connectionTimeoutMillis: 5_000,
    // When the network swallows the answer, the server's own limit does not reach this process.
    query_timeout: statementTimeoutMs === 0 ? undefined : statementTimeoutMs + Math.min(statementTimeoutMs, 5_000),
    idleTimeoutMillis: 30_000,
    keepAlive: true,
    types,
  });
  // Without this listener, a connection that dies while idle would end the process.
  pool.on("error", (error) => options.logger.warn({ err: error }, "idle database connection lost"));
  // The pool stops listening to a connection that it closes; one that the server ends at that moment would do the same.
  pool.on("connect", (client) => client.on("error", ignore));
  pool.query = translating(pool.query.bind(pool)) as typeof pool.query;
  pool.connect = translating(pool.connect.bind(pool)) as typeof pool.connect;
  return pool;
}

function ignore(): void {}

/**
 * Puts the pool's settings into the URL: the driver lets the URL's own `options` (hosted databases route by them)
 * replace those of the pool.
 */
function withOptions(url: string, settings: string): string {
  if (!URL.canParse(url)) return url;
  const parsed = new URL(url);
  const given = parsed.searchParams.get("options");
  if (given === null) return url;
  parsed.searchParams.set("options", `${given} ${settings}`);
  // URLSearchParams writes a space as a plus sign, which libpq does not decode.
  parsed.search = parsed.search.replaceAll("+", "%20");
  return parsed.href;
}

/** Wraps a call so that the errors of its promise are translated. Callback calls pass through. */
function translating(call: (...args: never[]) => unknown): (...args: never[]) => unknown {
  return (...args) => {
    const result = call(...args);
    return result instanceof Promise ? result.catch(rethrow) : result;
  };
}

function rethrow(error: unknown): never {
  throw databaseError(error);
}

const lostCodes = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOENT",
  "57P01", // admin_shutdown
  "57P02", // crash_shutdown
  "57P03", // cannot_connect_now
  "53300", // too_many_connections
  "3D000", // invalid_catalog_name
  "28000", // invalid_authorization_specification
  "28P01", // invalid_password
]);

const lostMessages =
  /^(Query read timeout|Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error)/;

function isConnectionError(error: Error & { code?: unknown }): boolean {
  if (typeof error.code === "string") return lostCodes.has(error.code) || error.code.startsWith("08");
  return lostMessages.test(error.message);
}

/** Translates a statement's error: DATABASE_UNAVAILABLE, DEADLINE_EXCEEDED, or the driver's own error. */
export function databaseError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  if (isConnectionError(error)) {
    return fail(ErrorReason.DATABASE_UNAVAILABLE, "the database does not answer", { cause: error });
  }
  if ("code" in error && error.code === "57014") {
    return fail(ErrorReason.DEADLINE_EXCEEDED, "the database took too long", { cause: error });
  }
  return error;
}

/** Classes of SQLSTATE by which the server refuses the data of a statement, whenever and however often it is sent. */
const dataClasses: ReadonlySet<string> = new Set(["22", "23", "54"]);

/**
 * Whether the database refused a statement for good because of a value in it: bad text, a number out of range, a broken
 * constraint, too much of something. The statement had no effect.
 */
export function isDataRefused(error: unknown): boolean {
  return error instanceof pg.DatabaseError && dataClasses.has(error.code?.slice(0, 2) ?? "");
}

/**
 * Runs `work` in one transaction: commits when it resolves, rolls back and rethrows when it rejects. Every statement
 * inside must use `tx`; taking a second connection from the pool inside can deadlock.
 */
export async function transaction<T>(pool: pg.Pool, work: (tx: Tx) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  // A connection that dies between two statements reports it here; the next statement then rejects.
  const onError = (error: Error) => {
    broken = error;
  };
  client.on("error", onError);
  try {
    await client.query("begin");
    const result = await work(client);
    const { command } = await client.query("commit");
    // PostgreSQL answers a commit with ROLLBACK when a statement failed and its error was swallowed.
    if (command !== "COMMIT") throw new Error("the transaction was rolled back because a statement in it failed");
    return result;
  } catch (error) {
    await client.query("rollback").catch((rollbackError: Error) => {
      broken = rollbackError;
    });
    throw databaseError(error);
  } finally {
    client.off("error", onError);
    client.release(broken);
  }
}

/** A query that rejects with DATABASE_UNAVAILABLE after `timeoutMs`; its connection, which may hang, is discarded. */
export function answeredWithin(timeoutMs: number, query: pg.QueryConfig): pg.QueryConfig {
  const limited: pg.QueryConfig & { query_timeout: number } = { ...query, query_timeout: timeoutMs };
  return limited;
}

/** Whether a statement violated a unique index or primary key, optionally the named one. */
export function isUniqueViolation(error: unknown, constraint?: string): boolean {
  if (!(error instanceof Error) || !("code" in error) || error.code !== "23505") return false;
  return constraint === undefined || ("constraint" in error && error.constraint === constraint);
}

/** Whether PostgreSQL aborted a transaction because of a deadlock. */
export function isDeadlock(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "40P01";
}
