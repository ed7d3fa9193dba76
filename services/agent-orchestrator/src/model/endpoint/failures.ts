import { ConnectError } from "@connectrpc/connect";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { answerTooLarge } from "../edge/frame-splitter.ts";
import { TooLarge } from "./arriving-body.ts";
import { UnknownEncoding } from "./content-decoding.ts";
import { isSilence, isTimeout } from "./exchange.ts";

/** An endpoint's answer has no byte. */
export class EmptyAnswer extends Error {
  override readonly name = "EmptyAnswer";
}

const inTime = (timeoutMs: number) => `in time (LLM_TIMEOUT, ${timeoutMs / 1_000} s)`;

/** The error of a call that got no byte of an answer. */
export function unansweredError(error: Error, timeoutMs: number): Error {
  if (isTimeout(error))
    return fail(ErrorReason.MODEL_FAILED, `The model's endpoint did not answer ${inTime(timeoutMs)}.`, { cause: error });
  if (error instanceof UnknownEncoding)
    return fail(ErrorReason.MODEL_FAILED, `The model's endpoint answered ${error.message}, which is not read.`, { cause: error });
  if (error instanceof EmptyAnswer)
    return fail(ErrorReason.MODEL_FAILED, "The model's endpoint sent an empty answer.", { cause: error });
  return fail(ErrorReason.MODEL_FAILED, "The model's endpoint does not answer.", { cause: error });
}

/** The error of an answer that does not come to its end. `part` names it: answer or stream. */
export function brokenError(error: unknown, part: "answer" | "stream", timeoutMs: number): Error {
  if (error instanceof ConnectError) return error;
  if (error instanceof TooLarge) return answerTooLarge(error.limit);
  const words = isSilence(error)
    ? `fell silent in the middle of its ${part} and did not go on ${inTime(timeoutMs)}`
    : `broke off its ${part}`;
  return fail(ErrorReason.MODEL_FAILED, `The model's endpoint ${words}.`, { cause: error });
}

/** The error of an answer that does not end. */
export function endlessError(limitMs: number): Error {
  return fail(ErrorReason.MODEL_FAILED, `The model's endpoint sent nothing of an answer for ${limitMs / 1_000} s.`);
}
