import { ErrorReason } from "../../gen/turnwright/errors/v1/reason_pb.ts";

/** Message and field of an example error. */
export interface ReasonExample {
  readonly message: string;
  readonly param?: string;
  /** All faulty fields of the request. */
  readonly faults?: readonly { readonly param: string; readonly message: string }[];
}

/** Example errors by reason, for the OpenAPI document and docs/errors.md. */
export const reasonExamples = {
  [ErrorReason.INTERNAL]: { message: "Something went wrong on our side." },
  [ErrorReason.INVALID_REQUEST]: {
    message: "allowed_tool: unknown field; did you mean allowed_tools?; name: must be at least 1 characters",
    param: "allowed_tool",
    faults: [
      { param: "allowed_tool", message: "unknown field; did you mean allowed_tools?" },
      { param: "name", message: "must be at least 1 characters" },
    ],
  },
  [ErrorReason.INVALID_ID]: {
    message: "conversation_id: must be a valid UUID",
    param: "conversation_id",
    faults: [{ param: "conversation_id", message: "must be a valid UUID" }],
  },
  [ErrorReason.NOT_FOUND]: { message: "There is no such conversation.", param: "conversation_id" },
  [ErrorReason.UNAUTHENTICATED]: {
    message: "The Authorization header is missing; send `Authorization: Bearer <token>`.",
  },
  [ErrorReason.INVALID_TOKEN]: { message: "The access token is not valid." },
  [ErrorReason.TOKEN_EXPIRED]: { message: "The access token has expired; refresh it, or log in again." },
  [ErrorReason.PERMISSION_DENIED]: { message: "This API key lacks the scope conversations:read.", param: "scopes" },
  [ErrorReason.MODEL_NOT_ALLOWED]: { message: 'This token may not use the model "gpt-4o".', param: "model" },
  [ErrorReason.RATE_LIMITED]: { message: "Too many requests; try again in 7 s." },
  [ErrorReason.DATABASE_UNAVAILABLE]: { message: "database is not ready: no answer to auth." },
  [ErrorReason.REDIS_UNAVAILABLE]: { message: "redis is not ready." },
  [ErrorReason.IDEMPOTENCY_KEY_REUSED]: {
    message: "Idempotency-Key: stands for another request already.",
    param: "Idempotency-Key",
  },
  [ErrorReason.INVALID_CREDENTIALS]: { message: "Email or password is wrong." },
} as const satisfies Partial<Record<ErrorReason, ReasonExample>>;

/** The example of a reason; undefined for most. */
export function exampleFor(reason: number): ReasonExample | undefined {
  return (reasonExamples as Partial<Record<number, ReasonExample>>)[reason];
}
