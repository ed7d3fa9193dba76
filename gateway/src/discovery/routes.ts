import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter, type HandlerContext } from "@connectrpc/connect";
import { Access } from "@turnwright/contract/auth/v1/access";
import {
  Health,
  type HealthCheckRequest,
  HealthCheckResponse_ServingStatus as Status,
} from "@turnwright/contract/grpc/health/v1/health";
import { ServerReflection } from "@turnwright/contract/grpc/reflection/v1/reflection";
import { ServerReflection as ServerReflectionAlpha } from "@turnwright/contract/grpc/reflection/v1alpha/reflection";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { FastifyRequest } from "fastify";
import type { AdmissionRule } from "../admission/admit.ts";
import type { GatewayConfig } from "../config.ts";
import { endedBecause } from "../http/disconnect.ts";
import { admittedRpc, admittedStreamer, failingPlainly } from "../rpc/rpc-plugin.ts";
import { createViews, reflectionAnswer } from "./reflection.ts";
import type { ServingStatus } from "./serving-status.ts";

type Reflection = GatewayConfig["SERVER_REFLECTION"];

/** Maximum number of requests on one reflection stream. */
const maxRequests = 1_000;

const open: AdmissionRule = { access: Access.PUBLIC, readsOnly: true, takesIdempotencyKey: false };
const forCallers: AdmissionRule = { access: Access.USER, readsOnly: true, takesIdempotencyKey: false };

/** The rule of a method of the discovery routes: health is open, reflection asks for a credential unless it is too. */
export function discoveryRule(method: DescMethod, request: FastifyRequest, reflection: Reflection): AdmissionRule {
  if (method.parent === Health) return open;
  return reflection === "everyone" && request.headers.authorization === undefined ? open : forCallers;
}

/** A signal that fires when the call ends, `closing` fires, or `afterMs` have passed. The handler calls `release`. */
function endOf({ signal }: HandlerContext, closing: AbortSignal, afterMs?: number) {
  const controller = new AbortController();
  const end = () => controller.abort();
  const timer = afterMs === undefined ? undefined : setTimeout(end, afterMs);
  for (const source of [signal, closing]) {
    if (source.aborted) end();
    source.addEventListener("abort", end);
  }
  return {
    signal: controller.signal,
    release() {
      clearTimeout(timer);
      for (const source of [signal, closing]) source.removeEventListener("abort", end);
    },
  };
}

/** Passes messages on until the signal fires. */
async function* until<T>(messages: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const { promise: ended, resolve } = Promise.withResolvers<undefined>();
  if (signal.aborted) resolve(undefined);
  signal.addEventListener("abort", () => resolve(undefined));
  const source = messages[Symbol.asyncIterator]();
  for (;;) {
    const next = source.next();
    // The client may go after the end.
    next.catch(() => {});
    const result = await Promise.race([next, ended]);
    if (result === undefined || result.done) return;
    yield result.value;
  }
}

/**
 * Routes of gRPC health and, unless it is off, server reflection (v1 and v1alpha). Health has the verdict of /ready for
 * the empty name and each service. A reflection stream shows what its caller may call, and ends after `streamMs`
 * milliseconds at the latest: the time for which a client may send a request.
 */
export function discoveryRoutes(deps: {
  services: readonly DescService[];
  reflection: Reflection;
  serving: ServingStatus;
  streamMs: number;
  /** Fires when the server shuts down. */
  closing: AbortSignal;
}): (router: ConnectRouter) => void {
  const { serving, closing } = deps;
  const reflecting = deps.reflection === "off" ? [] : [ServerReflection, ServerReflectionAlpha];
  const viewOf = createViews(deps.services, [Health, ...reflecting]);
  const known = new Set(["", ...viewOf(undefined).services]);
  const statusOf = (isServing: boolean) => ({ status: isServing ? Status.SERVING : Status.NOT_SERVING });

  async function* answers<T extends Parameters<typeof reflectionAnswer>[1], R extends { readonly messageRequest: T }>(
    requests: AsyncIterable<R>,
    context: HandlerContext,
  ) {
    const view = viewOf(admittedStreamer(context)?.identity);
    const { signal, release } = endOf(context, closing, deps.streamMs);
    let count = 0;
    try {
      for await (const originalRequest of until(requests, signal)) {
        count += 1;
        if (count > maxRequests) throw fail(ErrorReason.RATE_LIMITED, `A stream takes ${maxRequests} requests; open another.`);
        yield { originalRequest, messageResponse: reflectionAnswer(view, originalRequest.messageRequest) };
      }
      const ended = endedBecause(context.signal);
      if (ended !== undefined) throw ended;
    } catch (error) {
      failingPlainly(context);
      throw error;
    } finally {
      release();
    }
  }

  return (router) => {
    router.service(Health, {
      async check(_empty, context) {
        const { service } = admittedRpc(context).message as HealthCheckRequest;
        if (known.has(service)) return statusOf(await serving.isServing());
        failingPlainly(context);
        throw new ConnectError("Unknown service.", Code.NotFound);
      },
      async *watch(_empty, context) {
        const { message, request } = admittedRpc(context);
        const { service } = message as HealthCheckRequest;
        const { signal, release } = endOf(context, closing);
        try {
          if (!known.has(service)) yield { status: Status.SERVICE_UNKNOWN };
          for await (const isServing of serving.watch(signal, request.ip)) {
            if (known.has(service)) yield statusOf(isServing);
          }
          if (closing.aborted && known.has(service)) yield statusOf(false);
        } catch (error) {
          failingPlainly(context);
          throw error;
        } finally {
          release();
        }
      },
      async list() {
        const status = statusOf(await serving.isServing());
        return { statuses: Object.fromEntries([...known].map((name) => [name, status])) };
      },
    });
    if (deps.reflection === "off") return;
    router.service(ServerReflection, { serverReflectionInfo: answers });
    router.service(ServerReflectionAlpha, { serverReflectionInfo: answers });
  };
}
