import { ConnectError } from "@connectrpc/connect";
import { detailOf, ErrorReason, mappingOf, reasonOf } from "@turnwright/platform/errors";
import { idempotentReplayedHeader } from "@turnwright/platform/postgres/idempotency";

/** An error as REST and OpenAI clients see it. */
export interface RestError {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: {
    readonly success: false;
    readonly error: { readonly message: string; readonly type: string; readonly param: string | null; readonly code: string };
  };
}

/** What the failing route knows of itself. */
export interface ErrorContext {
  /** The endpoint's own code, for reasons that have none. */
  readonly errorCode?: string;
  /** Fields that stand in the path; a bad one is INVALID_ID. */
  readonly pathFields?: readonly string[];
}

const bearerChallenge = { "www-authenticate": "Bearer" };

/** Turns any error into status, headers and body. Errors that no one meant do not show their message. */
export function restError(error: unknown, context: ErrorContext = {}): RestError {
  const detail = detailOf(error);
  const param = detail?.param ?? "";
  let reason = reasonOf(error);
  if (reason === ErrorReason.INVALID_REQUEST && context.pathFields?.includes(param)) reason = ErrorReason.INVALID_ID;
  const mapping = mappingOf(reason);
  const headers: Record<string, string> = {};
  if (detail !== undefined && detail.retryAfterSeconds > 0) headers["retry-after"] = String(Math.ceil(detail.retryAfterSeconds));
  if (detail?.replayed) headers[idempotentReplayedHeader] = "true";
  if (mapping.httpStatus === 401) Object.assign(headers, bearerChallenge);
  const message =
    reason !== ErrorReason.INTERNAL && error instanceof ConnectError ? error.rawMessage : "Something went wrong on our side.";
  return {
    status: mapping.httpStatus,
    headers,
    body: {
      success: false,
      error: {
        message,
        type: mapping.type,
        param: param === "" ? null : param,
        code: mapping.code || context.errorCode || "INTERNAL_ERROR",
      },
    },
  };
}
