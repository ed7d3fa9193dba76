import { create, getOption, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  type ErrorDetail,
  ErrorDetailSchema,
  ErrorReason,
  ErrorReasonSchema,
  mapping,
  type StandingDecisionSchema,
} from "@turnwright/contract/errors/v1/reason";

export { ErrorReason } from "@turnwright/contract/errors/v1/reason";

/** How a reason appears on every surface; read from the table in `errors/v1/reason.proto`. */
export interface ReasonMapping {
  /** gRPC and Connect status code. */
  readonly grpcCode: Code;
  /** HTTP status of REST and OpenAI responses. */
  readonly httpStatus: number;
  /** OpenAI's error `type`. */
  readonly type: string;
  /** `code` of the error body; empty means the endpoint's own code. */
  readonly code: string;
  /** `code` of the error body on the OpenAI surface; empty means `code`. */
  readonly openaiCode: string;
}

const mappings: ReadonlyMap<ErrorReason, ReasonMapping> = new Map(
  ErrorReasonSchema.values.map((value) => {
    const { grpcCode, httpStatus, type, code, openaiCode } = getOption(value, mapping);
    return [value.number as ErrorReason, { grpcCode, httpStatus, type, code, openaiCode }];
  }),
);

const internalMapping: ReasonMapping = {
  grpcCode: Code.Internal,
  httpStatus: 500,
  type: "server_error",
  code: "INTERNAL_ERROR",
  openaiCode: "",
};

/** The surface mapping of a reason; a reason unknown to this build maps to INTERNAL. */
export function mappingOf(reason: ErrorReason): ReasonMapping {
  return mappings.get(reason) ?? internalMapping;
}

/**
 * Creates the error that handlers throw: a ConnectError with the reason's code and an ErrorDetail. `code` and `type`
 * are those of a model's endpoint, for the OpenAI surface.
 */
export function fail(
  reason: ErrorReason,
  message: string,
  init: {
    param?: string;
    faults?: readonly { param: string; message: string }[];
    retryAfterSeconds?: number;
    code?: string;
    type?: string;
    /** The decision that stands, for APPROVAL_DECIDED and APPROVAL_EXPIRED. */
    approval?: MessageInitShape<typeof StandingDecisionSchema>;
    cause?: unknown;
  } = {},
): ConnectError {
  const value: ErrorDetail = create(ErrorDetailSchema, {
    reason,
    param: init.param ?? "",
    ...(init.faults === undefined ? {} : { faults: [...init.faults] }),
    retryAfterSeconds: init.retryAfterSeconds ?? 0,
    code: init.code ?? "",
    type: init.type ?? "",
    approval: init.approval,
  });
  const error = new ConnectError(message, mappingOf(reason).grpcCode, undefined, undefined, init.cause);
  error.details.push({ desc: ErrorDetailSchema, value });
  return error;
}

/** Cuts a text for an error to `length` UTF-16 units, and replaces halves of characters, which no header carries. */
export function cutText(text: string, length: number): string {
  return (text.length <= length ? text : `${text.slice(0, length - 1)}…`).toWellFormed();
}

/** Marks an error as the response to an earlier request under the same idempotency key. */
export function asReplayed(error: unknown): unknown {
  const detail = detailOf(error);
  if (detail === undefined || !(error instanceof ConnectError)) return error;
  const again = new ConnectError(error.rawMessage, error.code, undefined, undefined, error);
  again.details.push({ desc: ErrorDetailSchema, value: { ...detail, replayed: true } });
  return again;
}

/** The typed detail of an error created by `fail`, in this process or across the mesh. */
export function detailOf(error: unknown): ErrorDetail | undefined {
  if (!(error instanceof ConnectError)) return undefined;
  for (const detail of error.details) {
    if ("desc" in detail && detail.desc === ErrorDetailSchema) return detail.value as unknown as ErrorDetail;
  }
  return error.findDetails(ErrorDetailSchema)[0];
}

const reasonsByCode: Readonly<Partial<Record<Code, ErrorReason>>> = {
  [Code.Canceled]: ErrorReason.CANCELLED,
  [Code.InvalidArgument]: ErrorReason.INVALID_REQUEST,
  [Code.DeadlineExceeded]: ErrorReason.DEADLINE_EXCEEDED,
  [Code.NotFound]: ErrorReason.NOT_FOUND,
  [Code.AlreadyExists]: ErrorReason.CONFLICT,
  [Code.PermissionDenied]: ErrorReason.PERMISSION_DENIED,
  [Code.ResourceExhausted]: ErrorReason.TOO_LARGE,
  [Code.FailedPrecondition]: ErrorReason.CONFLICT,
  [Code.Aborted]: ErrorReason.CONFLICT,
  [Code.Unimplemented]: ErrorReason.UNIMPLEMENTED,
  [Code.Unavailable]: ErrorReason.UNAVAILABLE,
  [Code.Unauthenticated]: ErrorReason.UNAUTHENTICATED,
};

/** The reason of a failed call: from the typed detail, else the closest one to the status code, else INTERNAL. */
export function reasonOf(error: unknown): ErrorReason {
  const detail = detailOf(error);
  if (detail !== undefined && detail.reason !== ErrorReason.UNSPECIFIED) return detail.reason;
  if (error instanceof ConnectError) return reasonsByCode[error.code] ?? ErrorReason.INTERNAL;
  if (error instanceof Error && error.name === "AbortError") return ErrorReason.CANCELLED;
  return ErrorReason.INTERNAL;
}

/** The proto name of a reason, for logs: `ERROR_REASON_NOT_FOUND`. */
export function reasonName(reason: ErrorReason): string {
  return ErrorReasonSchema.value[reason]?.name ?? "ERROR_REASON_UNSPECIFIED";
}
