import { getDefaultHighWaterMark, setDefaultHighWaterMark } from "node:stream";
import type {
  DescMessage,
  DescMethod,
  DescMethodStreaming,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ContextValues,
  type Interceptor,
  type StreamResponse,
  type Transport,
  type UnaryResponse,
} from "@connectrpc/connect";
import {
  type ChannelCredentials,
  Client,
  type ClientReadableStream,
  credentials,
  type Metadata,
  type ServiceError,
} from "@grpc/grpc-js";
import { ErrorReason, fail } from "../errors.ts";
import { createHealthProbe, type ServiceHealth } from "./grpc-health.ts";
import { errorOfStatus, headersOf, metadataOf } from "./grpc-metadata.ts";
import { repeatOverConnections } from "./grpc-repeat.ts";
import { targetOf } from "./grpc-resolver.ts";
import {
  abortError,
  asMessage,
  chain,
  deadlineError,
  type HeadersLike,
  neverAborts,
  nothing,
  once,
  type PlaneNext,
  type PlaneRequest,
  requestBase,
  single,
} from "./plane.ts";

/** A Transport that holds connections. */
export interface GrpcTransport extends Transport {
  /** Asks the health service of each instance, as HealthProbe does. */
  checkHealth(): Promise<ServiceHealth>;
  /** Closes the connections; calls under way fail. */
  close(): void;
}

/** How to reach a service of the mesh. */
export interface GrpcTransportOptions {
  /** `host:port` of each instance, or one `dns:///name:port` that stands for all of them; calls go round. */
  addresses: readonly string[];
  /** Client side, outermost first. */
  interceptors?: readonly Interceptor[];
  /** Plain text unless given: the credentials, and the service that the certificate of the far end must be for. */
  tls?: { readonly credentials: ChannelCredentials; readonly peer: string };
  /** Largest message accepted, in bytes. */
  maxMessageBytes?: number;
  /** Bytes of a call that may be on their way to who does not read them; 64 KiB unless given. Less makes large answers slower. */
  windowBytes?: number;
}

interface Codec {
  readonly path: string;
  readonly next: PlaneNext;
}

const serviceConfig = JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] });

/**
 * A Connect Transport over a grpc-js channel: protobuf-es codecs, round-robin over all addresses, keepalive, calls repeated on another connection where
 * that is safe. Serves unary and server-streaming methods. Errors are ConnectErrors with the server's typed details; deadline and abort
 * signal cancel the call.
 */
