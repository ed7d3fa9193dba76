import type { CallOptions } from "@connectrpc/connect";
import { Access } from "@turnwright/contract/auth/v1/access";
import { internalTokenHeader, requestIdHeader } from "@turnwright/platform/identity";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Authenticator, Caller } from "./authentication.ts";
import type { HeaderSink, Limits } from "./limits.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** Who calls, once it is known; for the access log. */
    caller?: Caller;
  }
}

/** What admits a request. */
export interface Admission {
  readonly authenticator: Authenticator;
  readonly limits: Limits;
}

const sinks = new WeakMap<FastifyReply, HeaderSink>();

function sinkOf(reply: FastifyReply): HeaderSink {
  let sink = sinks.get(reply);
  if (sink === undefined) {
    sink = { set: (name, value) => void reply.header(name, value) };
    sinks.set(reply, sink);
  }
  return sink;
}

/** Admits a request by its method's access: authenticates and counts it. Throws what the client shall see. */
export async function admit(
  { authenticator, limits }: Admission,
  access: Access,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<Caller | undefined> {
  if (access === Access.PUBLIC) {
    // Reading public keys is free; what checks or makes credentials is not.
    if (request.method !== "GET" && request.method !== "HEAD") await limits.takeAddress(request.ip, sinkOf(reply));
    return undefined;
  }
  const known = authenticator.authenticate(request.headers.authorization);
  const caller = known instanceof Promise ? await known : known;
  request.caller = caller;
  await limits.takeToken(caller.identity, sinkOf(reply));
  return caller;
}

/** Options of the RPC that a request becomes: identity, request id and trace context travel, the client's going away cancels it. */
export function callOptions(
  request: FastifyRequest,
  caller: Caller | undefined,
  signal: AbortSignal,
  timeoutMs?: number,
): CallOptions {
  const headers: Record<string, string> = { [requestIdHeader]: request.id };
  if (caller !== undefined) headers[internalTokenHeader] = caller.internalToken;
  const { traceparent, tracestate } = request.headers;
  if (typeof traceparent === "string") headers.traceparent = traceparent;
  if (typeof tracestate === "string") headers.tracestate = tracestate;
  return { headers, signal, timeoutMs };
}

/** A signal that fires when the client goes away before it has its answer. */
export function disconnectSignal(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  reply.raw.once("close", () => {
    if (!reply.raw.writableFinished) controller.abort();
  });
  return controller.signal;
}
