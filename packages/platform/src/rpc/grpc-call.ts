import { getDefaultHighWaterMark, setDefaultHighWaterMark } from "node:stream";
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type StreamResponse, type UnaryResponse } from "@connectrpc/connect";
import type { Client, ClientReadableStream, Metadata, ServiceError } from "@grpc/grpc-js";
import { errorOfStatus, headersOf, metadataOf } from "./grpc-metadata.ts";
import { repeatOverConnections } from "./grpc-repeat.ts";
import { abortError, deadlineError, neverAborts, nothing, type PlaneRequest } from "./plane.ts";

export type Serialize = (message: unknown) => Buffer;
export type Deserialize = (bytes: Buffer) => unknown;

function callOptions(request: PlaneRequest) {
  return request.deadline === undefined ? {} : { deadline: request.deadline };
}

/** The error of a call that ended with a status; reports the caller's own abort or deadline as such. */
function callError(error: unknown, request: PlaneRequest): ConnectError {
  if (request.signal.aborted) return abortError(request.signal.reason);
  const status = error as ServiceError;
  if (typeof status.code !== "number") return ConnectError.from(error);
  if ((status.code as number) === Code.DeadlineExceeded && request.deadline !== undefined && Date.now() >= request.deadline) {
    return deadlineError();
  }
  return errorOfStatus(status);
}

/** Makes a call and repeats it where that is safe; rejects with the error for the caller. */
export async function completed<T>(request: PlaneRequest, attempt: () => Promise<T>): Promise<T> {
  try {
    return await repeatOverConnections(request, attempt);
  } catch (error) {
    throw callError(error, request);
  }
}

export function callUnary(client: Client, path: string, serialize: Serialize, deserialize: Deserialize, request: PlaneRequest) {
  return new Promise<UnaryResponse>((resolve, reject) => {
    if (request.signal.aborted) {
      reject(abortError(request.signal.reason));
      return;
    }
    let header: Metadata | undefined;
    let message: unknown;
    const onAbort = () => call.cancel();
    const call = client.makeUnaryRequest(
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
        reject(error);
      },
    );
    if (request.signal !== neverAborts) request.signal.addEventListener("abort", onAbort, { once: true });
    call.on("metadata", (metadata) => {
      header = metadata;
    });
    // The status follows right after the callback and carries the trailers.
    call.on("status", (status) => {
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

/** Messages read ahead of the consumer. */
const aheadMessages = 2;

/**
 * Opens a call whose stream reads at most `aheadMessages` ahead. grpc-js has no option for this, and Node's default
 * counts messages regardless of their size.
 */
function readingLittleAhead<T>(open: () => T): T {
  const usual = getDefaultHighWaterMark(true);
  setDefaultHighWaterMark(true, aheadMessages);
  try {
    return open();
  } finally {
    setDefaultHighWaterMark(true, usual);
  }
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

export async function callStream(
  client: Client,
  path: string,
  serialize: Serialize,
  deserialize: Deserialize,
  request: PlaneRequest,
  input: unknown,
): Promise<StreamResponse> {
  if (request.signal.aborted) throw abortError(request.signal.reason);
  const call = readingLittleAhead(() =>
    client.makeServerStreamRequest(path, serialize, deserialize, input, metadataOf(request.header), callOptions(request)),
  );
  const onAbort = () => call.cancel();
  if (request.signal !== neverAborts) request.signal.addEventListener("abort", onAbort, { once: true });
  const trailer = new Headers();
  call.on("status", (status) => {
    request.signal.removeEventListener("abort", onAbort);
    headersOf(status.metadata).forEach((value, key) => {
      trailer.append(key, value);
    });
  });
  const header = await new Promise<Metadata>((resolve, reject) => {
    call.once("metadata", resolve);
    call.once("error", reject);
  });
  call.on("error", nothing);
  return {
    stream: true,
    service: request.service,
    method: request.method as never,
    header: headersOf(header),
    trailer,
    message: messagesOf(call, request) as AsyncIterable<MessageShape<DescMessage>>,
  };
}

/** The messages of a call, on demand: unread messages stay on the server's side of the flow-control window. */
function messagesOf(call: ClientReadableStream<unknown>, request: PlaneRequest): AsyncIterable<unknown> {
  return {
    [Symbol.asyncIterator]() {
      const iterator = call[Symbol.asyncIterator]();
      return {
        async next() {
          try {
            return await iterator.next();
          } catch (error) {
            throw callError(error, request);
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
