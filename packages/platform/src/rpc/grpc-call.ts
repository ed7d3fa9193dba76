import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type StreamResponse, type UnaryResponse } from "@connectrpc/connect";
import { type ClientReadableStream, status as codes, type Metadata, type ServiceError } from "@grpc/grpc-js";
import type { Instance } from "./grpc-instance.ts";
import { forgetRequest, GrpcStreamResponse, openLean } from "./grpc-lean.ts";
import { errorOfStatus, headersOf, metadataOf } from "./grpc-metadata.ts";
import { isOfConnection, isRepeatable, repeatOverConnections } from "./grpc-repeat.ts";
import { lateErrorKey, lateErrorOf } from "./late-error.ts";
import { abortError, deadlineError, neverAborts, nothing, type PlaneRequest } from "./plane.ts";

export type Serialize = (message: unknown) => Buffer;
export type Deserialize = (bytes: Buffer) => unknown;

/** The error of a unary call, with the headers that came before it. */
interface FailedCall extends ServiceError {
  header?: Metadata;
}

function callOptions(request: PlaneRequest) {
  return request.deadline === undefined ? {} : { deadline: request.deadline };
}

/** The error of a call that ended with a status; reports the caller's own abort or deadline as such. */
function callError(error: unknown, request: PlaneRequest): ConnectError {
  if (request.signal.aborted) return abortError(request.signal.reason);
  const status = error as FailedCall;
  // The status that grpc-js gives a message that it cannot unpack has no code.
  if (typeof status.code !== "number") return new ConnectError("The server's message cannot be read.", Code.Internal);
  if ((status.code as number) === Code.DeadlineExceeded && request.deadline !== undefined && Date.now() >= request.deadline) {
    return deadlineError();
  }
  // Nobody has cancelled this call: its server was cut off.
  if (isOfConnection(status) && status.code === codes.CANCELLED) {
    return errorOfStatus({ ...status, code: codes.UNAVAILABLE, details: "The connection to the service broke." }, status.header);
  }
  return errorOfStatus(status, status.header);
}

/**
 * Whether a silent instance loses the call to another one: once at most. When all instances are slow, calls that move
 * on and on would only add to their work.
 */
function mayMove(request: PlaneRequest, attempts: number): boolean {
  return attempts === 1 && isRepeatable(request);
}

/** Makes a call and repeats it where that is safe; rejects with the error for the caller. */
export async function completed<T>(
  request: PlaneRequest,
  patienceMs: number,
  attempt: (attempts: number) => Promise<T>,
): Promise<T> {
  try {
    return await repeatOverConnections(request, patienceMs, attempt);
  } catch (error) {
    throw callError(error, request);
  }
}

export function callUnary(
  instance: Instance,
  path: string,
  serialize: Serialize,
  deserialize: Deserialize,
  request: PlaneRequest,
  attempts: number,
) {
  return new Promise<UnaryResponse>((resolve, reject) => {
    if (request.signal.aborted) {
      reject(abortError(request.signal.reason));
      return;
    }
    let header: Metadata | undefined;
    let message: unknown;
    const onAbort = () => call.cancel();
    const call = instance.client.makeUnaryRequest(
      path,
      serialize,
      deserialize,
      request.message,
      metadataOf(request.header),
      callOptions(request),
      (error, value) => {
        if (error === null) {
          message = value;
          return;
        }
        request.signal.removeEventListener("abort", onAbort);
        reject(Object.assign(instance.errorOf(call, error) as FailedCall, { header }));
      },
    );
    instance.opened(call, mayMove(request, attempts));
    if (request.signal !== neverAborts) request.signal.addEventListener("abort", onAbort, { once: true });
    call.on("metadata", (metadata) => {
      header = metadata;
    });
    // The status follows right after the callback and carries the trailers.
    call.on("status", (status) => {
      instance.ended(call, status.code);
      if (status.code !== 0) return;
      request.signal.removeEventListener("abort", onAbort);
      resolve({
        stream: false,
        service: request.service,
        method: request.method as never,
        get header() {
          return header === undefined ? new Headers() : headersOf(header);
        },
        get trailer() {
          return headersOf(status.metadata);
        },
        message: message as MessageShape<DescMessage>,
      });
    });
  });
}

/** Messages up to this size, in bytes, arrive many per read and together use the memory of that read. */
const smallBytes = 4_096;

/**
 * Copies a large message into memory of its own: a waiting message would otherwise keep its whole read alive, 64 KiB
 * for a few messages.
 */
export function ownBytes(bytes: Buffer): Buffer {
  if (bytes.length <= smallBytes || bytes.length === bytes.buffer.byteLength) return bytes;
  const own = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(own);
  return own;
}

/** Metadata of a streaming call. */
function streamMetadata(request: PlaneRequest): Metadata {
  const metadata = metadataOf(request.header);
  metadata.set(lateErrorKey, "1");
  return metadata;
}

export async function callStream(
  instance: Instance,
  path: string,
  serialize: Serialize,
  deserialize: Deserialize,
  request: PlaneRequest,
  input: unknown,
  attempts: number,
): Promise<StreamResponse> {
  if (request.signal.aborted) throw abortError(request.signal.reason);
  const call = openLean(() =>
    instance.client.makeServerStreamRequest(path, serialize, deserialize, input, streamMetadata(request), callOptions(request)),
  );
  instance.opened(call, mayMove(request, attempts));
  const onAbort = () => call.cancel();
  if (request.signal !== neverAborts) request.signal.addEventListener("abort", onAbort, { once: true });
  const messages = messagesOf(call, instance, request);
  const response = new GrpcStreamResponse(request, messages as AsyncIterable<MessageShape<DescMessage>>);
  call.on("status", (status) => {
    instance.ended(call, status.code);
    request.signal.removeEventListener("abort", onAbort);
    const error = lateErrorOf(status);
    if (error !== undefined) messages.fail(error);
    response.end(error?.metadata ?? status.metadata);
  });
  response.begin(
    await new Promise<Metadata>((resolve, reject) => {
      const onMetadata = (metadata: Metadata) => {
        call.off("error", onError);
        resolve(metadata);
      };
      const onError = (error: unknown) => reject(instance.errorOf(call, error));
      call.once("metadata", onMetadata);
      call.on("error", onError);
    }),
  );
  instance.answered(call);
  forgetRequest(call);
  return response;
}

/**
 * The messages of a call, on demand: unread messages stay on the server's side of the flow-control window. Every
 * message that has arrived is read before an error; `fail` sets the error of a call that ended with the status OK.
 */
function messagesOf(
  call: ClientReadableStream<unknown>,
  instance: Instance,
  request: PlaneRequest,
): AsyncIterable<unknown> & { fail(error: unknown): void } {
  let failure: unknown;
  let isOver = false;
  let wake = nothing;
  const fail = (error: unknown) => {
    failure ??= error;
    wake();
  };
  call.on("error", (error) => fail(instance.errorOf(call, error)));
  call.on("end", () => {
    isOver = true;
    wake();
  });
  return {
    fail,
    [Symbol.asyncIterator]() {
      call.on("readable", () => wake());
      return {
        async next() {
          for (;;) {
            if (request.signal.aborted) throw abortError(request.signal.reason);
            const value: unknown = call.read();
            if (value !== null) instance.heard();
            if (value !== null) return { done: false as const, value };
            if (failure !== undefined) throw callError(failure, request);
            if (isOver) return { done: true as const, value: undefined };
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
          }
        },
        async return(value?: unknown) {
          call.cancel();
          return { done: true as const, value };
        },
      };
    },
  };
}
