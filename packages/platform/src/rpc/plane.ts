/** Common to all planes: how a call reaches a handler, and the context that the handler gets. */
import {
  create,
  type DescMessage,
  type DescMethod,
  type DescService,
  type Message,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ContextKey,
  type ContextValues,
  type HandlerContext,
  type Interceptor,
  type StreamRequest,
  type StreamResponse,
  type UnaryRequest,
  type UnaryResponse,
} from "@connectrpc/connect";
import { ErrorReason, fail } from "../errors.ts";

/** A request passing through interceptors; `deadline` is a time in milliseconds. */
export type PlaneRequest = (UnaryRequest | StreamRequest) & { readonly deadline?: number };
/** The rest of the chain. */
export type PlaneNext = (request: PlaneRequest) => Promise<UnaryResponse | StreamResponse>;
/** A handler of a ServiceImpl, for any method. */
export type Handler = (message: unknown, context: HandlerContext) => unknown;
/** Values from which Headers can be constructed. */
export type HeadersLike = ConstructorParameters<typeof Headers>[0];

/** A signal for calls that cannot be cancelled. */
export const neverAborts: AbortSignal = new AbortController().signal;

/** Does nothing. */
export function nothing(): void {}

/** Response headers and trailers that a unary handler set before it threw. */
interface ErrorFields {
  readonly header?: Headers;
  readonly trailer?: Headers;
}

const errorFields = new WeakMap<Error, ErrorFields>();
const noFields: ErrorFields = {};

/** The headers and trailers that a unary handler had set when it threw this error. */
export function errorFieldsOf(error: unknown): ErrorFields {
  return (error instanceof Error ? errorFields.get(error) : undefined) ?? noFields;
}

/** The context of a handler. Response headers are created on first access: most handlers set none. */
export class PlaneContext implements HandlerContext {
  readonly protocolName: string;
  readonly method: DescMethod;
  readonly signal: AbortSignal;
  readonly requestMethod = "POST";
  readonly requestHeader: Headers;
  readonly values: ContextValues;
  readonly url: string;
  readonly #deadline: number | undefined;
  #responseHeader: Headers | undefined;
  #responseTrailer: Headers | undefined;

