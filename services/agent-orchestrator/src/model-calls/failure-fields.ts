import { detailOf, ErrorReason, mappingOf, reasonOf } from "@turnwright/platform/errors";
import { upstreamStatusOf } from "../model/endpoint/model-error.ts";

/** Failures of an endpoint, of our account there, or of a request that it has read. */
const endpointReasons: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.MODEL_FAILED,
  ErrorReason.MODEL_BUSY,
  ErrorReason.ANSWER_TOO_LARGE,
  ErrorReason.MODEL_RATE_LIMITED,
  ErrorReason.MODEL_QUOTA,
  ErrorReason.MODEL_NOT_FOUND,
  ErrorReason.MODEL_REJECTED,
  ErrorReason.MODEL_UNPROCESSABLE,
  ErrorReason.CONTEXT_TOO_LONG,
]);
/** The endpoint's words about a request may quote it. */
const aboutRequest: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.MODEL_REJECTED,
  ErrorReason.MODEL_UNPROCESSABLE,
  ErrorReason.CONTEXT_TOO_LONG,
]);

/** Whether a failure is that of a model or its endpoint. The call that met it has logged it. */
export function isEndpointFailure(error: unknown): boolean {
  return detailOf(error) !== undefined && endpointReasons.has(reasonOf(error));
}

/**
 * Whether a failed call tells something about a model, its endpoint or the parts on the way to it. Limits of ours,
 * callers who left and mistakes of clients do not; an unexpected error is logged where it leaves the process.
 */
export function isModelFailure(error: unknown): boolean {
  if (detailOf(error) === undefined) return false;
  return isEndpointFailure(error) || mappingOf(reasonOf(error)).httpStatus >= 500;
}

/** Characters of a text that are looked for in a request, and the distance between two looks. */
const quoteLength = 16;
const stride = 8;
/** The most characters of an endpoint's words in the log. */
const maxWords = 300;

/** Whether a text repeats at least 24 characters in a row of a request. */
function quotes(words: string, request: Uint8Array): boolean {
  const body = Buffer.from(request.buffer, request.byteOffset, request.byteLength);
  for (let at = 0; at + quoteLength <= words.length; at += stride) {
    if (body.includes(words.slice(at, at + quoteLength))) return true;
  }
  return false;
}

/**
 * Fields of a failed model call for the log: the endpoint's `status`, its own names of the error and its words, without
 * secrets, unless they quote the request. `model` is the name in the request, which they may repeat.
 */
export function modelFailureFields(error: unknown, request: Uint8Array, model: string): Record<string, unknown> {
  const words = error instanceof Error && "rawMessage" in error ? String(error.rawMessage).slice(0, maxWords) : undefined;
  const isHidden =
    words === undefined ||
    aboutRequest.has(reasonOf(error)) ||
    quotes(model === "" ? words : words.replaceAll(model, " "), request);
  const { code, type } = detailOf(error) ?? {};
  return {
    status: upstreamStatusOf(error),
    error: isHidden ? undefined : words,
    endpoint_code: code || undefined,
    endpoint_type: type || undefined,
  };
}
