import type { DescMethodServerStreaming, DescMethodStreaming, DescMethodUnary, DescService, Message } from "@bufbuild/protobuf";
import type { ConnectRouter, HandlerContext, Transport } from "@connectrpc/connect";
import { Access } from "@turnwright/contract/auth/v1/access";
import { beforeError, lateErrorKey, lateTrailersOf } from "@turnwright/platform/rpc/late-error";
import { once } from "@turnwright/platform/rpc/plane";
import { type AdmissionRule, admissionRule } from "../admission/admit.ts";
import { callHeaders } from "../admission/call-headers.ts";
import type { HeaderSink } from "../http/answer-headers.ts";
import { passReplayed } from "../http/replayed.ts";
import { type AdmittedRpc, admittedRpc, failingPlainly } from "./rpc-plugin.ts";

/** The headers of an admitted call into the mesh. */
function forwardHeaders({ request, caller }: AdmittedRpc, rule: AdmissionRule): Headers {
  return new Headers(callHeaders(request, caller, rule));
}

function sinkOf(context: HandlerContext): HeaderSink {
  return { header: (name, value) => context.responseHeader.set(name, value) };
}

/**
 * Passes messages on; `onFirst` is called before the first one. Their error arrives after all of them, also at clients
 * that read gRPC with grpc-js.
 */
async function* errorLast(
  messages: AsyncIterable<Message>,
  onFirst: () => void,
  { request }: AdmittedRpc,
  context: HandlerContext,
): AsyncGenerator<Message> {
  const { protocolName, responseTrailer, signal } = context;
  let hasMessage = false;
  try {
    for await (const message of messages) {
      if (!hasMessage) onFirst();
      hasMessage = true;
      yield message;
    }
  } catch (error) {
    failingPlainly(context);
    if (!hasMessage || protocolName !== "grpc") throw error;
    if (request.headers[lateErrorKey] === undefined) {
      await beforeError(signal);
      throw error;
    }
    lateTrailersOf(error).forEach((value, key) => {
      responseTrailer.set(key, value);
    });
  }
}

/**
 * Routes that forward admitted Connect, gRPC-web and gRPC calls into the mesh, for every method that clients may call.
 * Knows no method by name. A unary call ends after `callTimeoutMs` unless its client sets a shorter deadline.
 */
export function proxyRoutes(deps: {
  services: readonly DescService[];
  transport: (service: DescService) => Transport;
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
          router.rpc(unary, async (_empty: Message, context: HandlerContext) => {
            const call = admittedRpc(context);
            const headers = forwardHeaders(call, rule);
            const timeoutMs = Math.min(context.timeoutMs() ?? deps.callTimeoutMs, deps.callTimeoutMs);
            try {
              const answer = await transport.unary(unary, context.signal, timeoutMs, headers, call.message);
              passReplayed(headers, answer, sinkOf(context));
              return answer.message;
            } catch (error) {
              failingPlainly(context);
              throw error;
            }
          });
        } else if (method.methodKind === "server_streaming") {
          const streaming = method as DescMethodStreaming;
          router.rpc(method as DescMethodServerStreaming, async function* (_empty: Message, context: HandlerContext) {
            const call = admittedRpc(context);
            const headers = forwardHeaders(call, rule);
            const response = await transport.stream(streaming, context.signal, context.timeoutMs(), headers, once(call.message));
            const onFirst = () => passReplayed(headers, response, sinkOf(context));
            yield* errorLast(response.message, onFirst, call, context);
          });
        }
      }
    }
  };
}
