import type { DescMessage, DescMethod, DescMethodStreaming, DescMethodUnary, MessageInitShape } from "@bufbuild/protobuf";
import {
  ConnectError,
  type ContextValues,
  type Interceptor,
  type StreamResponse,
  type Transport,
  type UnaryResponse,
} from "@connectrpc/connect";
import { ErrorReason, fail } from "../errors.ts";
import type { Mount } from "./mount.ts";
import {
  abortError,
  asMessage,
  callSignal,
  chain,
  createValues,
  errorFieldsOf,
  type Handler,
  type HeadersLike,
  handlerStep,
  neverAborts,
  nothing,
  type PlaneNext,
  type PlaneRequest,
  requestBase,
} from "./plane.ts";

/**
 * Settles as `work` does, or rejects when the signal fires first: a handler that ignores its signal does not hold the
 * caller.
 */
function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal === neverAborts) return work;
  if (signal.aborted) {
    work.catch(nothing);
    return Promise.reject(abortError(signal.reason));
  }
  return new Promise<T>((resolve, reject) => {
    const onAbort = () => reject(abortError(signal.reason));
    signal.addEventListener("abort", onAbort, { once: true });
    work.then(
      (value) => {
        signal.removeEventListener("abort", onAbort);
        resolve(value);
      },
      (error) => {
        signal.removeEventListener("abort", onAbort);
        reject(error);
      },
    );
  });
}

/** The error for the caller: its metadata has the headers and trailers that the handler had set, as on the wire. */
function withFields(error: unknown): ConnectError {
  const known = ConnectError.from(error);
  for (const fields of Object.values(errorFieldsOf(error))) {
    fields?.forEach((value: string, key: string) => {
      known.metadata.set(key, value);
    });
  }
  return known;
}

/**
 * Forwards a handler's messages; stops when the signal fires and lets the handler's generator clean up. Uses one
 * listener for the whole stream and no generator of its own: a message costs one promise.
 */
function responseMessages<T>(
  desc: DescMessage,
  source: AsyncIterable<T>,
  call: { signal: AbortSignal; done(): void },
): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]() {
      const { signal } = call;
      const iterator = source[Symbol.asyncIterator]();
      let rejectPending: ((error: ConnectError) => void) | undefined;
      const onAbort = () => {
        release();
        iterator.return?.().then(nothing, nothing);
        rejectPending?.(abortError(signal.reason));
      };
      const release = () => {
        signal.removeEventListener("abort", onAbort);
        call.done();
      };
      if (signal !== neverAborts) signal.addEventListener("abort", onAbort, { once: true });
      return {
        next() {
          if (signal.aborted) return Promise.reject(abortError(signal.reason));
          return new Promise<IteratorResult<T>>((resolve, reject) => {
            rejectPending = reject;
            iterator.next().then(
              (result) => {
                if (result.done) release();
                else result.value = asMessage(desc, result.value as never) as T;
                resolve(result);
              },
              (error) => {
                release();
                reject(ConnectError.from(error));
              },
            );
          });
        },
        async return(value?: unknown) {
          release();
          iterator.return?.().then(nothing, nothing);
          return { done: true as const, value };
        },
      };
    },
  };
}

/**
 * Creates a Transport that calls handlers of this process directly: messages are passed by reference, without
 * serialization. Interceptors of both sides run as they do on the wire; abort signal and deadline are honoured; the
 * caller's context values do not leak to the handler. Supports unary and server-streaming methods.
 */
export function createInProcessTransport(options: {
  mounts: readonly Mount[];
  /** Server side, outermost first. */
  interceptors?: readonly Interceptor[];
  /** Client side, outermost first. */
  clientInterceptors?: readonly Interceptor[];
}): Transport {
  const routes = new Map<DescMethod, { url: string; next: PlaneNext }>();
  const interceptors = options.interceptors ?? [];
  const clientInterceptors = options.clientInterceptors ?? [];

  for (const { service, impl } of options.mounts) {
    for (const method of service.methods) {
      const handler = (impl as Record<string, Handler | undefined>)[method.localName]?.bind(impl);
      if (handler === undefined) continue;
      const server = chain(handlerStep(method, handler, "in-process"), interceptors);
      // The client's interceptors see the client's context values; the server's get fresh ones.
      const boundary: PlaneNext = (request) => server({ ...request, contextValues: createValues() } as PlaneRequest);
      routes.set(method, {
        url: `in-process:///${service.typeName}/${method.name}`,
        next: clientInterceptors.length === 0 ? server : chain(boundary, clientInterceptors),
      });
    }
  }

  const routeOf = (method: DescMethod) => {
    const route = routes.get(method);
    if (route !== undefined) return route;
    throw fail(ErrorReason.UNIMPLEMENTED, `${method.parent.typeName}.${method.name} is not served here.`);
  };

  const open = (
    method: DescMethod,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    header: HeadersLike,
    values: ContextValues | undefined,
  ) => {
    const route = routeOf(method);
    const call = callSignal(signal, timeoutMs);
    const request = requestBase(method, route.url, {
      signal: call.signal,
      header: new Headers(header),
      contextValues: clientInterceptors.length === 0 ? undefined : values,
      deadline: timeoutMs === undefined ? undefined : Date.now() + timeoutMs,
    });
    return { route, call, request };
  };

  return {
    async unary<I extends DescMessage, O extends DescMessage>(
      method: DescMethodUnary<I, O>,
      signal: AbortSignal | undefined,
      timeoutMs: number | undefined,
      header: HeadersLike,
      input: MessageInitShape<I>,
      contextValues?: ContextValues,
    ): Promise<UnaryResponse<I, O>> {
      const { route, call, request } = open(method, signal, timeoutMs, header, contextValues);
      try {
        const work = route.next(Object.assign(request, { stream: false as const, message: asMessage(method.input, input) }));
        return (await orAborted(work, call.signal)) as UnaryResponse<I, O>;
      } catch (error) {
        throw withFields(error);
      } finally {
        call.done();
      }
    },

    async stream<I extends DescMessage, O extends DescMessage>(
      method: DescMethodStreaming<I, O>,
      signal: AbortSignal | undefined,
      timeoutMs: number | undefined,
      header: HeadersLike,
      input: AsyncIterable<MessageInitShape<I>>,
      contextValues?: ContextValues,
    ): Promise<StreamResponse<I, O>> {
      const { route, call, request } = open(method, signal, timeoutMs, header, contextValues);
      const messages = (async function* () {
        for await (const init of input) yield asMessage(method.input, init);
      })();
      try {
        const work = route.next(Object.assign(request, { stream: true as const, message: messages }));
        const response = (await orAborted(work, call.signal)) as StreamResponse<I, O>;
        return Object.assign(response, { message: responseMessages(method.output, response.message, call) });
      } catch (error) {
        call.done();
        throw ConnectError.from(error);
      }
    },
  };
}
