import { randomUUID } from "node:crypto";
import { ConnectError } from "@connectrpc/connect";
import cors from "@fastify/cors";
import { detailOf, ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import type { Logger } from "@turnwright/platform/logger";
import fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { alreadyClosed } from "./admission/admit.ts";
import type { LiveCalls } from "./admission/live-calls.ts";
import type { GatewayConfig } from "./config.ts";
import { ClientAccounts } from "./connections/client-accounts.ts";
import { drainServer, type OpenRequests } from "./connections/drain.ts";
import { createDualProtocolServer, type DualProtocolServer } from "./connections/protocols.ts";
import { refusalLog } from "./connections/refused-requests.ts";
import { watchStalledReaders } from "./connections/stalled-readers.ts";
import { answerUnparsable } from "./connections/unserved.ts";
import { answerHeaders } from "./http/answer-headers.ts";
import { endedBecause } from "./http/disconnect.ts";
import { type ErrorContext, restError } from "./http/error-body.ts";
import { refuseGrpc } from "./http/grpc-refusal.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** Shape of the route's errors. */
    errorContext?: ErrorContext;
    /** The verbs served, of a route that answers the others with 405 itself. */
    verbs?: readonly string[];
  }
}

/**
 * No route has a JSON schema: the contract's rules check requests. Fastify would otherwise load compilers of schemas, a
 * hundred modules that nothing uses.
 */
const noSchemas = () => (): never => {
  throw new Error("routes of this server have no JSON schema");
};

const requestIdShape = /^[A-Za-z0-9._:-]{1,128}$/;

/** Converts errors that fastify raises before a route is reached. */
function frameworkError(error: FastifyError): unknown {
  switch (error.code) {
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return fail(ErrorReason.TOO_LARGE, "The body is larger than this server accepts.");
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE":
      return fail(ErrorReason.UNSUPPORTED_MEDIA_TYPE, "Send the body as application/json.");
    case "FST_ERR_CTP_INVALID_CONTENT_LENGTH":
    case "FST_ERR_BAD_URL":
    case "FST_ERR_MAX_PARAM_LENGTH":
      return fail(ErrorReason.INVALID_REQUEST, error.message);
    default:
      return isClientsFault(error) ? fail(ErrorReason.INVALID_REQUEST, error.message) : error;
  }
}

/** Whether the framework or one of its plugins blames the request. */
function isClientsFault(error: FastifyError): boolean {
  const { statusCode } = error;
  return !(error instanceof ConnectError) && statusCode !== undefined && statusCode >= 400 && statusCode < 500;
}

/**
 * Whether a framework error means that nothing is served at the path: it leaves its folder, its file does not exist, or
 * a QUERY request without a content type where no body is accepted.
 */
function saysNotServed(error: FastifyError): boolean {
  return (
    error.code === "FST_ERR_ROUTE_MISSING_CONTENT_TYPE" || (isClientsFault(error) && [403, 404].includes(error.statusCode ?? 0))
  );
}

const nothing = () => {};

/**
 * Writes the access log and fires the disconnect signal. `close` is emitted for every response, also after a
 * disconnect.
 */
function followResponses(app: FastifyInstance, logger: Logger, liveCalls: LiveCalls, open: OpenRequests): void {
  app.decorateRequest("caller", undefined);
  app.decorateRequest("disconnect", undefined);
  app.decorateRequest("releaseSlot", undefined);

  const onClosed = (request: FastifyRequest, reply: FastifyReply, startedAt: number) => {
    open.delete(request);
    // Over HTTP/2, a response whose client has disconnected counts as finished.
    const finished = reply.raw.writableEnded && reply.raw.writableFinished;
    if (!finished) request.disconnect?.abort();
    const identity = request.caller?.identity;
    if (identity !== undefined) liveCalls.delete(identity.tokenId, request);
    request.releaseSlot?.();
    request.releaseSlot = alreadyClosed;
    logger.info(
      {
        request_id: request.id,
        method: request.method,
        route: request.routeOptions.url,
        status: reply.raw.headersSent ? reply.raw.statusCode : 499,
        aborted: finished ? undefined : true,
        ms: Math.round((performance.now() - startedAt) * 100) / 100,
        user_id: identity?.userId,
        token_id: identity?.tokenId,
      },
      "request",
    );
  };

  app.addHook("onRequest", (request, reply, done) => {
    const startedAt = performance.now();
    open.set(request, reply);
    // A failed write to a closed connection is not a fault.
    reply.raw.on("error", nothing);
    reply.raw.on("close", () => onClosed(request, reply, startedAt));
    reply.headers(answerHeaders).header("x-request-id", request.id);
    done();
  });
}

/** Collects the verbs served at each path, for 405. */
function collectVerbs(app: FastifyInstance): (path: string) => string[] {
  const routes: { pattern: RegExp; verbs: readonly string[] }[] = [];
  app.addHook("onRoute", ({ method, url, config }) => {
    if (url === "*") return;
    const parts = url.split("/").map((part) => {
      if (part === "*") return ".*";
      return part.startsWith(":") ? "[^/]+" : part.replaceAll(/[.+?^$()[\]{}|\\]/g, "\\$&");
    });
    routes.push({ pattern: new RegExp(`^${parts.join("/")}/?$`), verbs: config?.verbs ?? [method].flat() });
  });
  return (path) => [...new Set(routes.flatMap(({ pattern, verbs }) => (pattern.test(path) ? verbs : [])))].sort();
}

