import { getOption, type JsonObject } from "@bufbuild/protobuf";
import { ErrorReason, ErrorReasonSchema, mapping } from "../../gen/turnwright/errors/v1/reason_pb.ts";
import type { Header, JsonSchema, NamedExample, Response } from "./openapi-types.ts";

/** The component that every error body is. */
export const errorSchemaName = "Error";

/** The error body on every surface. */
export const errorSchema: JsonSchema = {
  type: "object",
  description: "What every failed request answers with.",
  properties: {
    success: { const: false },
    error: {
      type: "object",
      properties: {
        message: { type: "string", description: "What went wrong, for a person." },
        type: { type: "string", description: "OpenAI's class of error: `invalid_request_error`, `authentication_error`, …" },
        param: { type: ["string", "null"], description: "The field at fault, as a path in the request: `messages[0].role`." },
        code: { type: "string", description: "What went wrong, for a program." },
      },
      required: ["message", "type", "param", "code"],
    },
  },
  required: ["success", "error"],
};

/** An error body as a surface sends it. */
export function errorBody(init: { message: string; type: string; code: string; param?: string }): JsonObject {
  return { success: false, error: { message: init.message, type: init.type, param: init.param ?? null, code: init.code } };
}

function reasonValue(reason: ErrorReason) {
  const value = ErrorReasonSchema.value[reason];
  if (value === undefined) throw new Error(`no such reason: ${reason}`);
  return value;
}

/** Reasons as named examples, with status and code of the table in `errors/v1/reason.proto`. */
function examplesOf(shown: readonly { reason: ErrorReason; message: string; param?: string }[]): Record<string, NamedExample> {
  return Object.fromEntries(
    shown.map(({ reason, message, param }) => {
      const { type, code } = getOption(reasonValue(reason), mapping);
      return [code, { value: errorBody({ message, type, code, param }) }];
    }),
  );
}

const schema: JsonSchema = { $ref: `#/components/schemas/${errorSchemaName}` };

function response(description: string, examples: Record<string, NamedExample>, headers?: Record<string, Header>): Response {
  return { description, ...(headers === undefined ? {} : { headers }), content: { "application/json": { schema, examples } } };
}

const rateLimitHeaders: Record<string, Header> = {
  "Retry-After": { description: "Seconds until the next request may come.", schema: { type: "integer" } },
  "X-RateLimit-Limit": { description: "Requests that this token has in the window.", schema: { type: "integer" } },
  "X-RateLimit-Remaining": { description: "Requests that are left in it.", schema: { type: "integer" } },
};

/** The shared error responses. */
export const errorResponses = {
  InvalidRequest: response(
    "The request breaks the contract.",
    examplesOf([
      { reason: ErrorReason.INVALID_REQUEST, message: "message: must be at least 1 character", param: "message" },
      { reason: ErrorReason.INVALID_ID, message: "conversation_id: must be a UUID", param: "conversation_id" },
    ]),
  ),
  Unauthorized: response(
    "No credentials, or none that are valid.",
    examplesOf([
      { reason: ErrorReason.UNAUTHENTICATED, message: "Authorization header required" },
      { reason: ErrorReason.INVALID_TOKEN, message: "invalid or expired token" },
    ]),
  ),
  Forbidden: response(
    "The caller may not do this.",
    examplesOf([
      { reason: ErrorReason.PERMISSION_DENIED, message: "This API key lacks the scope conversations:read.", param: "scopes" },
    ]),
  ),
  NotFound: response("No such resource.", examplesOf([{ reason: ErrorReason.NOT_FOUND, message: "not found" }])),
  RateLimited: response(
    "A limit of the token is used up.",
    examplesOf([{ reason: ErrorReason.RATE_LIMITED, message: "rate limit exceeded" }]),
    rateLimitHeaders,
  ),
  IdempotencyKeyReused: response(
    "The idempotency key stands for another request already.",
    examplesOf([
      {
        reason: ErrorReason.IDEMPOTENCY_KEY_REUSED,
        message: "Idempotency-Key: stands for another request already.",
        param: "Idempotency-Key",
      },
    ]),
  ),
  InternalError: response(
    "An unexpected failure; the log has its cause under the request id.",
    examplesOf([{ reason: ErrorReason.INTERNAL, message: "internal error" }]),
  ),
  Unavailable: response(
    "A store does not answer.",
    examplesOf([
      { reason: ErrorReason.DATABASE_UNAVAILABLE, message: "database unavailable" },
      { reason: ErrorReason.REDIS_UNAVAILABLE, message: "redis unavailable" },
    ]),
  ),
} satisfies Record<string, Response>;

/** Refers to a shared error response. */
export function errorResponse(name: keyof typeof errorResponses): Response {
  return { $ref: `#/components/responses/${name}` };
}

/** Every other failure of an endpoint: reasons that have no code of their own answer with the endpoint's. */
export function endpointErrorResponse(code: string): Response {
  const value = errorBody({ message: "what went wrong", type: "invalid_request_error", code });
  return {
    description: `Any other failure. Its code is that of its cause, or \`${code}\` where the cause has none of its own.`,
    content: { "application/json": { schema, example: value } },
  };
}
