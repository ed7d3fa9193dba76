import { randomUUID } from "node:crypto";
import cors from "@fastify/cors";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Logger } from "@turnwright/platform/logger";
import fastify, { type FastifyError, type FastifyInstance } from "fastify";
import type { GatewayConfig } from "./config.ts";
import { restError } from "./error-body.ts";
import { createDualProtocolServer } from "./protocols.ts";

const requestIdShape = /^[A-Za-z0-9._:-]{1,128}$/;

/** What fastify says before a route is reached, in our words. */
function frameworkError(error: FastifyError): unknown {
  switch (error.code) {
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return fail(ErrorReason.TOO_LARGE, "The body is larger than this server accepts.");
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE":
      return fail(ErrorReason.UNSUPPORTED_MEDIA_TYPE, "Send the body as application/json.");
    case "FST_ERR_CTP_INVALID_CONTENT_LENGTH":
    case "FST_ERR_BAD_URL":
      return fail(ErrorReason.INVALID_REQUEST, error.message);
    default:
      return error;
  }
}

/**
 * The public HTTP server without its routes: protocols, limits of size and time, CORS, request ids, the access log, and the
 * envelope for everything that no route answers.
 */
export async function createServer(deps: {
  config: GatewayConfig;
  logger: Logger;
  /** The verbs that a path is served with, for 405. */
  verbsOf: (path: string) => readonly string[];
}): Promise<FastifyInstance> {
  const { config, logger } = deps;
  const app: FastifyInstance = fastify({
    logger: false,
    bodyLimit: config.SERVER_BODY_LIMIT,
    requestIdHeader: false,
    genReqId: (request) => {
      const given = request.headers["x-request-id"];
      return typeof given === "string" && requestIdShape.test(given) ? given : randomUUID();
    },
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 300 },
    exposeHeadRoutes: false,
    forceCloseConnections: "idle",
    serverFactory: (handler) =>
      createDualProtocolServer(handler, {
        firstByteMs: config.SERVER_REQUEST_TIMEOUT,
        headersTimeout: config.SERVER_REQUEST_TIMEOUT,
        requestTimeout: config.SERVER_REQUEST_TIMEOUT,
        keepAliveTimeout: 72_000,
        connectionsCheckingInterval: 1_000,
      }),
  });
  app.decorateRequest("caller", undefined);

  await app.register(cors, {
    origin: config.CORS_ORIGINS.includes("*") ? "*" : config.CORS_ORIGINS,
    methods: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
    exposedHeaders: [
      "x-request-id",
      "x-ratelimit-limit",
      "x-ratelimit-remaining",
      "x-ratelimit-limit-requests",
      "x-ratelimit-remaining-requests",
      "x-ratelimit-reset-requests",
      "retry-after",
      "grpc-status",
      "grpc-message",
      "grpc-status-details-bin",
    ],
    maxAge: 600,
  });
  app.addHook("onRequest", (request, reply, done) => {
    reply.header("x-request-id", request.id);
    done();
  });
  app.addHook("onResponse", (request, reply, done) => {
    const identity = request.caller?.identity;
    logger.info(
      {
        request_id: request.id,
        method: request.method,
        route: request.routeOptions.url,
        status: reply.raw.statusCode,
        ms: Math.round(reply.elapsedTime * 100) / 100,
        user_id: identity?.userId,
        token_id: identity?.tokenId,
      },
      "request",
    );
    done();
  });

  app.setErrorHandler((error, request, reply) => {
    const known = frameworkError(error as FastifyError);
    const answer = restError(known);
    if (answer.status >= 500) logger.error({ err: error, request_id: request.id }, "request failed");
    return reply.code(answer.status).headers(answer.headers).send(answer.body);
  });
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split("?", 1)[0] ?? "";
    const verbs = deps.verbsOf(path);
    if (verbs.length > 0) reply.header("allow", verbs.join(", "));
    const error =
      verbs.length > 0
        ? fail(ErrorReason.METHOD_NOT_ALLOWED, `${request.method} is not served here; use ${verbs.join(" or ")}.`)
        : fail(ErrorReason.NOT_FOUND, `Nothing is served at ${path}.`);
    const answer = restError(error);
    return reply.code(answer.status).send(answer.body);
  });
  return app;
}
