import type { CallOptions } from "@connectrpc/connect";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import {
  clientAddressHeader,
  clientAgentHeader,
  internalTokenHeader,
  requestIdHeader,
} from "@turnwright/platform/identity/identity";
import { idempotencyKeyHeader } from "@turnwright/platform/rpc/idempotency-key";
import type { FastifyRequest } from "fastify";
import type { AdmissionRule } from "./admit.ts";
import type { Caller } from "./authentication.ts";

const traceparentShape = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;
const tracestateShape = /^[\x21-\x7e](?:[\x20-\x7e]{0,510}[\x21-\x7e])?$/;

const idempotencyKeyShape = /^[\x21-\x7e]{1,255}$/;

/** The client's idempotency key. Throws INVALID_REQUEST. */
function idempotencyKeyOf({ headers }: FastifyRequest): string | undefined {
  const key = headers[idempotencyKeyHeader];
  if (key === undefined) return undefined;
  if (typeof key === "string" && idempotencyKeyShape.test(key)) return key;
  throw fail(ErrorReason.INVALID_REQUEST, "Idempotency-Key: must be 1 to 255 visible ASCII characters", {
    param: "Idempotency-Key",
  });
}

/** Characters of a client's name that are kept. */
const maxAgentUnits = 300;

/** How the client names itself, as visible ASCII; empty: it does not. */
function agentOf({ headers }: FastifyRequest): string {
  const agent = headers["user-agent"]?.slice(0, maxAgentUnits) ?? "";
  return agent.replaceAll(/[^\x20-\x7e]/g, "?").trim();
}

/**
 * The headers of every RPC made for a request: identity or the client's name, request id, idempotency key (where the
 * method takes one) and trace context (where well-formed). Throws INVALID_REQUEST for a malformed key.
 */
export function callHeaders(
  request: FastifyRequest,
  caller: Caller | undefined,
  rule?: Pick<AdmissionRule, "takesIdempotencyKey">,
): Record<string, string> {
  const headers: Record<string, string> = { [requestIdHeader]: request.id, [clientAddressHeader]: request.ip };
  const agent = caller === undefined ? agentOf(request) : "";
  if (agent !== "") headers[clientAgentHeader] = agent;
  if (caller !== undefined) headers[internalTokenHeader] = caller.internalToken;
  const key = rule?.takesIdempotencyKey ? idempotencyKeyOf(request) : undefined;
  if (key !== undefined) headers[idempotencyKeyHeader] = key;
  const { traceparent, tracestate } = request.headers;
  if (typeof traceparent === "string" && traceparentShape.test(traceparent)) {
    headers.traceparent = traceparent;
    if (typeof tracestate === "string" && tracestateShape.test(tracestate)) headers.tracestate = tracestate;
  }
  return headers;
}

/** Options of the RPC made for a request; a disconnect of the client cancels it. */
export function callOptions(
  request: FastifyRequest,
  caller: Caller | undefined,
  signal: AbortSignal,
  timeoutMs?: number,
): CallOptions {
  return { headers: callHeaders(request, caller), signal, timeoutMs };
}
