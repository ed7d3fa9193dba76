import type { IncomingMessage } from "node:http";
import type { DescMethod, Message, Registry } from "@bufbuild/protobuf";
import {
  ConnectError,
  type ConnectRouter,
  createConnectRouter,
  createContextKey,
  createContextValues,
  type HandlerContext,
} from "@connectrpc/connect";
import type { UniversalHandler, UniversalServerRequest } from "@connectrpc/connect/protocol";
import { universalResponseToNodeResponse } from "@connectrpc/connect-node";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Logger } from "@turnwright/platform/logger";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { type Admission, type AdmissionRule, admissionRule, admit } from "../admission/admit.ts";
import type { Caller } from "../admission/authentication.ts";
import { disconnectSignal } from "../http/disconnect.ts";
import { percentEncoded } from "../http/grpc-refusal.ts";
import { compressions, isKnownEncoding } from "./decompression.ts";
import { type MessageFormat, readMessage } from "./rpc-message.ts";

/** Dependencies of the RPC plugin. */
export interface RpcDeps {
  readonly routes: (router: ConnectRouter) => void;
  readonly admission: Admission;
  /** The rule by which a method admits a request; the one in the method's options unless given. */
  readonly ruleOf?: (method: DescMethod, request: FastifyRequest) => AdmissionRule;
  /** Largest body, in bytes, by a method's rule. */
  readonly bodyLimit: (rule: AdmissionRule) => number;
  /** Largest message of a stream that a client sends, in bytes. */
  readonly streamedBytes?: number;
  /** The types that `google.protobuf.Any` may hold in JSON messages; none unless given. */
  readonly registry?: Registry;
  readonly logger: Logger;
}

/** An admitted call with its message, for its handler. */
export interface AdmittedRpc {
  readonly request: FastifyRequest;
  readonly caller: Caller | undefined;
  readonly message: Message;
}

/** The outcome of admission and reading, before Connect sees the request. */
interface Outcome {
  readonly headers: readonly (readonly [string, string])[];
  /** The caller of an admitted stream of messages, which Connect reads. */
  readonly streamer?: { readonly caller: Caller | undefined };
  readonly call?: AdmittedRpc;
  readonly refusal?: ConnectError;
}

const outcomeKey = createContextKey<Outcome | undefined>(undefined, { description: "admission" });

/** The admitted call behind a handler's context. */
export function admittedRpc(context: HandlerContext): AdmittedRpc {
  const call = context.values.get(outcomeKey)?.call;
  if (call === undefined) throw fail(ErrorReason.INTERNAL, "a proxied call arrived without its HTTP request");
  return call;
}

/** The caller of an admitted call whose handler reads a stream of messages; undefined: no credential was asked for. */
export function admittedStreamer(context: HandlerContext): Caller | undefined {
  const streamer = context.values.get(outcomeKey)?.streamer;
  if (streamer === undefined) throw fail(ErrorReason.INTERNAL, "a stream arrived without its HTTP request");
  return streamer.caller;
}

/**
 * Call before a call fails: its status message is then encoded as gRPC does. Connect also encodes punctuation, which
 * clients of grpc-js do not decode.
 */
export function failingPlainly({ protocolName, responseTrailer }: HandlerContext): void {
  if (!protocolName.startsWith("grpc")) return;
  const set = responseTrailer.set.bind(responseTrailer);
  Object.assign(responseTrailer, {
    set: (name: string, value: string) =>
      set(name, name.toLowerCase() === "grpc-message" ? percentEncoded(decodeURIComponent(value)) : value),
  });
}

/** Runs at the point where Connect would begin to read: throws the refusal, which Connect encodes for the protocol. */
function passOutcome(context: HandlerContext): void {
  const outcome = context.values.get(outcomeKey);
  for (const [name, value] of outcome?.headers ?? []) context.responseHeader.set(name, value);
  if (outcome?.refusal === undefined) return;
  failingPlainly(context);
  throw outcome.refusal;
}

type Protocol = "connect" | "connect-stream" | "grpc";

function protocolOf(contentType: string): Protocol {
  if (contentType.startsWith("application/grpc")) return "grpc";
  return contentType.startsWith("application/connect+") ? "connect-stream" : "connect";
}

const encodingHeaders: Readonly<Record<Protocol, string>> = {
  connect: "content-encoding",
  "connect-stream": "connect-content-encoding",
  grpc: "grpc-encoding",
};

const acceptHeaders: Readonly<Record<Protocol, string>> = {
  connect: "accept-encoding",
  "connect-stream": "connect-accept-encoding",
  grpc: "grpc-accept-encoding",
};

function encodingOf(value: string | string[] | null | undefined): string | undefined {
  if (value === undefined || value === null || value === "" || value === "identity") return undefined;
  return String(value);
}

/**
 * The encoding of a request's message, by its headers; undefined when Connect refuses the request without reading it.
 */
function formatOf(handler: UniversalHandler, { method = "", headers, url = "" }: IncomingMessage): MessageFormat | undefined {
  if (!handler.allowedMethods.includes(method)) return undefined;
  if (method === "GET") {
    const query = new URL(url, "http://gateway").searchParams;
    return { place: "query", isJson: query.get("encoding") === "json", encoding: encodingOf(query.get("compression")) };
  }
  const contentType = (headers["content-type"] ?? "").toLowerCase();
  if (!handler.supportedContentType(contentType)) return undefined;
  const protocol = protocolOf(contentType);
  return {
    place: protocol === "connect" ? "body" : "envelope",
    isJson: /[/+]json\b/.test(contentType),
    encoding: encodingOf(headers[encodingHeaders[protocol]]),
  };
}

