import type { HandlerContext } from "@connectrpc/connect";
import { clientAddressHeader, identityKey, requestIdHeader } from "../identity/identity.ts";
import type { Queryable } from "./pool.ts";

/** An event that must be provable later. Never contains a password, token or key. */
export interface AuditEvent {
  /** `noun.verb`, as `session.created`. */
  readonly action: string;
  readonly outcome: "success" | "failure";
  /** Id of the object acted on. */
  readonly subject?: string;
  /** More data, flat. */
  readonly details?: Readonly<Record<string, string | number | boolean | readonly string[]>>;
  /** UUID of the user, or words for an actor without an account, for a call that carries no identity. */
  readonly actorId?: string;
}

/**
 * Appends an event to the service's `audit_log`; a trigger numbers and dates it and chains it to the previous one. Call
 * it in the transaction of the reported change, so that both commit or neither. Without `ctx`, the service itself is
 * the actor.
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
