import { type DescFile, type DescMessage, fromBinary, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import type { Interceptor } from "@connectrpc/connect";
import { type MethodDefinition, Server, ServerCredentials, type UntypedHandleCall } from "@grpc/grpc-js";
import { ReflectionService } from "@grpc/reflection";
import { HealthImplementation, service as healthService } from "grpc-health-check";
import { ErrorReason } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { addDetails } from "./grpc-details.ts";
import { type Route, StreamRequestBytes, streamHandler, unaryHandler } from "./grpc-handlers.ts";
import { databaseHealth } from "./grpc-health.ts";
import type { Mount, RunningService } from "./mount.ts";
import { chain, type Handler, handlerStep } from "./plane.ts";

/** A listening gRPC server. */
export interface GrpcServer {
  /** The bound port. */
  readonly port: number;
  /** Calls in flight. */
  readonly calls: number;
  /**
   * Sets the health service's status of this process and its services; with DATABASE_UNAVAILABLE as the reason, also
   * that of `database`.
   */
  setServing(serving: boolean, because?: ErrorReason): void;
  /**
   * Reports that it does not serve, stops accepting and sends clients elsewhere for new calls (GOAWAY). Calls in flight
   * may finish within `graceMs` (5,000); the rest is cut.
   */
  close(graceMs?: number): Promise<void>;
}

/** Services to serve, and the address. */
export interface GrpcServerOptions {
  mounts: readonly Mount[];
  /** Server side, outermost first. */
  interceptors: readonly Interceptor[];
  host: string;
  /** 0 picks a free port. */
  port: number;
  logger: Logger;
  /** TLS that requires client certificates; plain text unless given. */
  credentials?: ServerCredentials;
  /** Largest message accepted, in bytes. */
  maxMessageBytes?: number;
  details?: RunningService["details"];
  report?: RunningService["report"];
}

function addMount(
  server: Server,
  { service, impl }: Mount,
  { interceptors, hasPeers, live }: Pick<Route, "hasPeers" | "live"> & { interceptors: readonly Interceptor[] },
): void {
  const definitions: Record<string, MethodDefinition<unknown, unknown>> = {};
  const handlers: Record<string, UntypedHandleCall> = {};
  for (const method of service.methods) {
    const handler = (impl as Record<string, Handler | undefined>)[method.localName]?.bind(impl);
    if (handler === undefined) continue;
    const isUnary = method.methodKind === "unary";
    // Messages of a stream arrive here as bytes.
    const serialize = (desc: DescMessage) => (message: unknown) => {
      const bytes = isUnary ? toBinary(desc, message as never) : (message as Uint8Array);
      return Buffer.from(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength);
    };
    const path = `/${service.typeName}/${method.name}`;
    definitions[method.name] = {
      path,
      requestStream: false,
      responseStream: method.methodKind === "server_streaming",
      requestSerialize: serialize(method.input),
      // Decoded after the call is admitted.
      requestDeserialize: isUnary ? (bytes) => bytes : (bytes) => new StreamRequestBytes(bytes),
      responseSerialize: serialize(method.output),
      responseDeserialize: (bytes) => fromBinary(method.output, bytes),
    };
    const next = chain(handlerStep(method, handler, "grpc"), interceptors);
    const route = { method, url: `grpc://${path}`, next, hasPeers, live };
    handlers[method.name] = isUnary ? unaryHandler(route) : streamHandler(route);
  }
  server.addService(definitions, handlers);
}

/** A file and all its imports, as serialized FileDescriptorProtos. */
function fileDescriptors(mounts: readonly Mount[]): Buffer[] {
  const files = new Map<string, DescFile>();
  const add = (file: DescFile) => {
    if (files.has(file.name)) return;
    files.set(file.name, file);
    file.dependencies.forEach(add);
  };
  for (const { service } of mounts) add(service.file);
  return [
    ...[...files.values()].map((file) => Buffer.from(toBinary(FileDescriptorProtoSchema, file.proto))),
    ...(healthService.Check?.requestType.fileDescriptorProtos ?? []),
  ];
}

/** Starts to serve handlers over gRPC, with the standard health and reflection services. */
export async function startGrpcServer(options: GrpcServerOptions): Promise<GrpcServer> {
  const maxMessageBytes = options.maxMessageBytes ?? 8 * 1024 * 1024;
  const hasPeers = options.credentials !== undefined;
  const server = new Server({
    // The receiver bounds what is sent.
    "grpc.max_receive_message_length": maxMessageBytes,
    "grpc.max_send_message_length": -1,
    "grpc.keepalive_time_ms": 60_000,
    // Connections made under replaced certificates end eventually; calls in flight on them may finish.
    ...(hasPeers ? { "grpc.max_connection_age_ms": 3_600_000 } : {}),
  });
  const live = { calls: 0 };
  const { interceptors } = options;
  for (const mount of options.mounts) addMount(server, mount, { interceptors, hasPeers, live });
  const names = options.mounts.map(({ service }) => service.typeName);
  const health = new HealthImplementation(
    Object.fromEntries(["", databaseHealth, ...names].map((name) => [name, "SERVING" as const])),
  );
  health.addToServer(server);
  addDetails(server, options);
  new ReflectionService({ all: { fileDescriptorProtos: fileDescriptors(options.mounts) } } as never, {
    services: [...names, "grpc.health.v1.Health"],
  }).addToServer(server);

  const host = options.host.includes(":") ? `[${options.host}]` : options.host;
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`${host}:${options.port}`, options.credentials ?? ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  options.logger.info({ host: options.host, port, services: names }, "gRPC server is listening");

  let isClosing = false;
  const setServing = (serving: boolean, because?: ErrorReason) => {
    if (isClosing) return;
    health.setStatus(databaseHealth, because === ErrorReason.DATABASE_UNAVAILABLE ? "NOT_SERVING" : "SERVING");
    for (const name of ["", ...names]) health.setStatus(name, serving ? "SERVING" : "NOT_SERVING");
  };
  return {
    port,
    get calls() {
      return live.calls;
    },
    setServing,
    close(graceMs = 5_000) {
      setServing(false);
      isClosing = true;
      return new Promise((resolve) => {
        const timer = setTimeout(() => server.forceShutdown(), graceMs);
        server.tryShutdown(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    },
  };
}
