import { timestampDate } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import type { ErrorDetail } from "@turnwright/contract/errors/v1/reason";
import { detailOf, ErrorReason, mappingOf, reasonOf } from "@turnwright/platform/errors";
import { idempotentReplayedHeader } from "@turnwright/platform/postgres/idempotency";

/** An error as seen by REST and OpenAI clients. */
export interface RestError {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: {
    readonly success: false;
    readonly error: {
      readonly message: string;
      readonly type: string;
      readonly param: string | null;
      readonly code: string;
      /** All faulty fields of the request, `param` first; absent when the error is of another kind. */
      readonly faults?: readonly { readonly param: string | null; readonly message: string }[];
      /** The decision that stands on the call; absent when the error is of another kind. */
      readonly approval?: StandingApproval;
    };
  };
}

/** A decision on a tool call, under the field names of an approval. */
interface StandingApproval {
  readonly id: string;
  readonly run_id: string;
  readonly status: string;
  readonly reason: string;
  readonly decided_by: string;
  readonly decided_by_name: string;
  readonly decided_via: string;
  readonly decided_at: string | null;
  readonly is_edited: boolean;
}

function standingApproval({ approval }: Pick<ErrorDetail, "approval">): { approval?: StandingApproval } {
  if (approval === undefined) return {};
  const { id, runId, status, reason, decidedBy, decidedByName, decidedVia, decidedAt, isEdited } = approval;
  return {
    approval: {
      id,
      run_id: runId,
      status,
      reason,
      decided_by: decidedBy,
      decided_by_name: decidedByName,
      decided_via: decidedVia,
      decided_at: decidedAt === undefined ? null : timestampDate(decidedAt).toISOString(),
      is_edited: isEdited,
    },
  };
}

const paramOf = (param: string): string | null => (param === "" ? null : param);

/** Details of the failing route. */
export interface ErrorContext {
  /** The endpoint's own code, for reasons without one. */
  readonly errorCode?: string;
  /** Fields in the path; an invalid one becomes INVALID_ID. */
  readonly pathFields?: readonly string[];
  /** The route is of OpenAI's API: names of errors are those of the model's endpoint, else OpenAI's, else ours. */
  readonly isOpenAi?: boolean;
}

const bearerChallenge = { "www-authenticate": "Bearer" };
/** Tells standard clients to refresh (RFC 6750, section 3). */
const expiredChallenge = {
  "www-authenticate": 'Bearer error="invalid_token", error_description="The access token expired"',
};

/** Converts an error to status, headers and body. The message of an unexpected error is not shown. */
export function restError(error: unknown, context: ErrorContext = {}): RestError {
  const detail = detailOf(error);
  const param = detail?.param ?? "";
  const faults = (detail?.faults ?? []).map((fault) => ({ param: fault.param, message: fault.message }));
  let reason = reasonOf(error);
  if (reason === ErrorReason.INVALID_REQUEST && context.pathFields?.includes(param)) reason = ErrorReason.INVALID_ID;
  const mapping = mappingOf(reason);
  const headers: Record<string, string> = {};
  if (detail !== undefined && detail.retryAfterSeconds > 0) headers["retry-after"] = String(Math.ceil(detail.retryAfterSeconds));
  if (detail?.replayed) headers[idempotentReplayedHeader] = "true";
  if (mapping.httpStatus === 401) {
    Object.assign(headers, reason === ErrorReason.TOKEN_EXPIRED ? expiredChallenge : bearerChallenge);
  }
  const ownType = context.isOpenAi ? detail?.type : undefined;
  const openAiCode = context.isOpenAi ? detail?.code || mapping.openaiCode : undefined;
  const message =
    reason !== ErrorReason.INTERNAL && error instanceof ConnectError ? error.rawMessage : "Something went wrong on our side.";
  return {
    status: mapping.httpStatus,
    headers,
    body: {
      success: false,
      error: {
        message,
        type: ownType || mapping.type,
        param: paramOf(param),
        code: openAiCode || mapping.code || context.errorCode || "INTERNAL_ERROR",
        ...(detail === undefined ? {} : standingApproval(detail)),
        ...(faults.length === 0 ? {} : { faults: faults.map((fault) => ({ ...fault, param: paramOf(fault.param) })) }),
      },
    },
  };
}
