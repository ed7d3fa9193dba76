import {
  type DescMessage,
  type DescMethodStreaming,
  type DescMethodUnary,
  type DescService,
  type JsonValue,
  type Message,
  ScalarType,
} from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { jsonExcess } from "@turnwright/platform/json/json-depth";
import { once } from "@turnwright/platform/rpc/plane";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { type Admission, admissionRule, admitFirst, bodyLimitOf } from "../admission/admit.ts";
import type { Caller } from "../admission/authentication.ts";
import { callHeaders } from "../admission/call-headers.ts";
import { disconnectSignal } from "../http/disconnect.ts";
import { restError } from "../http/error-body.ts";
import { forgetRequest } from "../http/forget-request.ts";
import { takeJsonBodies } from "../http/json-bodies.ts";
import { type AnswerHead, passReplayed } from "../http/replayed.ts";
import { sendEventStream } from "../http/sse.ts";
import { type BindableRequest, createBinder } from "./binder.ts";
import { csvWriter, wantsCsv } from "./csv.ts";
import { type JsonWriter, JsonWriters } from "./json-writer.ts";
import { type Binding, type Route, routesOf } from "./routes.ts";

/** Dependencies of the REST plugin. */
export interface RestDeps {
  readonly services: readonly DescService[];
  readonly transport: (service: DescService) => Transport;
  readonly admission: Admission;
  /** Largest body, in bytes. */
  readonly bodyLimit: number;
  /** Deadline of unary calls, in milliseconds. */
  readonly callTimeoutMs: number;
  /** Silence after which a stream carries a comment, in milliseconds. */
  readonly heartbeatMs: number;
}

/** An admitted request. */
interface AdmittedCall {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly caller: Caller | undefined;
  readonly signal: AbortSignal;
  readonly body: JsonValue | undefined;
}

type Serve = (call: AdmittedCall) => Promise<unknown>;

/** Maximum number of members and elements in a body. */
const maxBodyValues = 10_000;

function textOf(body: Uint8Array): string {
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("utf8");
}

function parseBody(body: unknown): JsonValue | undefined {
  if (!(body instanceof Uint8Array) || body.byteLength === 0) return undefined;
  const excess = jsonExcess(body, maxBodyValues);
  if (excess !== undefined) throw fail(ErrorReason.INVALID_REQUEST, `body: ${excess}`, { param: "body" });
  try {
    return JSON.parse(textOf(body)) as JsonValue;
  } catch (error) {
    throw fail(ErrorReason.INVALID_REQUEST, `body: not valid JSON (${(error as Error).message})`, { cause: error });
  }
}

function bindable({ request, body }: AdmittedCall): BindableRequest {
  const { params, query } = request as Pick<BindableRequest, "params" | "query">;
  // Decoded again on demand and not kept: a stream may run for long.
  return { params, query, body, text: () => textOf(request.body as Uint8Array) };
}

function errorContext(binding: Binding) {
  return { errorCode: binding.surface.errorCode, pathFields: binding.path.fields };
}

/** The writer of `data`: the whole response, or the field named by the annotation. */
function responseWriter(binding: Binding, writers: JsonWriters): (message: Message) => JsonValue {
  const { output } = binding.method;
  if (binding.responseBody === "") return writers.whole(output);
  const field = output.fields.find((candidate) => candidate.name === binding.responseBody);
  if (field === undefined)
    throw new Error(`${output.typeName} has no field ${binding.responseBody}, which its HTTP annotation names.`);
  const write: JsonWriter = writers.whole(output);
  return (message) => (write(message) as Record<string, JsonValue>)[field.name] ?? null;
}

/** The body of a download: the text of the field named by the annotation. Undefined for methods that answer in JSON. */
function rawBody({ method, surface: { rawField } }: Binding): { name: string; read: (message: Message) => string } | undefined {
  if (rawField === "") return undefined;
  const field = method.output.fields.find((candidate) => candidate.name === rawField);
  if (field?.scalar !== ScalarType.STRING || field.fieldKind !== "scalar")
    throw new Error(`${method.output.typeName} has no text field ${rawField}, which its annotation names.`);
  const { localName } = field;
  return { name: `${rawField}.txt`, read: (message) => (message as unknown as Record<string, string>)[localName] ?? "" };
}