const connectHeaders = [
  ...["content-type", "content-encoding", "accept-encoding", "connect-content-encoding", "connect-accept-encoding"],
  ...["connect-protocol-version", "connect-timeout-ms", "grpc-encoding", "grpc-accept-encoding", "grpc-timeout"],
];

/** The request headers that Connect reads. */
function headersFor({ headers }: IncomingMessage): Headers {
  const given = new Headers();
  for (const name of connectHeaders) {
    const value = headers[name];
    if (typeof value === "string") given.set(name, value);
  }
  return given;
}

const nothing = new Uint8Array(0);
const emptyEnvelope = Buffer.from([0, 0, 0, 0, 0]);
const emptyObjectEnvelope = Buffer.from([0, 0, 0, 0, 2, 0x7b, 0x7d]);

async function* only<T>(chunk: T): AsyncGenerator<T> {
  yield chunk;
}

/** An empty message in place of the one already read, so that Connect has nothing to decompress or decode. */
function emptyBody(format: MessageFormat | undefined): UniversalServerRequest["body"] {
  if (format === undefined || format.place === "query") return only(nothing);
  if (format.place === "envelope") return only(format.isJson ? emptyObjectEnvelope : emptyEnvelope);
  return format.isJson ? {} : only(nothing);
}

/** The messages that a client streams; what is not read is left to the connection. */
function streamOf({ raw }: FastifyRequest): AsyncIterable<Uint8Array> {
  return raw.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>;
}

/** The URL for Connect; that of a GET request carries an empty message. */
function urlFor(handler: UniversalHandler, { url = "" }: IncomingMessage, format: MessageFormat | undefined): string {
  const target = new URL(handler.requestPath, "http://gateway");
  if (format?.place !== "query") return target.href;
  const given = new URL(url, target).searchParams;
  for (const name of ["encoding", "connect", "compression"]) {
    const value = given.get(name);
    if (value !== null && !(name === "compression" && isKnownEncoding(value))) target.searchParams.set(name, value);
  }
  target.searchParams.set("message", format.isJson ? "{}" : "");
  return target.href;
}

function asConnectError(error: unknown): ConnectError {
  return error instanceof ConnectError
    ? error
    : fail(ErrorReason.INTERNAL, "Something went wrong on our side.", { cause: error });
}

/**
 * A fastify plugin that serves methods over Connect, gRPC-web and gRPC. Each call is admitted before any of its body is
 * read; its message is then read, decompressed and decoded here, within limits. Connect frames the responses.
 */
export function rpcPlugin({ routes, admission, ruleOf, bodyLimit, streamedBytes, registry, logger }: RpcDeps) {
  return async (app: FastifyInstance): Promise<void> => {
    app.removeAllContentTypeParsers();
    app.addContentTypeParser("*", (_request, _payload, done) => done(null, undefined));
    const router = createConnectRouter({
      acceptCompression: compressions,
      requestGate: passOutcome,
      readMaxBytes: streamedBytes,
      jsonOptions: { registry },
    });
    routes(router);

    const mount = (handler: UniversalHandler) => {
      const decoding = { input: handler.method.input, registry };
      const declared = admissionRule(handler.method);
      const isClientStream = handler.method.methodKind === "bidi_streaming" || handler.method.methodKind === "client_streaming";

      const settle = async (request: FastifyRequest, format: MessageFormat): Promise<Outcome> => {
        const headers: [string, string][] = [];
        const sink = { header: (name: string, value: string) => headers.push([name, value]) };
        try {
          const rule = ruleOf?.(handler.method, request) ?? declared;
          const caller = await admit(admission, rule, request, sink);
          if (format.encoding !== undefined && !isKnownEncoding(format.encoding)) {
            // Connect refuses it; a header tells the client which encodings are accepted.
            const protocol = protocolOf(request.raw.headers["content-type"] ?? "");
            sink.header(acceptHeaders[protocol], compressions.map(({ name }) => name).join(","));
            return { headers };
          }
          if (isClientStream) return { headers, streamer: { caller } };
          const message = await readMessage(request, decoding, format, bodyLimit(rule));
          return { headers, call: { request, caller, message } };
        } catch (error) {
          const refusal = asConnectError(error);
          if (refusal !== error) logger.error({ err: error, request_id: request.id }, "request failed");
          return { headers, refusal };
        }
      };

      const verbs = handler.allowedMethods;
      app.all(handler.requestPath, { config: { verbs } }, async (request, reply) => {
        const { raw } = request;
        if (!verbs.includes(raw.method ?? "")) reply.header("allow", verbs.join(", "));
        const signal = disconnectSignal(request, reply);
        const format = formatOf(handler, raw);
        const outcome = format === undefined ? undefined : await settle(request, format);
        reply.hijack();
        try {
          const response = await handler({
            httpVersion: raw.httpVersion,
            method: raw.method ?? "",
            url: urlFor(handler, raw, format),
            header: headersFor(raw),
            body: outcome?.streamer === undefined ? emptyBody(format) : streamOf(request),
            signal,
            contextValues: createContextValues().set(outcomeKey, outcome),
          });
          for (const [name, value] of Object.entries(reply.getHeaders())) {
            if (value !== undefined) reply.raw.setHeader(name, value);
          }
          await universalResponseToNodeResponse(response, reply.raw);
        } catch (error) {
          // A failed write to a client that has disconnected is not a fault.
          if (!signal.aborted) logger.error({ err: error, request_id: request.id }, "request failed");
          reply.raw.destroy();
        }
      });
    };
    for (const handler of router.handlers) mount(handler);
  };
}
