import type { DescMethodServerStreaming, DescMethodStreaming, DescMethodUnary, DescService, Message } from "@bufbuild/protobuf";
import type { ConnectRouter, HandlerContext, Transport } from "@connectrpc/connect";
import { type ContextValues, createContextKey, createContextValues } from "@connectrpc/connect";
import { Access } from "@turnwright/contract/auth/v1/access";
import { internalTokenHeader, requestIdHeader } from "@turnwright/platform/identity";
import { accessOf } from "@turnwright/platform/interceptors";
import type { FastifyRequest } from "fastify";
import type { Admission } from "./call.ts";

/** The address and request id of a proxied call. */
const originKey = createContextKey<{ ip: string; requestId: string }>({ ip: "", requestId: "" }, { description: "origin" });

/** Carries what the proxy needs of the HTTP request. */
export function originValues(request: FastifyRequest): ContextValues {
  return createContextValues().set(originKey, { ip: request.ip, requestId: request.id });
}

/** Admits a proxied call and gives the headers under which it goes on. */
async function forwardHeaders(admission: Admission, access: Access, context: HandlerContext): Promise<Headers> {
  const { ip, requestId } = context.values.get(originKey);
  const headers = new Headers({ [requestIdHeader]: requestId });
  for (const name of ["traceparent", "tracestate"]) {
    const value = context.requestHeader.get(name);
    if (value !== null) headers.set(name, value);
  }
  if (access === Access.PUBLIC) {
    await admission.limits.takeAddress(ip, context.responseHeader);
    return headers;
  }
  const caller = await admission.authenticator.authenticate(context.requestHeader.get("authorization") ?? undefined);
  await admission.limits.takeToken(caller.identity, context.responseHeader);
  headers.set(internalTokenHeader, caller.internalToken);
  return headers;
}

/**
 * Routes that pass Connect, gRPC-web and gRPC calls of clients on into the mesh, for every method that is not for services of the mesh.
 * Knows no method by name.
 */
export function proxyRoutes(deps: {
  services: readonly DescService[];
  transport: (service: DescService) => Transport;
  admission: Admission;
}): (router: ConnectRouter) => void {
  return (router) => {
    for (const service of deps.services) {
      const transport = deps.transport(service);
      for (const method of service.methods) {
        const access = accessOf(method);
        if (access === Access.SERVICE || access === Access.UNSPECIFIED) continue;
        if (method.methodKind === "unary") {
          const unary = method as DescMethodUnary;
          router.rpc(unary, async (input: Message, context: HandlerContext) => {
            const headers = await forwardHeaders(deps.admission, access, context);
            return (await transport.unary(unary, context.signal, context.timeoutMs(), headers, input)).message;
          });
        } else if (method.methodKind === "server_streaming") {
          const streaming = method as DescMethodStreaming;
          router.rpc(method as DescMethodServerStreaming, async function* (input: Message, context: HandlerContext) {
            const headers = await forwardHeaders(deps.admission, access, context);
            const messages = async function* () {
              yield input;
            };
            const response = await transport.stream(streaming, context.signal, context.timeoutMs(), headers, messages());
            yield* response.message;
          });
        }
      }
    }
  };
}