  constructor(request: PlaneRequest, protocolName: string) {
    this.protocolName = protocolName;
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

  /** Notes what the handler set before it threw an error, for the planes that send it with the error. */
  noteOn(error: unknown): void {
    if (this.#responseHeader === undefined && this.#responseTrailer === undefined) return;
    if (error instanceof Error) errorFields.set(error, { header: this.#responseHeader, trailer: this.#responseTrailer });
  }

  timeoutMs(): number | undefined {
    return this.#deadline === undefined ? undefined : Math.max(0, this.#deadline - Date.now());
  }
}

/** The values of a call, like Connect's but without functions of their own: a stream keeps them to its end. */
class PlaneValues implements ContextValues {
  get<T>(key: ContextKey<T>): T {
    return Object.hasOwn(this, key.id) ? ((this as unknown as Record<symbol, T>)[key.id] as T) : key.defaultValue;
  }

  set<T>(key: ContextKey<T>, value: T): this {
    (this as unknown as Record<symbol, T>)[key.id] = value;
    return this;
  }

  delete(key: ContextKey<unknown>): this {
    delete (this as unknown as Record<symbol, unknown>)[key.id];
    return this;
  }
}

/** Creates the values of a call, empty. */
export function createValues(): ContextValues {
  return new PlaneValues();
}

/** Applies interceptors once, outermost first, so that a call only runs them. */
export function chain(last: PlaneNext, interceptors: readonly Interceptor[]): PlaneNext {
  return interceptors.reduceRight<PlaneNext>((next, interceptor) => interceptor(next as never) as PlaneNext, last);
}

/**
 * The result of a handler for interceptors. A class, since an object with getters of its own takes a hash table, which
 * a stream would keep.
 */
class HandlerResponse<M> {
  readonly service: DescService;
  readonly method: never;
  readonly stream: boolean;
  message: M;
  readonly #context: PlaneContext;

  constructor(context: PlaneContext, stream: boolean, message: M) {
    this.service = context.service;
    this.method = context.method as never;
    this.stream = stream;
    this.message = message;
    this.#context = context;
  }

  get header(): Headers {
    return this.#context.responseHeader;
  }

  get trailer(): Headers {
    return this.#context.responseTrailer;
  }
}

/** The innermost step on a server: calls the handler and wraps its result. */
export function handlerStep(method: DescMethod, handler: Handler, protocolName: string): PlaneNext {
  return async (request) => {
    const context = new PlaneContext(request, protocolName);
    if (!request.stream) {
      let output: unknown;
      try {
        output = await handler(request.message, context);
      } catch (error) {
        context.noteOn(error);
        throw error;
      }
      return new HandlerResponse(context, false, asMessage(method.output, output as never)) as UnaryResponse;
    }
    const output = handler(await single(request.message), context) as AsyncIterable<Message>;
    return new HandlerResponse(context, true, output) as StreamResponse;
  };
}

/** A request in the form that interceptors expect, without its message. */
export function requestBase(
  method: DescMethod,
  url: string,
  init: { signal: AbortSignal; header: Headers; contextValues?: ContextValues; deadline?: number },
) {
  return {
    service: method.parent,
    method: method as never,
    requestMethod: "POST",
    url,
    signal: init.signal,
    header: init.header,
    contextValues: init.contextValues ?? createValues(),
    deadline: init.deadline,
  };
}

/** Creates a message from its init shape; a message is returned as it is. */
export function asMessage<D extends DescMessage>(desc: D, init: MessageInitShape<D>): MessageShape<D> {
  return (init as Partial<Message>).$typeName === undefined ? create(desc, init) : (init as MessageShape<D>);
}

/** The error of a call whose signal fired. */
export function abortError(reason: unknown): ConnectError {
  return ConnectError.from(reason ?? "The call was cancelled.", Code.Canceled);
}

/** The error of a call whose deadline passed. */
export function deadlineError(): ConnectError {
  return fail(ErrorReason.DEADLINE_EXCEEDED, "The call exceeded its deadline.");
}

/**
 * The signal of a call: the caller's, or one that also fires at the deadline. `done` releases the timer and the
 * listener.
 */
export function callSignal(
  signal: AbortSignal | undefined,
  timeoutMs: number | undefined,
): { signal: AbortSignal; done(): void } {
  if (timeoutMs === undefined) return { signal: signal ?? neverAborts, done: nothing };
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(deadlineError()), Math.max(0, timeoutMs));
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

/** The one message of a unary or server-streaming call. */
export async function single<T>(messages: AsyncIterable<T>): Promise<T> {
  for await (const message of messages) return message;
  throw fail(ErrorReason.INVALID_REQUEST, "The call carries no message.");
}

/** A stream of one message, which it forgets when it is read: a call of many responses would keep it to its end. */
class OneMessage<T> implements AsyncIterable<T>, AsyncIterator<T, undefined> {
  #read: (() => T) | undefined;

  constructor(read: () => T) {
    this.#read = read;
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    const read = this.#read;
    this.#read = undefined;
    return read === undefined ? { done: true, value: undefined } : { done: false, value: read() };
  }

  async return(): Promise<IteratorResult<T, undefined>> {
    this.#read = undefined;
    return { done: true, value: undefined };
  }
}

/** A stream of one message. */
export function once<T>(message: T): AsyncIterable<T> {
  return new OneMessage(() => message);
}

/** A stream of one message that is made when it is read; an error in making it is thrown to the reader. */
export function onceMade<T>(make: () => T): AsyncIterable<T> {
  return new OneMessage(make);
}
