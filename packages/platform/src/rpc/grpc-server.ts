import { type DescFile, type DescMessage, type DescMethod, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import {
  createContextValues,
  type Interceptor,
  type StreamResponse,
  type UnaryRequest,
  type UnaryResponse,
} from "@connectrpc/connect";
import {
  type MethodDefinition,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  type UntypedHandleCall,
} from "@grpc/grpc-js";
import { ReflectionService } from "@grpc/reflection";
import { HealthImplementation } from "grpc-health-check";
import { ErrorReason } from "../errors.ts";
import { peerServicesKey } from "../identity/identity.ts";
import type { Logger } from "../logger.ts";
import { servicesOf } from "../mesh-tls/service-certificate.ts";
import { addDetails } from "./grpc-details.ts";
import { databaseHealth } from "./grpc-health.ts";
import { headersOf, metadataOf, statusOfError } from "./grpc-metadata.ts";
import { beforeError, lateErrorKey, lateTrailers } from "./late-error.ts";
import type { Mount, RunningService } from "./mount.ts";
import { asMessage, chain, deadlineError, type Handler, handlerStep, type PlaneNext, requestBase } from "./plane.ts";
import { decodeMessage } from "./wire-check.ts";

/** A listening gRPC server. */
export interface GrpcServer {
  /** The bound port. */
  readonly port: number;
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
}

/** A served method. */
interface Route {
  readonly method: DescMethod;
  readonly url: string;
  readonly next: PlaneNext;
  /** Whether every client presents a certificate. */
  readonly hasPeers: boolean;
}

type AnyCall = ServerUnaryCall<unknown, unknown> | ServerWritableStream<unknown, unknown>;

/** Wraps a grpc-js call for the plane: signal, deadline, headers. `settle` marks that its response is being sent. */
function openCall(call: AnyCall, { method, url, hasPeers }: Route) {
  const controller = new AbortController();
  const given = call.getDeadline();
  const deadline = given === Number.POSITIVE_INFINITY ? undefined : Number(given);
  let settled = false;
  // grpc-js emits this at the end of every call; an unneeded abort would cost an exception with a stack trace each
  // time.
  call.on("cancelled", () => {
    if (!settled) controller.abort(deadline !== undefined && Date.now() >= deadline ? deadlineError() : undefined);
  });
  const settle = () => {
    settled = true;
  };
  const contextValues = createContextValues();
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

/** The one message of a stream, decoded on demand. */
async function* decoded(input: DescMessage, bytes: Uint8Array): AsyncGenerator<Message> {
  yield decodeMessage(input, bytes);
}

function unaryHandler(route: Route) {
  return (call: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<unknown>) => {
    const { request, settle } = openCall(call, route);
    route.next(Object.assign(new UnaryCall(route.method.input, call.request as Uint8Array), request) as UnaryRequest).then(
      (response) => {
        if (call.cancelled) return;
        settle();
        const { header, trailer, message } = response as UnaryResponse;
        call.sendMetadata(metadataOf(header));
        callback(null, message, metadataOf(trailer));
      },
      (error) => {
        settle();
        callback(statusOfError(error));
      },
    );
  };
}

function streamHandler(route: Route) {
  return async (call: ServerWritableStream<unknown, unknown>) => {
    const { request, settle } = openCall(call, route);
    let hasWritten = false;
    try {
      const response = (await route.next(
        Object.assign(request, { stream: true as const, message: decoded(route.method.input, call.request as Uint8Array) }),
      )) as StreamResponse;
      for await (const message of response.message) {
        if (call.cancelled) return;
        // After the first message: the handler may set headers until then.
        if (!hasWritten) call.sendMetadata(metadataOf(response.header));
        const bytes = toBinary(route.method.output, asMessage(route.method.output as DescMessage, message as never));
        hasWritten = true;
        // The stream's buffer counts messages, not bytes: large messages wait one by one.
        if (bytes.length > aheadBytes) await sent(call, bytes, request.signal);
        else if (!call.write(bytes)) await drained(call, request.signal);
      }
      settle();
      if (!hasWritten) call.sendMetadata(metadataOf(response.header));
      call.end(metadataOf(response.trailer));
    } catch (error) {
      const status = statusOfError(error);
      const isLate = hasWritten && call.metadata.get(lateErrorKey).length > 0;
      if (hasWritten && !isLate) await beforeError(request.signal);
      settle();
      if (isLate) call.end(lateTrailers(status));
      else call.emit("error", status);
    }
  };
}

/** Messages larger than this, in bytes, are sent before the handler is asked for the next one. */
const aheadBytes = 4_096;

/** Resolves when the event has happened or the call is cancelled. `wait` returns the function that stops waiting. */
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

function addMount(server: Server, { service, impl }: Mount, interceptors: readonly Interceptor[], hasPeers: boolean): void {
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
      requestDeserialize: (bytes) => bytes,
      responseSerialize: serialize(method.output),
      responseDeserialize: (bytes) => fromBinary(method.output, bytes),
    };
    const next = chain(handlerStep(method, handler, "grpc"), interceptors);
    const route = { method, url: `grpc://${path}`, next, hasPeers };
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
  return [...files.values()].map((file) => Buffer.from(toBinary(FileDescriptorProtoSchema, file.proto)));
}

/** Starts to serve handlers over gRPC, with the standard health and reflection services. */
export async function startGrpcServer(options: GrpcServerOptions): Promise<GrpcServer> {
  const maxMessageBytes = options.maxMessageBytes ?? 8 * 1024 * 1024;
  const hasPeers = options.credentials !== undefined;
  const server = new Server({
    "grpc.max_receive_message_length": maxMessageBytes,
    "grpc.max_send_message_length": maxMessageBytes,
    "grpc.keepalive_time_ms": 60_000,
    // Connections made under replaced certificates end eventually; calls in flight on them may finish.
    ...(hasPeers ? { "grpc.max_connection_age_ms": 3_600_000 } : {}),
  });
  for (const mount of options.mounts) addMount(server, mount, options.interceptors, hasPeers);
  const names = options.mounts.map(({ service }) => service.typeName);
  const health = new HealthImplementation(
    Object.fromEntries(["", databaseHealth, ...names].map((name) => [name, "SERVING" as const])),
  );
  health.addToServer(server);
  addDetails(server, options);
  new ReflectionService({ all: { fileDescriptorProtos: fileDescriptors(options.mounts) } } as never, {
    services: names,
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
