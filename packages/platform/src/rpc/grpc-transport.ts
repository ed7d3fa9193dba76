import type { DescMessage, DescMethod, DescMethodStreaming, DescMethodUnary, MessageInitShape } from "@bufbuild/protobuf";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { ContextValues, Interceptor, StreamResponse, Transport, UnaryResponse } from "@connectrpc/connect";
import { type ChannelCredentials, credentials } from "@grpc/grpc-js";
import { ErrorReason, fail } from "../errors.ts";
import type { Lookup } from "./grpc-addresses.ts";
import { createBalancer } from "./grpc-balancer.ts";
import { callStream, callUnary, completed, ownBytes } from "./grpc-call.ts";
import { createHealthProbe, type InstanceReport, type ServiceHealth } from "./grpc-health.ts";
import { Instance } from "./grpc-instance.ts";
import { defaultPatienceMs } from "./grpc-repeat.ts";
import {
  asMessage,
  chain,
  type HeadersLike,
  neverAborts,
  once,
  type PlaneNext,
  type PlaneRequest,
  requestBase,
  single,
} from "./plane.ts";

/** A Transport with connections of its own. */
export interface GrpcTransport extends Transport {
  /** Checks the health of each instance, like HealthProbe. */
  checkHealth(): Promise<ServiceHealth>;
  /** The clocks of the instances at the last check, like HealthProbe. */
  clocks(): ReadonlyMap<string, number>;
  /** The report of each instance, like HealthProbe. */
  reports(limitMs: number): Promise<InstanceReport[]>;
  /** Closes the connections; calls in flight fail. */
  close(): void;
}

/** Options for reaching a service of the mesh. */
export interface GrpcTransportOptions {
  /**
   * `host:port` of each instance, or one name for all of them (`name:port`, `dns:///name:port`). A name is resolved
   * again every ten seconds.
   */
  addresses: readonly string[];
  /** Resolves names; the system's resolver unless given. */
  lookup?: Lookup;
  /** Milliseconds between two resolutions of a name; 10,000 unless given. */
  resolveEveryMs?: number;
  /** Milliseconds for which a call looks for an instance that accepts it; 3,000 unless given. */
  patienceMs?: number;
  /** Client side, outermost first. */
  interceptors?: readonly Interceptor[];
  /** Credentials, and the service that the peer's certificate must name; plain text unless given. */
  tls?: { readonly credentials: ChannelCredentials; readonly peer: string };
  /** Largest message accepted, in bytes. */
  maxMessageBytes?: number;
  /**
   * Bytes of a call that may be in flight to a reader that does not read; 64 KiB unless given. A smaller window slows
   * large responses.
   */
  windowBytes?: number;
}

interface Codec {
  readonly path: string;
  readonly next: PlaneNext;
}

/**
 * Creates a Connect Transport over grpc-js: protobuf-es codecs, round-robin over the instances that answer, and calls
 * repeated on another instance where that is safe. Supports unary and server-streaming methods. Errors are
 * ConnectErrors with the server's typed details; deadline and abort signal cancel the call.
 */
export function createGrpcTransport(options: GrpcTransportOptions): GrpcTransport {
  const { maxMessageBytes = 8 * 1024 * 1024, patienceMs = defaultPatienceMs } = options;
  const channelCredentials = options.tls?.credentials ?? credentials.createInsecure();
  const channelOptions = {
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 5_000,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 2_000,
    // The receiver bounds what is sent.
    "grpc.max_receive_message_length": maxMessageBytes,
    "grpc.max_send_message_length": -1,
    "grpc.enable_http_proxy": 0,
    "grpc.use_local_subchannel_pool": 1,
    ...(options.windowBytes === undefined ? {} : { "grpc-node.flow_control_window": options.windowBytes }),
    ...(options.tls === undefined ? {} : { "grpc.ssl_target_name_override": options.tls.peer }),
  };
  const balancer = createBalancer({ ...options, connect: (target) => new Instance(target, channelCredentials, channelOptions) });
  const probe = createHealthProbe(options);
  const codecs = new Map<DescMethod, Codec>();
  const on = <T>(request: PlaneRequest, call: (instance: Instance) => Promise<T>): Promise<T> => {
    const picked = balancer.pick(request);
    return picked instanceof Promise ? picked.then(call) : call(picked);
  };

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
          ? (request) =>
              completed(request, patienceMs, (attempts) =>
                on(request, (instance) => callUnary(instance, path, serialize, deserialize, request, attempts)),
              )
          : async (request) => {
              const input = await single(request.message as AsyncIterable<unknown>);
              const read = (bytes: Buffer) => deserialize(ownBytes(bytes));
              return completed(request, patienceMs, (attempts) =>
                on(request, (instance) => callStream(instance, path, serialize, read, request, input, attempts)),
              );
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
    clocks: () => probe.clocks(),
    reports: (limitMs) => probe.reports(limitMs),

    close() {
      balancer.close();
      probe.close();
    },
  };
}
