import { create, type JsonObject } from "@bufbuild/protobuf";
import { type Timestamp, timestampDate, timestampFromDate, timestampNow } from "@bufbuild/protobuf/wkt";
import {
  type AuditEntry,
  AuditEntrySchema,
  type AuditVerification,
  AuditVerificationSchema,
} from "@turnwright/contract/auth/v1/audit";
import { verifyAuditLog } from "./audit-chain.ts";
import { decodeCursor, encodeCursor, listStart } from "./keyset-cursor.ts";
import type { MigratedService } from "./migrations.ts";
import type { Queryable } from "./pool.ts";

/** The entries to read. */
export interface AuditQuery {
  readonly limit?: number;
  readonly cursor: string;
  /** An action, or its noun; empty: all. */
  readonly event: string;
  /** Actor or subject; empty: any. */
  readonly user: string;
  readonly from?: Timestamp;
  readonly to?: Timestamp;
}

interface EntryRow {
  seq: number;
  at: Date;
  event: string;
  hash: Buffer;
}

/** The most entries that one call looks at. */
const lookedAt = 20_000;
/** Entries of a log have numbers instead of ids. */
const { id: anyId } = listStart;

/** Columns of the text `event`, in the order of `appendAudit`. */
interface EventText {
  action: string;
  outcome: string;
  actor_id: string;
  credential_id: string;
  subject: string;
  address: string;
  request_id: string;
  details: JsonObject;
}

function entryOf({ seq, at, event, hash }: EntryRow): AuditEntry {
  const text = JSON.parse(event) as EventText;
  return create(AuditEntrySchema, {
    sequence: BigInt(seq),
    at: timestampFromDate(at),
    action: text.action,
    outcome: text.outcome,
    actorId: text.actor_id,
    credentialId: text.credential_id,
    subject: text.subject,
    address: text.address,
    requestId: text.request_id,
    details: text.details,
    hash: hash.toString("hex"),
  });
}

/** A page of a service's audit log, newest first. Throws INVALID_REQUEST for a cursor of another list. */
export async function listAuditEntries(
  db: Queryable,
  schema: MigratedService,
  { limit = 50, cursor, event, user, from, to }: AuditQuery,
): Promise<{ entries: AuditEntry[]; nextCursor: string }> {
  const { createdUs: before } = decodeCursor(cursor);
  const { rows: bounds } = await db.query<{ oldest: number | null; newest: number | null }>(
    `select (select min(seq) from ${schema}.audit_log where at >= $1) as oldest,
       least($3::bigint - 1, (select max(seq) from ${schema}.audit_log where at < $2)) as newest`,
    [from ? timestampDate(from) : new Date(0), to ? timestampDate(to) : "infinity", before],
  );
  const { oldest, newest } = bounds[0] ?? { oldest: null, newest: null };
  if (oldest === null || newest === null) return { entries: [], nextCursor: "" };
  const first = Math.max(oldest, newest - lookedAt + 1);
  const { rows } = await db.query<EntryRow>(
    `select seq, at, event, hash from ${schema}.audit_log
     where seq between $1 and $2
       and ($3 = '' or event::json ->> 'action' = $3 or starts_with(event::json ->> 'action', $3 || '.'))
       and ($4 = '' or event::json ->> 'actor_id' = $4 or event::json ->> 'subject' = $4)
     order by seq desc limit $5`,
    [first, newest, event, user, limit + 1],
  );
  const shown = rows.slice(0, limit);
  const reached = rows.length > limit ? shown.at(-1)?.seq : first > oldest ? first : undefined;
  return {
    entries: shown.map(entryOf),
    nextCursor: reached === undefined ? "" : encodeCursor({ createdUs: reached, id: anyId }),
  };
}

/** Verifies a service's audit log; calls at the same time share one verification. */
export function auditVerifier(db: Queryable, schema: MigratedService): () => Promise<AuditVerification> {
  let running: Promise<AuditVerification> | undefined;
  const verify = async () => {
    const { entries, head, fault } = await verifyAuditLog(db, schema);
    return create(AuditVerificationSchema, {
      entries: BigInt(entries),
      head,
      brokenAt: BigInt(fault?.seq ?? 0),
      fault: fault?.what ?? "",
      checkedAt: timestampNow(),
    });
  };
  return () => {
    running ??= verify().finally(() => {
      running = undefined;
    });
    return running;
  };
}