/**
 * Creates the public HTTP server without its routes: protocols, limits of size and time, CORS, request ids, the access
 * log, and the error body for requests that no route answers.
 */
export async function createServer(deps: {
  config: GatewayConfig;
  logger: Logger;
  liveCalls: LiveCalls;
  /** Filled with the requests whose responses are not complete. */
  open: OpenRequests;
  /** Silence after which a connection is closed while the server drains, in milliseconds. */
  quietMs: number;
}): Promise<FastifyInstance> {
  const { config, logger, open, quietMs } = deps;
  const limits = {
    accounts: new ClientAccounts({
      connectionsPerAddress: config.SERVER_ADDRESS_CONNECTIONS,
      bytesPerConnection: config.SERVER_CONNECTION_BYTES,
      bytesPerAddress: config.SERVER_ADDRESS_BYTES,
      bytesInAll: config.SERVER_PRESSURE_BYTES,
      proxies: config.SERVER_TRUST_PROXY,
    }),
    streamsPerConnection: config.SERVER_CONNECTION_STREAMS,
    onRefused: refusalLog(logger),
  };
  const app: FastifyInstance = fastify({
    logger: false,
    bodyLimit: config.SERVER_BODY_LIMIT,
    trustProxy: config.SERVER_TRUST_PROXY.length > 0 ? config.SERVER_TRUST_PROXY : false,
    requestIdHeader: false,
    genReqId: (request) => {
      const given = request.headers["x-request-id"];
      return typeof given === "string" && requestIdShape.test(given) ? given : randomUUID();
    },
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 300 },
    schemaController: { compilersFactory: { buildValidator: noSchemas, buildSerializer: noSchemas } },
    forceCloseConnections: "idle",
    // Requests on open connections are still served during shutdown; the client is told not to reuse the connection.
    return503OnClosing: false,
    clientErrorHandler: answerUnparsable,
    frameworkErrors: (error, request, reply) => sendError(error, request as FastifyRequest, reply as FastifyReply),
    serverFactory: (handler) =>
      createDualProtocolServer(handler, { requestMs: config.SERVER_REQUEST_TIMEOUT, idleMs: 72_000 }, limits),
  });

  const sendError = (error: FastifyError, request: FastifyRequest, reply: FastifyReply) => {
    if (saysNotServed(error)) return sendNotServed(request, reply);
    const known = endedBecause(request.disconnect?.signal) ?? frameworkError(error);
    // Errors of services carry a detail and were logged where they occurred.
    if (reasonOf(known) === ErrorReason.INTERNAL && detailOf(known) === undefined) {
      logger.error({ err: error, request_id: request.id }, "request failed");
    }
    const { status, headers, body } = restError(known, request.routeOptions.config.errorContext);
    if (refuseGrpc(request, reply)) return reply;
    // RFC 9110, section 15.5.16: names the encoding as the cause, and that none is accepted.
    if (status === 415 && body.error.param === "Content-Encoding") reply.header("accept-encoding", "identity");
    // Hooks do not run for requests that fastify refuses itself.
    reply.header("x-request-id", request.id);
    return reply.code(status).headers(answerHeaders).headers(headers).send(body);
  };

  // Bodies without a route stay unread; each plugin registers the types it accepts.
  app.removeAllContentTypeParsers();

  // Before CORS, which answers preflight requests itself.
  followResponses(app, logger, deps.liveCalls, open);
  await app.register(cors, {
    origin: config.CORS_ORIGINS.includes("*") ? "*" : config.CORS_ORIGINS,
    methods: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
    strictPreflight: false,
    // One text for all responses: of a list, each response would hold its own.
    exposedHeaders: [
      "x-request-id",
      "x-ratelimit-limit",
      "x-ratelimit-remaining",
      "x-ratelimit-limit-requests",
      "x-ratelimit-remaining-requests",
      "x-ratelimit-reset-requests",
      "retry-after",
      "idempotent-replayed",
      "x-next-cursor",
      "grpc-status",
      "grpc-message",
      "grpc-status-details-bin",
    ].join(", "),
    maxAge: 600,
  });
  let stopWatching: (() => void) | undefined;
  app.addHook("onListen", async () => {
    stopWatching = watchStalledReaders({ open, limitMs: config.SERVER_STALL_TIMEOUT, logger });
  });
  app.addHook("onClose", async () => stopWatching?.());
  // From here on, fastify closes each connection after its response; it closes the server when the drain is over.
  app.addHook("preClose", async () => {
    const server = app.server as DualProtocolServer;
    await drainServer({ server, open, limitMs: config.SERVER_SHUTDOWN_TIMEOUT, quietMs });
  });
  const verbsOf = collectVerbs(app);

  app.setErrorHandler((error, request, reply) => sendError(error as FastifyError, request, reply));
  const sendNotServed = (request: FastifyRequest, reply: FastifyReply) => {
    if (refuseGrpc(request, reply)) return reply;
    const path = request.url.split("?", 1)[0] ?? "";
    const served = verbsOf(path);
    // When a route served this verb, it returned not-found itself.
    const verbs = served.includes(request.method) ? [] : served;
    if (verbs.length > 0) reply.header("allow", verbs.join(", "));
    const error =
      verbs.length > 0
        ? fail(ErrorReason.METHOD_NOT_ALLOWED, `${request.method} is not served here; use ${verbs.join(" or ")}.`)
        : fail(ErrorReason.NOT_FOUND, `Nothing is served at ${path}.`);
    const { status, body } = restError(error);
    return reply.code(status).send(body);
  };
  app.setNotFoundHandler(sendNotServed);
  return app;
}
