import type { Message, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { create, type DescMessage, type DescMethod, type DescMethodStreaming, type DescMethodUnary } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ContextValues,
  createContextValues,
  type HandlerContext,
  type Interceptor,
  type StreamRequest,
  type StreamResponse,
  type Transport,
  type UnaryRequest,
  type UnaryResponse,
} from "@connectrpc/connect";
import { ErrorReason, fail } from "./errors.ts";
import type { Mount } from "./service.ts";

type AnyRequest = (UnaryRequest | StreamRequest) & { readonly deadline?: number };
type AnyNext = (request: AnyRequest) => Promise<UnaryResponse | StreamResponse>;
type Handler = (message: unknown, context: HandlerContext) => unknown;

const neverAborts = new AbortController().signal;

/** What a handler sees of an in-process call. Response headers are made when first asked for: most handlers set none. */
class InProcessContext implements HandlerContext {
  readonly protocolName = "in-process";
  readonly method: DescMethod;
  readonly signal: AbortSignal;
  readonly requestMethod = "POST";
  readonly requestHeader: Headers;
  readonly values: ContextValues;
  readonly url: string;
  readonly #deadline: number | undefined;
  #responseHeader: Headers | undefined;
  #responseTrailer: Headers | undefined;

  constructor(request: AnyRequest) {
    this.method = request.method;
    this.signal = request.signal;
    this.requestHeader = request.header;
    this.values = request.contextValues;
    this.url = request.url;
    this.#deadline = request.deadline;
  }

  get service() {
    return this.method.parent;
  }

  get responseHeader(): Headers {
    this.#responseHeader ??= new Headers();
    return this.#responseHeader;
  }

  get responseTrailer(): Headers {
    this.#responseTrailer ??= new Headers();
    return this.#responseTrailer;
  }

  timeoutMs(): number | undefined {
    return this.#deadline === undefined ? undefined : Math.max(0, this.#deadline - Date.now());
  }
}

/** Applies interceptors once, so that a call only runs them. */
function chain(last: AnyNext, interceptors: readonly Interceptor[]): AnyNext {
  return interceptors.reduceRight<AnyNext>((next, interceptor) => interceptor(next as never) as AnyNext, last);
}

function asMessage<D extends DescMessage>(desc: D, init: MessageInitShape<D>): MessageShape<D> {
  return (init as Partial<Message>).$typeName === undefined ? create(desc, init) : (init as MessageShape<D>);
}

function asError(reason: unknown): ConnectError {
  return ConnectError.from(reason ?? "The call was cancelled.", Code.Canceled);
}

/** The signal of a call: the caller's, or one that also fires at the deadline. */
function callSignal(signal: AbortSignal | undefined, timeoutMs: number | undefined): { signal: AbortSignal; done(): void } {
  if (timeoutMs === undefined) return { signal: signal ?? neverAborts, done: nothing };
  const controller = new AbortController();
  const timer = setTimeout(
    () => {
      controller.abort(fail(ErrorReason.DEADLINE_EXCEEDED, "The call took longer than its deadline allows."));
    },
    Math.max(0, timeoutMs),
  );
  const onAbort = () => controller.abort(signal?.reason);
  if (signal?.aborted) onAbort();
  else signal?.addEventListener("abort", onAbort, { once: true });
  return {
    signal: controller.signal,
    done() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    },
  };
}

function nothing(): void {}

/** Settles as `work` does, or rejects when the signal fires first: a handler that ignores its signal does not hold the caller. */
function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal === neverAborts) return work;
  if (signal.aborted) {
    work.catch(nothing);
    return Promise.reject(asError(signal.reason));
  }
  return new Promise<T>((resolve, reject) => {
    const onAbort = () => reject(asError(signal.reason));
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

/** Passes a handler's messages on; gives up when the signal fires and lets the handler's generator clean up. */
function responseMessages<T>(
  desc: DescMessage,
  source: AsyncIterable<T>,
  call: { signal: AbortSignal; done(): void },
): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]() {
      const iterator = source[Symbol.asyncIterator]();
      const finish = () => {
        call.done();
        iterator.return?.().then(nothing, nothing);
      };
      return {
        async next() {
          try {
            const result = await orAborted(iterator.next(), call.signal);
            if (result.done) call.done();
            else result.value = asMessage(desc, result.value as never) as T;
            return result;
          } catch (error) {
            finish();
            throw ConnectError.from(error);
          }
        },
        async return(value?: unknown) {
          finish();
          return { done: true as const, value };
        },
      };
    },
  };
}

