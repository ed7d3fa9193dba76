import type { HandlerContext } from "@connectrpc/connect";
import { clientAddressHeader, identityKey, requestIdHeader } from "../identity/identity.ts";
import type { Queryable } from "./pool.ts";

/** Something that shall be provable later. Never holds a password, token or key. */
export interface AuditEvent {
  /** `noun.verb`, as `session.created`. */
  readonly action: string;
  readonly outcome: "success" | "failure";
  /** What it was done to: an id. */
  readonly subject?: string;
  /** More, flat. */
  readonly details?: Readonly<Record<string, string | number | boolean | readonly string[]>>;
  /** UUID of the user, where the call carries no identity. */
  readonly actorId?: string;
}

/**
 * Adds an event to the service's `audit_log`, whose trigger numbers it, dates it and chains it to the one before. In the transaction of what it
 * tells of, so that neither stands without the other. Without a call, it is what the service did by itself.
 */
export async function appendAudit(db: Queryable, ctx: HandlerContext | undefined, event: AuditEvent): Promise<void> {
  const identity = ctx?.values.get(identityKey);
  const text = JSON.stringify({
    action: event.action,
    outcome: event.outcome,
    actor_id: event.actorId ?? identity?.userId ?? "",
    credential_id: identity?.tokenId ?? "",
    subject: event.subject ?? "",
    address: ctx?.requestHeader.get(clientAddressHeader) ?? "",
    request_id: ctx?.requestHeader.get(requestIdHeader) ?? "",
    details: event.details ?? {},
  });
  await db.query({ name: "append-audit", text: "insert into audit_log (event) values ($1)", values: [text] });
}
