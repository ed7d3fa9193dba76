import { getOption, type JsonObject } from "@bufbuild/protobuf";
import { ErrorReason, ErrorReasonSchema, mapping } from "../../gen/turnwright/errors/v1/reason_pb.ts";
import { type ReasonExample, reasonExamples } from "../errors/reason-examples.ts";
import type { Header, JsonSchema, NamedExample, Response } from "./openapi-types.ts";

/** Name of the component that describes error bodies. */
export const errorSchemaName = "Error";

/** Schema of the error body of REST and the OpenAI surface. */
export const errorSchema: JsonSchema = {
  type: "object",
  description: "Body of every error response.",
  properties: {
    success: { const: false },
    error: {
      type: "object",
      properties: {
        message: { type: "string", description: "Error message for people; may change." },
        type: { type: "string", description: "OpenAI's class of errors: `invalid_request_error`, `authentication_error`, …" },
        param: { type: ["string", "null"], description: "Field at fault, as a path in the request: `messages[0].role`." },
        code: { type: "string", description: "Error code for programs; see docs/errors.md." },
        faults: {
          type: "array",
          description: "All faulty fields of the request, `param` first; absent from other errors.",
          items: {
            type: "object",
            properties: {
              param: { type: ["string", "null"], description: "The field, as `param` above; null: the request as a whole." },
              message: { type: "string", description: "Error message for people; may change." },
            },
            required: ["param", "message"],
          },
          maxItems: 20,
        },
        approval: {
          type: "object",
          description:
            "The decision that stands, without the call's arguments; only with `APPROVAL_DECIDED` and `APPROVAL_EXPIRED`.",
          properties: {
            id: { type: "string", description: "UUID of the approval." },
            run_id: { type: "string", description: "UUID of the run." },
            status: { type: "string", description: "`approved` or `rejected`." },
            reason: { type: "string", description: "Reason of the decision, cut after 500 characters." },
            decided_by: { type: "string", description: "UUID of the user who decided. Empty: nobody did." },
            decided_by_name: { type: "string", description: "Name of the account that decided. Empty: nobody did, or unknown." },
            decided_via: { type: "string", description: "How the decision came, as `decided_via` of an approval." },
            decided_at: { type: ["string", "null"], description: "When it was decided." },
            is_edited: { type: "boolean", description: "The arguments were replaced." },
          },
          required: [
            "id",
            "run_id",
            "status",
            "reason",
            "decided_by",
            "decided_by_name",
            "decided_via",
            "decided_at",
            "is_edited",
          ],
        },
      },
      required: ["message", "type", "param", "code"],
    },
  },
  required: ["success", "error"],
};

/** Error body of REST and the OpenAI surface. */
export function errorBody(init: ReasonExample & { type: string; code: string }): JsonObject {
  const { message, type, param = null, code, faults } = init;
  const listed = faults?.map((fault) => ({ ...fault }));
  return { success: false, error: { message, type, param, code, ...(listed === undefined ? {} : { faults: listed }) } };
}

/** Examples of reasons, with status and code from the table in `errors/v1/reason.proto`. */
function examplesOf(...reasons: readonly (keyof typeof reasonExamples)[]): Record<string, NamedExample> {
  return Object.fromEntries(
    reasons.map((reason) => {
      const value = ErrorReasonSchema.value[reason];
      if (value === undefined) throw new Error(`no such reason: ${reason}`);
      const { type, code } = getOption(value, mapping);
      const shown: ReasonExample = reasonExamples[reason];
      return [code, { value: errorBody({ ...shown, type, code }) }];
    }),
  );
}

const schema: JsonSchema = { $ref: `#/components/schemas/${errorSchemaName}` };

function response(description: string, examples: Record<string, NamedExample>, headers?: Record<string, Header>): Response {
  return { description, ...(headers === undefined ? {} : { headers }), content: { "application/json": { schema, examples } } };
}

const rateLimitHeaders: Record<string, Header> = {
  "Retry-After": { description: "Seconds to wait before the next request.", schema: { type: "integer" } },
  "X-RateLimit-Limit": { description: "Requests that the credential may send in the window.", schema: { type: "integer" } },
  "X-RateLimit-Remaining": { description: "Requests left in the window.", schema: { type: "integer" } },
};

/** The shared error responses. */
export const errorResponses = {
  InvalidRequest: response(
    "The request is malformed or breaks a rule of a field.",
    examplesOf(ErrorReason.INVALID_REQUEST, ErrorReason.INVALID_ID),
  ),
  Unauthorized: response(
    "Credentials are missing or invalid.",
    examplesOf(ErrorReason.UNAUTHENTICATED, ErrorReason.INVALID_TOKEN, ErrorReason.TOKEN_EXPIRED),
  ),
  Forbidden: response("The caller may not do this.", examplesOf(ErrorReason.PERMISSION_DENIED)),
  NotFound: response("The caller has no such resource.", examplesOf(ErrorReason.NOT_FOUND)),
  RateLimited: response("A limit is used up.", examplesOf(ErrorReason.RATE_LIMITED), rateLimitHeaders),
  IdempotencyKeyReused: response(
    "The idempotency key was used for a different request.",
    examplesOf(ErrorReason.IDEMPOTENCY_KEY_REUSED),
  ),
  InternalError: response("An unexpected failure; the log has its cause under the request id.", examplesOf(ErrorReason.INTERNAL)),
  Unavailable: response(
    "The database, Redis or a service does not answer.",
    examplesOf(ErrorReason.DATABASE_UNAVAILABLE, ErrorReason.REDIS_UNAVAILABLE),
  ),
} satisfies Record<string, Response>;

/** Reference to a shared error response. */
export function errorResponse(name: keyof typeof errorResponses): Response {
  return { $ref: `#/components/responses/${name}` };
}

/** Errors without a code of their own, by the endpoint's code; the other endpoints have none of their own. */
const ownErrors: Readonly<Record<string, ReasonExample & { type: string }>> = {
  APPROVAL_ERROR: { message: "Nothing in this conversation waits for an approval.", type: "invalid_request_error" },
  CHAT_ERROR: { message: "The model's endpoint sent text that is not JSON.", type: "server_error" },
  LOGIN_ERROR: { message: "Email or password is wrong.", type: "authentication_error" },
  PASSWORD_ERROR: { message: "current_password: is wrong", type: "authentication_error", param: "current_password" },
  REFRESH_ERROR: { message: "The refresh token is not valid.", type: "authentication_error", param: "refresh_token" },
  REGISTER_ERROR: { message: "An account with this email exists.", type: "invalid_request_error", param: "email" },
  TOOL_ERROR: { message: 'There is no tool with the name "calculater".', type: "invalid_request_error" },
};

const elsewhere = {
  message: "This server is shutting down.",
  type: "server_error",
  code: "UNAVAILABLE",
};

/** All other errors of an endpoint. Reasons without a code of their own take the endpoint's. */
export function endpointErrorResponse(code: string): Response {
  const own = ownErrors[code];
  return {
    description: `Any other error. Its code is that of its reason, or \`${code}\` if the reason has none.`,
    content: { "application/json": { schema, example: errorBody(own === undefined ? elsewhere : { ...own, code }) } },
  };
}
