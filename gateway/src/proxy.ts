import type { DescMethodServerStreaming, DescMethodStreaming, DescMethodUnary, DescService, Message } from "@bufbuild/protobuf";
import type { ConnectRouter, HandlerContext, Transport } from "@connectrpc/connect";
import { type ContextValues, createContextKey, createContextValues } from "@connectrpc/connect";
import { Access } from "@turnwright/contract/auth/v1/access";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { FastifyRequest } from "fastify";
import { type Admission, type AdmissionRule, admissionRule, admit, callHeaders } from "./call.ts";
import { passReplayed } from "./replayed.ts";

const requestKey = createContextKey<FastifyRequest | undefined>(undefined, { description: "HTTP request" });

/** Carries the HTTP request to the handlers of `proxyRoutes`. */
export function requestValues(request: FastifyRequest): ContextValues {
  return createContextValues().set(requestKey, request);
}

/** Admits a proxied call and gives the headers under which it goes on, and the signal that ends it. */
async function forwardHeaders(
  admission: Admission,
  rule: AdmissionRule,
  context: HandlerContext,
): Promise<{ headers: Headers; signal: AbortSignal }> {
  const request = context.values.get(requestKey);
  if (request === undefined) throw fail(ErrorReason.INTERNAL, "a proxied call came without its HTTP request");
  const sink = { header: (name: string, value: string) => context.responseHeader.set(name, value) };
  const caller = await admit(admission, rule, request, sink);
  request.disconnect ??= new AbortController();
  const signal = AbortSignal.any([context.signal, request.disconnect.signal]);
  return { headers: new Headers(callHeaders(request, caller, rule)), signal };
}

/**
 * Routes that pass Connect, gRPC-web and gRPC calls of clients on into the mesh, for every method that is not for services of the mesh.
 * Knows no method by name. A unary call ends after `callTimeoutMs` unless its client sets less.
 */
export function proxyRoutes(deps: {
  services: readonly DescService[];
  transport: (service: DescService) => Transport;
  admission: Admission;
  callTimeoutMs: number;
}): (router: ConnectRouter) => void {
  return (router) => {
    for (const service of deps.services) {
      const transport = deps.transport(service);
      for (const method of service.methods) {
        const rule = admissionRule(method);
        if (rule.access === Access.SERVICE || rule.access === Access.UNSPECIFIED) continue;
        if (method.methodKind === "unary") {
          const unary = method as DescMethodUnary;
          router.rpc(unary, async (input: Message, context: HandlerContext) => {
            const { headers, signal } = await forwardHeaders(deps.admission, rule, context);
            const timeoutMs = Math.min(context.timeoutMs() ?? deps.callTimeoutMs, deps.callTimeoutMs);
            const answer = await transport.unary(unary, signal, timeoutMs, headers, input);
            passReplayed(headers, answer, { header: (name, value) => context.responseHeader.set(name, value) });
            return answer.message;
          });
        } else if (method.methodKind === "server_streaming") {
          const streaming = method as DescMethodStreaming;
          router.rpc(method as DescMethodServerStreaming, async function* (input: Message, context: HandlerContext) {
            const { headers, signal } = await forwardHeaders(deps.admission, rule, context);
            const messages = async function* () {
              yield input;
            };
            const response = await transport.stream(streaming, signal, context.timeoutMs(), headers, messages());
            yield* response.message;
          });
        }
      }
    }
  };
}
