import { createContextKey, type HandlerContext } from "@connectrpc/connect";
import { type Identity, Role } from "@turnwright/contract/auth/v1/identity";
import { ErrorReason, fail } from "../errors.ts";

/** Name of the service that issues credentials and publishes the keys that sign them. */
export const authService = "auth";
/** Name of the service that carries users' calls into the mesh. */
export const gatewayService = "gateway";

/** Carries the user's internal token between services. */
export const internalTokenHeader = "x-turnwright-identity";
/** Carries the calling service's own token. */
export const serviceTokenHeader = "x-turnwright-service";
/** Carries the request id, which every hop logs. */
export const requestIdHeader = "x-request-id";
/** Carries the client's address from the gateway, for limits on failed attempts and for the audit log. */
export const clientAddressHeader = "x-turnwright-client-address";
/** Carries how the client names itself from the gateway, for lists of sessions. */
export const clientAgentHeader = "x-turnwright-client-agent";

/** The verified caller of an RPC; undefined when the method is public or a service calls on its own behalf. */
export const identityKey = createContextKey<Identity | undefined>(undefined, { description: "identity" });
/** The verified calling service; undefined for calls from outside the mesh. */
export const callerServiceKey = createContextKey<string | undefined>(undefined, { description: "calling service" });
/** The services named by the caller's certificate; undefined when no certificates are required. */
export const peerServicesKey = createContextKey<readonly string[] | undefined>(undefined, { description: "peer certificate" });

/** The verified caller; throws UNAUTHENTICATED when the call carries none. */
export function requireIdentity(ctx: HandlerContext): Identity {
  const identity = ctx.values.get(identityKey);
  if (identity === undefined) throw fail(ErrorReason.UNAUTHENTICATED, "This call needs a user's credentials.");
  return identity;
}

/** Whether an allow-list (tools or models of a token) contains a name; an empty list or `*` allows all. */
export function allows(list: readonly string[], name: string): boolean {
  return list.length === 0 || list.includes("*") || list.includes(name);
}

/** Whether the caller is an admin. */
export function isAdmin(identity: Identity): boolean {
  return identity.role === Role.ADMIN;
}
