import { type DescMessage, type DescMethod, type Message, toBinary } from "@bufbuild/protobuf";
import type { StreamResponse, UnaryRequest, UnaryResponse } from "@connectrpc/connect";
import type { ServerUnaryCall, ServerWritableStream, sendUnaryData } from "@grpc/grpc-js";
import { peerServicesKey } from "../identity/identity.ts";
import { servicesOf } from "../mesh-tls/service-certificate.ts";
import { addTo, headersOf, metadataOf, okTrailers, statusOfError } from "./grpc-metadata.ts";
import { beforeError, lateErrorKey, lateTrailers } from "./late-error.ts";
import { asMessage, createValues, deadlineError, errorFieldsOf, onceMade, type PlaneNext, requestBase } from "./plane.ts";
import { decodeMessage } from "./wire-check.ts";

/** A served method. */
export interface Route {
  readonly method: DescMethod;
  readonly url: string;
  readonly next: PlaneNext;
  /** Whether every client presents a certificate. */
  readonly hasPeers: boolean;
  /** Counts the calls of the server that are in flight. */
  readonly live: { calls: number };
}

type AnyCall = ServerUnaryCall<unknown, unknown> | ServerWritableStream<unknown, unknown>;

/** Wraps a grpc-js call for the plane: signal, deadline, headers. `settle` marks that its response is being sent. */
function openCall(call: AnyCall, { method, url, hasPeers, live }: Route) {
  const controller = new AbortController();
  const given = call.getDeadline();
  const deadline = given === Number.POSITIVE_INFINITY ? undefined : Number(given);
  let settled = false;
  // grpc-js emits this at the end of every call; an unneeded abort would cost an exception with a stack trace each
  // time.
  live.calls += 1;
  call.on("cancelled", () => {
    live.calls -= 1;
    if (!settled) controller.abort(deadline !== undefined && Date.now() >= deadline ? deadlineError() : undefined);
  });
  const settle = () => {
    settled = true;
  };
  const contextValues = createValues();
  if (hasPeers) contextValues.set(peerServicesKey, servicesOf(call.getAuthContext().sslPeerCertificate?.subjectaltname));
  const init = { signal: controller.signal, header: headersOf(call.metadata), contextValues, deadline };
  return { request: requestBase(method, url, init), settle };
}

/** A unary request whose message is decoded on first access: after the call is admitted. */
class UnaryCall {
  readonly stream = false;
  readonly #input: DescMessage;
  readonly #bytes: Uint8Array;
  #message: Message | undefined;

  constructor(input: DescMessage, bytes: Uint8Array) {
    this.#input = input;
    this.#bytes = bytes;
  }

  get message(): Message {
    this.#message ??= decodeMessage(this.#input, this.#bytes);
    return this.#message;
  }
}

/** The bytes of a stream's request. grpc-js keeps this object for as long as the stream lives; its bytes are taken. */
export class StreamRequestBytes {
  #bytes: Uint8Array | undefined;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** The bytes, once. */
  take(): Uint8Array {
    const bytes = this.#bytes ?? new Uint8Array();
    this.#bytes = undefined;
    return bytes;
  }
}

/** Serves a unary method. */
export function unaryHandler(route: Route) {
  return (call: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<unknown>) => {
    const { request, settle } = openCall(call, route);
    route.next(Object.assign(new UnaryCall(route.method.input, call.request as Uint8Array), request) as UnaryRequest).then(
      (response) => {
        if (call.cancelled) return;
        settle();
        const { header, trailer, message } = response as UnaryResponse;
        call.sendMetadata(metadataOf(header));
        callback(null, message, okTrailers(trailer));
      },
      (error) => {
        settle();
        const { header, trailer } = errorFieldsOf(error);
        const status = statusOfError(error);
        if (header !== undefined && !call.cancelled) call.sendMetadata(metadataOf(header));
        if (trailer !== undefined) addTo(status.metadata, trailer);
        callback(status);
      },
    );
  };
}

/**
 * Milliseconds for which the headers of a stream wait for its first message, so that a handler can set them until then;
 * a stream that stays silent for longer opens without those it sets later.
 */
const headersWaitMs = 1_000;

/** Sends the headers of a stream: with its first message, or after `headersWaitMs`. */
class StreamHeaders {
  readonly #call: ServerWritableStream<unknown, unknown>;
  readonly #response: StreamResponse;
  #timer: NodeJS.Timeout | undefined;
  #isOpen = false;

  constructor(call: ServerWritableStream<unknown, unknown>, response: StreamResponse) {
    this.#call = call;
    this.#response = response;
    this.#timer = setTimeout(() => this.open(), headersWaitMs).unref();
  }

  open(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.stop();
    this.#call.sendMetadata(metadataOf(this.#response.header));
  }

  /** Before an error: headers without fields stay unsent, so that the response consists of its trailers. */
  openIfSet(): void {
    if (!this.#isOpen && [...this.#response.header.keys()].length > 0) this.open();
    this.stop();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

/** Serves a server-streaming method. */
export function streamHandler(route: Route) {
  const output = route.method.output as DescMessage;
  return async (call: ServerWritableStream<unknown, unknown>) => {
    const { request, settle } = openCall(call, route);
    let hasWritten = false;
    let response: StreamResponse | undefined;
    let headers: StreamHeaders | undefined;
    try {
      const message = onceMade(() => decodeMessage(route.method.input, (call.request as StreamRequestBytes).take()));
      response = (await route.next(Object.assign(request, { stream: true as const, message }))) as StreamResponse;
      headers = new StreamHeaders(call, response);
      for await (const message of response.message) {
        if (call.cancelled) return;
        headers.open();
        const bytes = toBinary(output, asMessage(output, message as never));
        hasWritten = true;
        // The stream's buffer counts messages, not bytes: large messages wait one by one.
        if (bytes.length > aheadBytes) await sent(call, bytes, request.signal);
        else if (!call.write(bytes)) await drained(call, request.signal);
      }
      headers.open();
      settle();
      call.end(okTrailers(response.trailer));
    } catch (error) {
      const status = statusOfError(error);
      headers?.openIfSet();
      if (response !== undefined) addTo(status.metadata, response.trailer);
      const isLate = hasWritten && call.metadata.get(lateErrorKey).length > 0;
      if (hasWritten && !isLate) await beforeError(request.signal);
      settle();
      if (isLate) call.end(lateTrailers(status));
      else call.emit("error", status);
    } finally {
      headers?.stop();
    }
  };
}

/** Messages larger than this, in bytes, are sent before the handler is asked for the next one. */
const aheadBytes = 4_096;

/**
 * Resolves when the awaited event has happened or the call is cancelled. `wait` returns the function that stops
 * waiting.
 */
function orCancelled(signal: AbortSignal, wait: (done: () => void) => () => void): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const done = () => {
      stop();
      signal.removeEventListener("abort", done);
      resolve();
    };
    signal.addEventListener("abort", done, { once: true });
    const stop = wait(done);
  });
}

/** Resolves when the call accepts more data or is cancelled. */
function drained(call: ServerWritableStream<unknown, unknown>, signal: AbortSignal): Promise<void> {
  return orCancelled(signal, (done) => {
    call.once("drain", done);
    return () => call.off("drain", done);
  });
}

/** Sends a message; resolves when the connection has accepted it or the call is cancelled. */
function sent(call: ServerWritableStream<unknown, unknown>, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
  return orCancelled(signal, (done) => {
    call.write(bytes, done);
    return () => {};
  });
}
