import { createContextKey, type HandlerContext } from "@connectrpc/connect";
import { type Identity, Role } from "@turnwright/contract/auth/v1/identity";
import { ErrorReason, fail } from "../errors.ts";

/** Carries the user's internal token from service to service. */
export const internalTokenHeader = "x-turnwright-identity";
/** Carries the calling service's own token. */
export const serviceTokenHeader = "x-turnwright-service";
/** Carries the id of the request that all hops log. */
export const requestIdHeader = "x-request-id";
/** Carries the address of the client from the gateway, for limits of failures and for the audit log. */
export const clientAddressHeader = "x-turnwright-client-address";

/** The verified caller of an RPC; undefined where the method is public or called by a service on its own behalf. */
export const identityKey = createContextKey<Identity | undefined>(undefined, { description: "identity" });
/** The verified calling service; undefined for calls from outside of the mesh. */
export const callerServiceKey = createContextKey<string | undefined>(undefined, { description: "calling service" });
/** The services that the caller's certificate speaks for; undefined where no certificates are demanded. */
export const peerServicesKey = createContextKey<readonly string[] | undefined>(undefined, { description: "peer certificate" });

/** The verified caller; throws UNAUTHENTICATED when the call carries none. */
export function requireIdentity(ctx: HandlerContext): Identity {
  const identity = ctx.values.get(identityKey);
  if (identity === undefined) throw fail(ErrorReason.UNAUTHENTICATED, "This call needs a user's credentials.");
  return identity;
}

/** Whether an allow-list (tools or models of a token) has a name; an empty list or `*` allows all. */
export function allows(list: readonly string[], name: string): boolean {
  return list.length === 0 || list.includes("*") || list.includes(name);
}

/** Whether the caller is an admin. */
export function isAdmin(identity: Identity): boolean {
  return identity.role === Role.ADMIN;
}
