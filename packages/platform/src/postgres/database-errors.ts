import pg from "pg";
import { ErrorReason, fail } from "../errors.ts";

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
  "57P04", // database_dropped
  "57P05", // idle_session_timeout
  "25P03", // idle_in_transaction_session_timeout
  "3D000", // invalid_catalog_name
  "28000", // invalid_authorization_specification
  "28P01", // invalid_password
]);

const lostMessages =
  /^(Query read timeout|Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error)/;

/** Whether the connection of a failed statement is lost, or may hang. */
export function isConnectionError(error: Error & { code?: unknown }): boolean {
  if (typeof error.code === "string") return lostCodes.has(error.code) || error.code.startsWith("08");
  return lostMessages.test(error.message);
}

/** SQLSTATEs by which a running server says what it lacks. A lack in its state, not of one statement, fails /ready. */
const lacks: Readonly<Record<string, { words: string; isState: boolean }>> = {
  "53000": { words: "the database lacks a resource", isState: false },
  "53100": { words: "the database's disk is full", isState: true },
  "53200": { words: "the database has no memory left", isState: false },
  "53300": { words: "the database has no connection left", isState: true },
  "53400": { words: "the database is at a limit of its configuration", isState: false },
  "57P03": { words: "the database is starting or stopping", isState: true },
  "58030": { words: "the database cannot read or write its files", isState: true },
  "25006": { words: "the database is read-only", isState: true },
};

/** The words for what a running server lacks, as in the messages of errors. */
export const databaseLacks: ReadonlySet<string> = new Set(Object.values(lacks).map(({ words }) => words));

/** SQLSTATEs of a prepared statement that the connection has and its backend has not, or the other way round. */
const preparedCodes: ReadonlySet<string> = new Set(["26000", "42P05"]);

/** Translates a statement's error: DATABASE_UNAVAILABLE, DEADLINE_EXCEEDED, or the driver's own error. */
export function databaseError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  const lack = lacks[code];
  if (lack !== undefined) return fail(ErrorReason.DATABASE_UNAVAILABLE, lack.words, { cause: error });
  if (preparedCodes.has(code)) return fail(ErrorReason.DATABASE_UNAVAILABLE, preparedFault, { cause: error });
  if (isConnectionError(error)) {
    return fail(ErrorReason.DATABASE_UNAVAILABLE, "the database does not answer", { cause: error });
  }
  if (code === "57014") {
    return fail(ErrorReason.DEADLINE_EXCEEDED, "the database took too long", { cause: error });
  }
  return error;
}

/** The remedy where a pooler does not keep prepared statements. */
export const preparedFault =
  "the pooler in front of PostgreSQL loses prepared statements: set DB_PREPARED_STATEMENTS=off, or use PgBouncer 1.21 or newer";

/** Whether the server refused a statement or a connection for a state of its own that affects others too. */
export function isRefusedByState(error: unknown): boolean {
  return error instanceof Error && "code" in error && lacks[String(error.code)]?.isState === true;
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

/** Whether a statement violated a unique index or primary key, optionally the named one. */
export function isUniqueViolation(error: unknown, constraint?: string): boolean {
  if (!(error instanceof Error) || !("code" in error) || error.code !== "23505") return false;
  return constraint === undefined || ("constraint" in error && error.constraint === constraint);
}

/** Whether PostgreSQL aborted a transaction because of a deadlock. */
export function isDeadlock(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "40P01";
}
