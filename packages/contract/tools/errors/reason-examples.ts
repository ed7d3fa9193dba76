import { ErrorReason } from "../../gen/turnwright/errors/v1/reason_pb.ts";

/** Message and field of an example error. */
export interface ReasonExample {
  readonly message: string;
  readonly param?: string;
}

/** Example errors by reason, for the OpenAPI document and docs/errors.md. */
export const reasonExamples = {
  [ErrorReason.INTERNAL]: { message: "internal error" },
  [ErrorReason.INVALID_REQUEST]: { message: "message: must be at least 1 character", param: "message" },
  [ErrorReason.INVALID_ID]: { message: "conversation_id: must be a UUID", param: "conversation_id" },
  [ErrorReason.NOT_FOUND]: { message: "not found" },
  [ErrorReason.UNAUTHENTICATED]: { message: "Authorization header required" },
  [ErrorReason.INVALID_TOKEN]: { message: "invalid or expired token" },
  [ErrorReason.PERMISSION_DENIED]: { message: "This API key lacks the scope conversations:read.", param: "scopes" },
  [ErrorReason.MODEL_NOT_ALLOWED]: { message: 'This token may not use the model "gpt-4o".', param: "model" },
  [ErrorReason.RATE_LIMITED]: { message: "rate limit exceeded" },
  [ErrorReason.DATABASE_UNAVAILABLE]: { message: "database unavailable" },
  [ErrorReason.REDIS_UNAVAILABLE]: { message: "redis unavailable" },
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
