import pg from "pg";
import { ErrorReason, fail } from "../errors.ts";
import { createFailureLog } from "../failure-log.ts";
import type { Logger } from "../logger.ts";
import { DatabaseClient } from "./database-client.ts";
import { databaseError, isConnectionError, isRefusedByState } from "./database-errors.ts";
import { noteRefusal } from "./database-health.ts";

export { databaseError, isDataRefused, isDeadlock, isUniqueViolation } from "./database-errors.ts";

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

/** Settings of a pool's connections by name, as for `set`. */
export type PoolSettings = Readonly<Record<string, string>>;

/**
 * Creates a pool whose connections see one schema, directly or through a pooler. `bigint` and `numeric` are read as
 * numbers (a bigint beyond 2^53 rejects the query). Errors that mean "no database" (refused, lost, shutting down, full
 * disk, unknown user) become DATABASE_UNAVAILABLE; a statement that times out becomes DEADLINE_EXCEEDED; any other
 * error keeps its SQLSTATE in `code`. A statement that its caller no longer awaits is cancelled and keeps its place in
 * the pool until the server has stopped it, so there are never more than `max` backends.
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
  /** Further settings of the connections. */
  settings?: PoolSettings;
  /** Whether named statements are prepared; true unless given. */
  isPrepared?: boolean;
}): pg.Pool {
  const { schema, role, statementTimeoutMs = 30_000, isPrepared = true } = options;
  const settings: [string, string][] = [
    ...(role === undefined ? [] : [["role", role] satisfies [string, string]]),
    ...(schema === undefined ? [] : [["search_path", schema] satisfies [string, string]]),
    ["statement_timeout", String(statementTimeoutMs)],
    ["timezone", "UTC"],
    ...Object.entries(options.settings ?? {}),
  ];
  class PoolClient extends DatabaseClient {
    constructor(config?: pg.ClientConfig) {
      super(config, { settings, isPrepared });
    }
  }
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.max ?? 25,
    application_name: options.applicationName,
    connectionTimeoutMillis: 5_000,
    // When the network swallows the answer, the server's own limit does not reach this process.
    query_timeout: statementTimeoutMs === 0 ? undefined : statementTimeoutMs + Math.min(statementTimeoutMs, 5_000),
    idleTimeoutMillis: 30_000,
    keepAlive: true,
    types,
    Client: PoolClient,
    onConnect: (client) => (client as unknown as DatabaseClient).enter(),
  });
  const failures = createFailureLog(options.logger, { perKind: 1 });
  const lost = { message: "idle database connection lost", subject: [], fields: () => ({ schema }) };
  // Without this listener, a connection that dies while idle would end the process. A pool that ends loses them all.
  pool.on("error", (error) => void (pool.ending || failures.warn({ ...lost, error })));
  // The pool stops listening to a connection that it closes; one that the server ends at that moment would do the same.
  pool.on("connect", (client) => client.on("error", ignore));
  const connect = pool.connect.bind(pool);
  pool.connect = (() =>
    connect().catch((error: unknown) => {
      throw failureOf(pool, error);
    })) as typeof pool.connect;
  pool.query = ((query: Statement, values?: unknown[]) => queryOnce(pool, connect, query, values)) as typeof pool.query;
  return pool;
}

function ignore(): void {}

type Statement = string | (pg.QueryConfig & { signal?: AbortSignal });

async function queryOnce(
  pool: pg.Pool,
  connect: () => Promise<pg.PoolClient>,
  statement: Statement,
  values?: unknown[],
): Promise<unknown> {
  const client = await connect().catch((error: unknown) => {
    throw failureOf(pool, error);
  });
  const signal = typeof statement === "string" ? undefined : statement.signal;
  if (signal?.aborted) {
    client.release();
    throw abandoned();
  }
  let onAbort: (() => void) | undefined;
  try {
    const sent: Promise<unknown> = client.query(statement as string, values as never);
    const overtaken = new Promise<never>((_resolve, reject) => {
      if (signal === undefined) return;
      onAbort = () => {
        stopAndGiveBack(client);
        reject(abandoned());
      };
      signal.addEventListener("abort", onAbort, { once: true });
    });
    const result = await (signal === undefined ? sent : Promise.race([sent, overtaken]));
    client.release();
    return result;
  } catch (error) {
    if (!signal?.aborted) giveBack(client, error);
    throw failureOf(pool, error);
  } finally {
    if (onAbort !== undefined) signal?.removeEventListener("abort", onAbort);
  }
}