async function single<T>(messages: AsyncIterable<T>): Promise<T> {
  for await (const message of messages) return message;
  throw fail(ErrorReason.INVALID_REQUEST, "The call carries no message.");
}

/**
 * A Transport that calls handlers of this process directly: messages by reference, no serialization. Interceptors of both sides
 * run as they do on the wire; abort signal and deadline are honoured; context values of the caller do not leak to the handler.
 * Serves unary and server-streaming methods.
 */
export function createInProcessTransport(options: {
  mounts: readonly Mount[];
  /** Server side, outermost first. */
  interceptors?: readonly Interceptor[];
  /** Client side, outermost first. */
  clientInterceptors?: readonly Interceptor[];
}): Transport {
  const routes = new Map<DescMethod, { url: string; next: AnyNext }>();
  const interceptors = options.interceptors ?? [];
  const clientInterceptors = options.clientInterceptors ?? [];

  for (const { service, impl } of options.mounts) {
    for (const method of service.methods) {
      const handler = (impl as Record<string, Handler | undefined>)[method.localName]?.bind(impl);
      if (handler === undefined) continue;
      const last: AnyNext = async (request) => {
        const context = new InProcessContext(request);
        const common = {
          service,
          method: method as never,
          get header() {
            return context.responseHeader;
          },
          get trailer() {
            return context.responseTrailer;
          },
        };
        if (!request.stream) {
          const output = await handler(request.message, context);
          return Object.assign(common, {
            stream: false as const,
            message: asMessage(method.output, output as never),
          }) as UnaryResponse;
        }
        const output = handler(await single(request.message), context) as AsyncIterable<Message>;
        return Object.assign(common, { stream: true as const, message: output }) as StreamResponse;
      };
      // The client's interceptors see the client's context values, the server's get fresh ones.
      const server = chain(last, interceptors);
      const boundary: AnyNext = (request) => server({ ...request, contextValues: createContextValues() } as AnyRequest);
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

  const requestOf = (
    method: DescMethod,
    url: string,
    signal: AbortSignal,
    timeoutMs: number | undefined,
    header: ConstructorParameters<typeof Headers>[0],
    contextValues: ContextValues | undefined,
  ) => ({
    service: method.parent,
    method: method as never,
    requestMethod: "POST",
    url,
    signal,
    header: new Headers(header),
    contextValues: (clientInterceptors.length === 0 ? undefined : contextValues) ?? createContextValues(),
    deadline: timeoutMs === undefined ? undefined : Date.now() + timeoutMs,
  });

  return {
    async unary<I extends DescMessage, O extends DescMessage>(
      method: DescMethodUnary<I, O>,
      signal: AbortSignal | undefined,
      timeoutMs: number | undefined,
      header: ConstructorParameters<typeof Headers>[0],
      input: MessageInitShape<I>,
      contextValues?: ContextValues,
    ): Promise<UnaryResponse<I, O>> {
      const route = routeOf(method);
      const call = callSignal(signal, timeoutMs);
      const request = requestOf(method, route.url, call.signal, timeoutMs, header, contextValues);
      try {
        const work = route.next(Object.assign(request, { stream: false as const, message: asMessage(method.input, input) }));
        return (await orAborted(work, call.signal)) as UnaryResponse<I, O>;
      } catch (error) {
        throw ConnectError.from(error);
      } finally {
        call.done();
      }
    },

    async stream<I extends DescMessage, O extends DescMessage>(
      method: DescMethodStreaming<I, O>,
      signal: AbortSignal | undefined,
      timeoutMs: number | undefined,
      header: ConstructorParameters<typeof Headers>[0],
      input: AsyncIterable<MessageInitShape<I>>,
      contextValues?: ContextValues,
    ): Promise<StreamResponse<I, O>> {
      const route = routeOf(method);
      const call = callSignal(signal, timeoutMs);
      const request = requestOf(method, route.url, call.signal, timeoutMs, header, contextValues);
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
