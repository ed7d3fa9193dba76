import pg from "pg";

/** Class of a database error: the first two characters of its code. Empty for any other error. */
export function errorClass(error: unknown): string {
  return error instanceof pg.DatabaseError ? (error.code ?? "").slice(0, 2) : "";
}

/**
 * Whether the data itself is the cause, so that the same statement or reading fails again: data exceptions, integrity
 * violations, limits of the database, and rows that cannot be read. Outages, locks and full disks are no such faults.
 */
export function isDataFault(error: unknown): boolean {
  if (error instanceof pg.DatabaseError) return ["22", "23", "54"].includes(errorClass(error));
  return error instanceof TypeError || error instanceof RangeError || error instanceof SyntaxError;
}
