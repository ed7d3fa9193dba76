import type { IncomingMessage } from "node:http";
import { create, type DescMethod, type Message, type Registry } from "@bufbuild/protobuf";
import {
  ConnectError,
  type ConnectRouter,
  createConnectRouter,
  createContextKey,
  createContextValues,
  type HandlerContext,
} from "@connectrpc/connect";
import type { UniversalHandler } from "@connectrpc/connect/protocol";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Logger } from "@turnwright/platform/logger";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { type Admission, type AdmissionRule, admissionRule, admit } from "../admission/admit.ts";
import type { Caller } from "../admission/authentication.ts";
import { disconnectSignal } from "../http/disconnect.ts";
import { restError } from "../http/error-body.ts";
import { percentEncoded } from "../http/grpc-refusal.ts";
import { emptyBody, headersFor, streamOf, urlFor } from "./connect-request.ts";
import { compressions, isKnownEncoding } from "./decompression.ts";
import { endingWith, type StreamEnd, sendEnd, sendFirst, sendLater } from "./later-messages.ts";
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
  /** Fires when its client has gone, or the gateway ends it. */
  readonly signal: AbortSignal;
  /** Set by the handler of a stream before it yields its first message: the messages after it. */
  later?: AsyncIterator<Message>;
}

/** The outcome of admission and reading, before Connect sees the request. */
interface Outcome {
  readonly headers: readonly (readonly [string, string])[];
  /** The caller of an admitted stream of messages, which Connect reads. */
  readonly streamer?: { readonly caller: Caller | undefined };
  readonly call?: AdmittedRpc;
  readonly refusal?: ConnectError;
}

/** A request that admission has passed or refused. */
interface Settled {
  readonly format: MessageFormat | undefined;
  readonly outcome: Outcome;
  readonly signal: AbortSignal;
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

/** Whether a stream is one of gRPC or Connect, and not of gRPC-web, which has its trailers in its body. */
function isEnveloped({ headers }: IncomingMessage): boolean {
  const contentType = (headers["content-type"] ?? "").toLowerCase();
  return protocolOf(contentType) !== "connect" && !contentType.startsWith("application/grpc-web");
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

/** Answers a request that has not the form of an RPC: another verb, or messages of another type. */
function refuseForm({ allowedMethods, method }: UniversalHandler, request: FastifyRequest, reply: FastifyReply) {
  const verbs = allowedMethods.join(" or ");
  const types = method.methodKind === "unary" ? "application/json, application/proto" : "application/connect+json or +proto";
  const error = allowedMethods.includes(request.method)
    ? fail(ErrorReason.UNSUPPORTED_MEDIA_TYPE, `Send messages as ${types}, application/grpc-web or application/grpc.`)
    : fail(ErrorReason.METHOD_NOT_ALLOWED, `${request.method} is not served here; use ${verbs}.`);
  const { status, headers, body } = restError(error);
  return reply.code(status).headers(headers).send(body);
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

      const needsHttp2 = handler.method.methodKind === "bidi_streaming";

      const settle = async (request: FastifyRequest, format: MessageFormat, signal: AbortSignal): Promise<Outcome> => {
        const headers: [string, string][] = [];
        const sink = { header: (name: string, value: string) => headers.push([name, value]) };
        if (needsHttp2 && request.raw.httpVersionMajor < 2) {
          // A client that waits for responses while it sends would wait for ever.
          return { headers: [["connection", "close"]], refusal: fail(ErrorReason.UNIMPLEMENTED, "This method needs HTTP/2.") };
        }
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
          return { headers, call: { request, caller, message, signal } };
        } catch (error) {
          const refusal = asConnectError(error);
          if (refusal !== error) logger.error({ err: error, request_id: request.id }, "request failed");
          return { headers, refusal };
        }
      };

      const respond = (request: FastifyRequest, { format, outcome, signal }: Settled) => {
        const { raw } = request;
        return handler({
          // `settle` has refused what needs HTTP/2, in a form that clients of each protocol can read.
          httpVersion: needsHttp2 ? "2.0" : raw.httpVersion,
          method: raw.method ?? "",
          url: urlFor(handler, raw, format),
          header: headersFor(raw),
          body: outcome.streamer === undefined ? emptyBody(format) : streamOf(request),
          signal,
          contextValues: createContextValues().set(outcomeKey, outcome),
        });
      };

      /** Answers a call, but for the later messages of a stream. */
      const begin = async (request: FastifyRequest, reply: FastifyReply, settled: Settled) => {
        const response = await respond(request, settled);
        for (const [name, value] of Object.entries(reply.getHeaders())) {
          if (value !== undefined) reply.raw.setHeader(name, value);
        }
        const { outcome, format, signal } = settled;
        const isOurs = format?.isJson === false && isEnveloped(request.raw);
        const later = () => (isOurs ? outcome.call?.later : undefined);
        return await sendFirst(response, reply.raw, { method: handler.method, later, signal });
      };

      /** Sends the end of a stream after its later messages: Connect frames it as that of a stream without any. */
      const finish = async (request: FastifyRequest, reply: FastifyReply, end: StreamEnd) => {
        const { signal } = new AbortController();
        const { caller } = request;
        const call = { request, caller, message: create(handler.method.input), signal, later: endingWith(end) };
        const settled = { format: formatOf(handler, request.raw), outcome: { headers: [], call }, signal };
        await sendEnd(await respond(request, settled), reply.raw);
      };

      const verbs = handler.allowedMethods;
      app.all(handler.requestPath, { config: { verbs } }, async (request, reply) => {
        const { raw } = request;
        if (!verbs.includes(raw.method ?? "")) reply.header("allow", verbs.join(", "));
        const signal = disconnectSignal(request, reply);
        const format = formatOf(handler, raw);
        if (format === undefined) return refuseForm(handler, request, reply);
        const outcome = await settle(request, format, signal);
        reply.hijack();
        try {
          const later = await begin(request, reply, { format, outcome, signal });
          if (later === undefined) return;
          const end = await sendLater(later, reply.raw, signal);
          if (!reply.raw.destroyed) await finish(request, reply, end);
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
