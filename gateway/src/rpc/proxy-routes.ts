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

/** The first message of a stream; undefined when it ends without one. */
async function firstOf(messages: AsyncIterator<Message>, context: HandlerContext): Promise<Message | undefined> {
  try {
    const first = await messages.next();
    return first.done ? undefined : first.value;
  } catch (error) {
    failingPlainly(context);
    throw error;
  }
}

/**
 * Passes on the messages after the first one. Their error arrives after all of them, also at clients that read gRPC
 * with grpc-js.
 */
async function* errorLast(messages: AsyncIterator<Message>, { request }: AdmittedRpc, context: HandlerContext) {
  const { protocolName, responseTrailer, signal } = context;
  try {
    for await (const message of { [Symbol.asyncIterator]: () => messages }) yield message;
  } catch (error) {
    failingPlainly(context);
    if (protocolName !== "grpc") throw error;
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
            if (call.later === undefined) {
              const headers = forwardHeaders(call, rule);
              // The call outlives this context, which ends when the plugin sends the later messages itself.
              const { signal } = call;
              const response = await transport.stream(streaming, signal, context.timeoutMs(), headers, once(call.message));
              const messages = response.message[Symbol.asyncIterator]() as AsyncIterator<Message>;
              const first = await firstOf(messages, context);
              if (first === undefined) return;
              passReplayed(headers, response, sinkOf(context));
              call.later = messages;
              yield first;
            }
            yield* errorLast(call.later, call, context);
          });
        }
      }
    }
  };
}