function abandoned(): Error {
  return fail(ErrorReason.DATABASE_UNAVAILABLE, "the statement was abandoned: another attempt has answered");
}

/**
 * Returns a connection after a failed statement. One whose statement goes on in the server comes back when it has been
 * stopped; a lost one is closed.
 */
export function giveBack(client: pg.PoolClient, error: unknown): void {
  if (hasTimedOut(error)) stopAndGiveBack(client);
  else client.release(error instanceof Error && isConnectionError(error) ? error : undefined);
}

function stopAndGiveBack(client: pg.PoolClient): void {
  databaseClient(client)
    .abandon()
    .then(
      () => client.release(),
      (error: Error) => client.release(error),
    );
}

/** The driver's client of a pool of `createPool`. */
export function databaseClient(client: pg.PoolClient): DatabaseClient {
  return client as unknown as DatabaseClient;
}

function hasTimedOut(error: unknown): boolean {
  return error instanceof Error && error.message === "Query read timeout";
}

/** As `databaseError`, and notes what the pool's database lacks, for `databasePing`. */
export function failureOf(pool: object, error: unknown): unknown {
  const translated = databaseError(error);
  if (isRefusedByState(error) && translated instanceof Error) noteRefusal(pool, translated);
  return translated;
}

/**
 * Runs `work` in one transaction: commits when it resolves, rolls back and rethrows when it rejects. Every statement
 * inside must use `tx`; taking a second connection from the pool inside can deadlock.
 */
export async function transaction<T>(pool: pg.Pool, work: (tx: Tx) => Promise<T>, userId = ""): Promise<T> {
  const client = await pool.connect();
  const driver = databaseClient(client);
  let broken: Error | undefined;
  // A connection that dies between two statements reports it here; the next statement then rejects.
  const onError = (error: Error) => {
    broken = error;
  };
  client.on("error", onError);
  const end = () => {
    driver.shownUser = "";
    client.off("error", onError);
    client.release(broken);
  };
  try {
    driver.shownUser = userId;
    await driver.begin();
    const result = await work(client);
    const { command } = await client.query("commit");
    // PostgreSQL answers a commit with ROLLBACK when a statement failed and its error was swallowed.
    if (command !== "COMMIT") throw new Error("the transaction was rolled back because a statement in it failed");
    end();
    return result;
  } catch (error) {
    // The rollback waits for the statement in flight, the caller does not.
    const stopped = hasTimedOut(error) ? driver.abandon() : undefined;
    const rolledBack = Promise.all([client.query("rollback"), stopped])
      .catch(onError)
      .then(end);
    if (stopped === undefined) await rolledBack;
    throw failureOf(pool, error);
  }
}

/**
 * A query that rejects with DATABASE_UNAVAILABLE after `timeoutMs`, or when `signal` aborts. The server is then told to
 * stop it.
 */
export function answeredWithin(timeoutMs: number, query: pg.QueryConfig, signal?: AbortSignal): pg.QueryConfig {
  const limited: pg.QueryConfig & { query_timeout: number; signal?: AbortSignal } = {
    ...query,
    query_timeout: timeoutMs,
    signal,
  };
  return limited;
}

/** Runs the statements of a pool until `signal` aborts: those in flight are then cancelled, and reject. */
export function abortable(pool: pg.Pool, signal: AbortSignal): Queryable {
  const query = (statement: string | pg.QueryConfig, values?: unknown[]) =>
    pool.query({ ...(typeof statement === "string" ? { text: statement } : statement), signal } as pg.QueryConfig, values);
  return { query: query as pg.Pool["query"] };
}
