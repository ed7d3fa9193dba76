import { hash } from "node:crypto";
import type { MigratedService } from "./migrations.ts";
import type { Queryable } from "./pool.ts";

/** Result of an audit log's verification. */
export interface AuditReport {
  /** Number of entries read. */
  readonly entries: number;
  /** Hash of the newest entry, in hex. A copy kept elsewhere shows later whether the log was truncated. */
  readonly head: string;
  /** The first fault; undefined when the log is intact. */
  readonly fault: { readonly seq: number; readonly what: string } | undefined;
}

interface Row {
  seq: string;
  at: string;
  event: string;
  previous_hash: Buffer;
  hash: Buffer;
}

const pageSize = 5_000;
const sha256 = (...parts: (string | Buffer)[]) =>
  hash("sha256", Buffer.concat(parts.map((part) => Buffer.from(part as string))), "buffer");
const genesis = sha256("turnwright audit log");

function faultOf(row: Row, seq: number, previous: Buffer): string | undefined {
  if (Number(row.seq) !== seq) return `entry ${seq} is missing`;
  if (!row.previous_hash.equals(previous)) return "does not follow the entry before it";
  if (!row.hash.equals(sha256(previous, `${row.seq}|${row.at}|${row.event}`))) return "was changed";
  return undefined;
}

/**
 * Reads a schema's audit log from its beginning and verifies each link of its chain and its head. With `expected`, the
 * hash of an entry in hex, it is a fault if no entry has that hash: the log was truncated or rewritten.
 */
export async function verifyAuditLog(db: Queryable, schema: MigratedService, expected?: string): Promise<AuditReport> {
  let previous: Buffer = genesis;
  let entries = 0;
  let isExpectedSeen = expected === undefined || expected === genesis.toString("hex");
  for (;;) {
    const { rows } = await db.query<Row>(
      `select seq::text, to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at, event, previous_hash, hash
       from ${schema}.audit_log l where l.seq > $1 order by l.seq limit ${pageSize}`,
      [entries],
    );
    for (const row of rows) {
      const what = faultOf(row, entries + 1, previous);
      if (what !== undefined) return { entries, head: previous.toString("hex"), fault: { seq: entries + 1, what } };
      previous = row.hash;
      entries += 1;
      isExpectedSeen ||= previous.toString("hex") === expected;
    }
    if (rows.length < pageSize) break;
  }
  const { rows: heads } = await db.query<{ seq: string; hash: Buffer }>(`select seq::text, hash from ${schema}.audit_head`);
  const stored = heads[0];
  const head = previous.toString("hex");
  if (stored === undefined || Number(stored.seq) !== entries || !stored.hash.equals(previous)) {
    return {
      entries,
      head,
      fault: { seq: entries + 1, what: `the log ends after entry ${entries}, its head at ${stored?.seq ?? "nothing"}` },
    };
  }
  if (!isExpectedSeen) return { entries, head, fault: { seq: entries + 1, what: "no entry has the expected hash" } };
  return { entries, head, fault: undefined };
}