function serveUnary(binding: Binding, deps: RestDeps, writers: JsonWriters, other?: DescMessage): Serve {
  const method = binding.method as DescMethodUnary;
  const transport = deps.transport(method.parent);
  const bind = createBinder(binding, other);
  const write = responseWriter(binding, writers);
  const status = binding.surface.successStatus || 200;
  const raw = rawBody(binding);
  const { csvField } = binding.surface;
  const writeCsv = csvField === "" ? undefined : csvWriter(method.output, csvField);
  const rule = admissionRule(method);
  return async (call) => {
    const { request, reply, caller, signal } = call;
    const input = bind(bindable(call));
    const headers = callHeaders(request, caller, rule);
    const answer = await transport.unary(method, signal, deps.callTimeoutMs, headers, input);
    passReplayed(headers, answer, reply);
    if (raw !== undefined) {
      reply.header("content-type", "text/plain; charset=utf-8");
      reply.header("content-disposition", `attachment; filename="${raw.name}"`);
      return reply.code(status).send(raw.read(answer.message));
    }
    if (writeCsv !== undefined) {
      const varies = [reply.getHeader("vary"), "accept"].filter((name) => name !== undefined);
      reply.header("vary", varies.join(", "));
      if (wantsCsv(request.headers.accept)) {
        const { text, nextCursor } = writeCsv(write(answer.message));
        if (nextCursor !== "") reply.header("x-next-cursor", nextCursor);
        reply.header("content-disposition", `attachment; filename="${csvField}.csv"`);
        return reply.code(status).header("content-type", "text/csv; charset=utf-8").send(text);
      }
    }
    const data = JSON.stringify(write(answer.message));
    reply.code(status).header("content-type", "application/json; charset=utf-8");
    return reply.send(binding.surface.bare ? data : `{"success":true,"data":${data}}`);
  };
}

/** The `id:` line of an event, from the field named by the annotation. */
function eventIds({ method, surface: { eventIdField } }: Binding): (message: Message) => string {
  if (eventIdField === "") return () => "";
  const field = method.output.fields.find((candidate) => candidate.name === eventIdField);
  if (field === undefined) throw new Error(`${method.output.typeName} has no field ${eventIdField}, which its annotation names.`);
  return (message) => {
    const id = (message as unknown as Record<string, unknown>)[field.localName];
    return id === "" || id === undefined ? "" : `id: ${id}\n`;
  };
}

/** The request with the resume position of a reconnecting client, which repeats its original query string. */
function afterLastEvent(given: BindableRequest, field: string, request: FastifyRequest): BindableRequest {
  const id = request.headers["last-event-id"];
  return typeof id !== "string" || id === "" ? given : { ...given, query: { ...given.query, [field]: id } };
}

function serveStream(binding: Binding, deps: RestDeps, writers: JsonWriters, other?: DescMessage): Serve {
  const method = binding.method as DescMethodStreaming;
  const transport = deps.transport(method.parent);
  const bind = createBinder(binding, other);
  const write = writers.sparse(method.output);
  const context = errorContext(binding);
  const rule = admissionRule(method);
  const idOf = eventIds(binding);
  const lastEventIdField = binding.surface.lastEventIdField;
  return async (call) => {
    const { request, reply, caller, signal } = call;
    const input = bind(lastEventIdField === "" ? bindable(call) : afterLastEvent(bindable(call), lastEventIdField, request));
    const headers = callHeaders(request, caller, rule);
    forgetRequest(request);
    let answer: AnswerHead | undefined;
    const opening = transport.stream(method, signal, undefined, headers, once(input)).then((response) => {
      answer = response;
      return response.message;
    });
    await sendEventStream(reply, opening, {
      onFirst: () => passReplayed(headers, answer, reply),
      write: (message) => `${idOf(message as Message)}data: ${JSON.stringify(write(message as Message))}\n\n`,
      end: "data: [DONE]\n\n",
      error: (error) => `data: ${JSON.stringify({ error: restError(error, context).body.error })}\n\n`,
      heartbeatMs: deps.heartbeatMs,
      signal,
    });
    return reply;
  };
}

/** Whether a request asks for the stream at a path that offers both forms. */
function wantsStream(request: FastifyRequest, body: JsonValue | undefined): boolean {
  if (request.headers.accept?.includes("text/event-stream")) return true;
  return typeof body === "object" && body !== null && !Array.isArray(body) && body.stream === true;
}

function addRoute(app: FastifyInstance, route: Route, deps: RestDeps, writers: JsonWriters): void {
  const unary = route.unary && serveUnary(route.unary, deps, writers, route.stream?.method.input);
  const stream = route.stream && serveStream(route.stream, deps, writers, route.unary?.method.input);
  const binding = (route.unary ?? route.stream) as Binding;
  const rule = admissionRule(binding.method);
  app.route({
    method: route.verb,
    url: route.path.route,
    config: { errorContext: errorContext(binding), bodyBytes: bodyLimitOf(rule, deps.bodyLimit) },
    onRequest: admitFirst(deps.admission, rule),
    async handler(request, reply) {
      const signal = disconnectSignal(request, reply);
      const { caller } = request;
      const body = parseBody(request.body);
      const serve = stream !== undefined && (unary === undefined || wantsStream(request, body)) ? stream : unary;
      return (serve as Serve)({ request, reply, caller, signal, body });
    },
  });
}

/**
 * A fastify plugin that serves the annotated methods of services as REST and server-sent events. Knows no method by
 * name.
 */
export function restPlugin(deps: RestDeps) {
  return async (app: FastifyInstance): Promise<void> => {
    takeJsonBodies(app, /^application\/(?:[\w.+-]+\+)?json\b/);
    const writers = new JsonWriters();
    for (const route of routesOf(deps.services)) addRoute(app, route, deps, writers);
  };
}