export function createGrpcTransport(options: GrpcTransportOptions): GrpcTransport {
  const maxMessageBytes = options.maxMessageBytes ?? 8 * 1024 * 1024;
  const client = new Client(targetOf(options.addresses), options.tls?.credentials ?? credentials.createInsecure(), {
    "grpc.service_config": serviceConfig,
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 5_000,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 2_000,
    "grpc.max_receive_message_length": maxMessageBytes,
    "grpc.max_send_message_length": maxMessageBytes,
    "grpc.enable_http_proxy": 0,
    "grpc.use_local_subchannel_pool": 1,
    ...(options.windowBytes === undefined ? {} : { "grpc-node.flow_control_window": options.windowBytes }),
    ...(options.tls === undefined ? {} : { "grpc.ssl_target_name_override": options.tls.peer }),
  });
  const probe = createHealthProbe(options);
  const codecs = new Map<DescMethod, Codec>();

  const codecOf = (method: DescMethod): Codec => {
    let codec = codecs.get(method);
    if (codec === undefined) {
      const path = `/${method.parent.typeName}/${method.name}`;
      const serialize = (message: unknown) => {
        const bytes = toBinary(method.input, message as never);
        return Buffer.from(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength);
      };
      const deserialize = (bytes: Buffer) => fromBinary(method.output, bytes);
      const last: PlaneNext =
        method.methodKind === "unary"
          ? (request) => completed(request, () => callUnary(client, path, serialize, deserialize, request))
          : async (request) => {
              const input = await single(request.message as AsyncIterable<unknown>);
              const read = (bytes: Buffer) => deserialize(ownBytes(bytes));
              return completed(request, () => callStream(client, path, serialize, read, request, input));
            };
      codec = { path, next: chain(last, options.interceptors ?? []) };
      codecs.set(method, codec);
    }
    return codec;
  };

  const open = (
    method: DescMethod,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    header: HeadersLike,
    contextValues: ContextValues | undefined,
  ) => {
    const codec = codecOf(method);
    const request = requestBase(method, `grpc://${codec.path}`, {
      signal: signal ?? neverAborts,
      header: new Headers(header),
      contextValues,
      deadline: timeoutMs === undefined ? undefined : Date.now() + timeoutMs,
    });
    return { codec, request };
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
      const { codec, request } = open(method, signal, timeoutMs, header, contextValues);
      const message = asMessage(method.input, input);
      return (await codec.next(Object.assign(request, { stream: false as const, message }))) as UnaryResponse<I, O>;
    },

    async stream<I extends DescMessage, O extends DescMessage>(
      method: DescMethodStreaming<I, O>,
      signal: AbortSignal | undefined,
      timeoutMs: number | undefined,
      header: HeadersLike,
      input: AsyncIterable<MessageInitShape<I>>,
      contextValues?: ContextValues,
    ): Promise<StreamResponse<I, O>> {
      if (method.methodKind !== "server_streaming") {
        throw fail(ErrorReason.UNIMPLEMENTED, "The gRPC plane serves unary and server-streaming methods.");
      }
      const { codec, request } = open(method, signal, timeoutMs, header, contextValues);
      const message = once(asMessage(method.input, await single(input)));
      return (await codec.next(Object.assign(request, { stream: true as const, message }))) as StreamResponse<I, O>;
    },

    checkHealth: () => probe.check(),

    close() {
      client.close();
      probe.close();
    },
  };
}

type Serialize = (message: unknown) => Buffer;
type Deserialize = (bytes: Buffer) => unknown;

function callOptions(request: PlaneRequest) {
  return request.deadline === undefined ? {} : { deadline: request.deadline };
}

/** The error of a call that ended with a status; what the caller's own signal or deadline caused says so. */
function callError(error: unknown, request: PlaneRequest): ConnectError {
  if (request.signal.aborted) return abortError(request.signal.reason);
  const status = error as ServiceError;
  if (typeof status.code !== "number") return ConnectError.from(error);
  if ((status.code as number) === Code.DeadlineExceeded && request.deadline !== undefined && Date.now() >= request.deadline) {
    return deadlineError();
  }
  return errorOfStatus(status);
}

/** Makes a call, repeated where that is safe; its error is what the caller shall see. */
async function completed<T>(request: PlaneRequest, attempt: () => Promise<T>): Promise<T> {
  try {
    return await repeatOverConnections(request, attempt);
  } catch (error) {
    throw callError(error, request);
  }
}

function callUnary(client: Client, path: string, serialize: Serialize, deserialize: Deserialize, request: PlaneRequest) {
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
    // The status comes right after the callback and carries the trailers.
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

/** Messages that are read before they are asked for. */
const aheadMessages = 2;

/** Opens a call whose stream reads no more than that ahead: it gives no say in how much, and Node's default counts messages, of whatever size. */
function readingLittleAhead<T>(open: () => T): T {
  const usual = getDefaultHighWaterMark(true);
  setDefaultHighWaterMark(true, aheadMessages);
  try {
    return open();
  } finally {
    setDefaultHighWaterMark(true, usual);
  }
}

/** Smaller messages, in bytes, come many in one read: together they use what was read for them. */
const smallBytes = 4_096;

/** A message in memory of its own: one that waits for its reader would keep alive all that was read with it, 64 KiB for a few of them. */
function ownBytes(bytes: Buffer): Buffer {
  if (bytes.length <= smallBytes || bytes.length === bytes.buffer.byteLength) return bytes;
  const own = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(own);
  return own;
}

async function callStream(
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

/** The messages of a call as they are asked for: what nobody pulls stays on the server's side of the flow control window. */
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
