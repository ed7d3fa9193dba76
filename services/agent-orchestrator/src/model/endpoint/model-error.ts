import type { ConnectError } from "@connectrpc/connect";
import { ErrorReason, fail, mappingOf, reasonOf } from "@turnwright/platform/errors";
import { type ErrorFacts, errorRules, isPassing, ownWords } from "./error-rules.ts";
import { errorWords } from "./error-words.ts";
import { knownWindow, overflowIn } from "./overflow-words.ts";
import { type ToldError, toldError, toldErrorIn } from "./told-error.ts";

export { holdsError } from "./told-error.ts";

/** The circumstances of an error. */
export interface ErrorCircumstances {
  /** HTTP status of the answer. */
  readonly status?: number;
  /** Seconds after which the endpoint's headers ask to come back. */
  readonly retryAfterSeconds?: number;
  /** Texts that must not reach the caller, such as our key. */
  readonly secrets?: readonly string[];
}

const fallback = { reason: ErrorReason.MODEL_FAILED, instead: undefined, isPrivate: false, param: undefined };
/** Windows that endpoints told in errors, in tokens. */
const windows = new WeakMap<object, number>();
/** HTTP statuses that endpoints answered. */
const statuses = new WeakMap<object, number>();

function messageOf(words: string, status: number | undefined, reason: ErrorReason, instead: string | undefined): string {
  const isOfServer = status !== undefined && (status >= 500 || status < 400 || isPassing(status));
  if (words !== "") {
    return isOfServer && reason === ErrorReason.MODEL_FAILED ? `The model's endpoint answered ${status}: ${words}` : words;
  }
  const told = status === undefined ? "The model's endpoint reported an error." : `The model's endpoint answered ${status}.`;
  return instead === undefined ? told : `${told} ${instead}`;
}

function modelError(told: ToldError, { status: answered, retryAfterSeconds, secrets }: ErrorCircumstances): ConnectError {
  // An error inside a 200 tells its status in the body.
  const http = answered === undefined || answered < 300 ? undefined : answered;
  const status = http ?? told.status;
  const words = told.words.slice(0, 4_096);
  const names = `${told.code} ${told.type}`;
  const text = `${names} ${words}`;
  const delay = retryAfterSeconds ?? told.retryAfterSeconds;
  const facts: ErrorFacts = {
    status,
    text,
    ownText: `${names} ${ownWords(words, status)}`,
    hasDelay: told.retryAfterSeconds !== undefined,
  };
  const { reason, instead, isPrivate, param } = errorRules.find((rule) => rule.holds(facts)) ?? fallback;
  // A reason with a name of its own in OpenAI's API has that name, however the endpoint calls it.
  const isNamed = mappingOf(reason).openaiCode !== "";
  const error = fail(reason, messageOf(isPrivate ? "" : errorWords(told.words, secrets), http, reason, instead), {
    param: param ?? (isPrivate ? "" : told.param),
    retryAfterSeconds: delay,
    code: isNamed || isPrivate ? "" : told.code,
    type: isPrivate ? "" : told.type,
  });
  if (status !== undefined) statuses.set(error, status);
  const window = knownWindow(told.window) ?? overflowIn(text)?.window;
  if (reason === ErrorReason.CONTEXT_TOO_LONG && window !== undefined) windows.set(error, window);
  return error;
}

/**
 * The error in an endpoint's JSON, in whichever form it has (`toldError`). `status` is that of the answer; inside a 200
 * or a stream, the status that the JSON tells counts. Reasons: MODEL_NOT_FOUND, CONTEXT_TOO_LONG, MODEL_QUOTA,
 * MODEL_RATE_LIMITED, MODEL_UNPROCESSABLE, MODEL_REJECTED and MODEL_FAILED. The message is the endpoint's, cleaned and
 * cut to 1,000 characters; words about our credentials are left out.
 */
export function errorFromBody(json: unknown, status?: number): ConnectError {
  return modelError(toldError(json), { status });
}

/** The error of an answer with another status than 2xx. `body` is its text: JSON, HTML or plain. */
export function errorFromAnswer(body: string, circumstances: ErrorCircumstances): ConnectError {
  return modelError(toldErrorIn(body), circumstances);
}

/** HTTP status with which the model's endpoint answered, or that its error tells; undefined for any other error. */
export function upstreamStatusOf(error: unknown): number | undefined {
  return typeof error === "object" && error !== null ? statuses.get(error) : undefined;
}

/** Tokens of the model's window that an error of the reason CONTEXT_TOO_LONG tells; undefined when it does not. */
export function contextWindowOf(error: unknown): number | undefined {
  if (reasonOf(error) !== ErrorReason.CONTEXT_TOO_LONG) return undefined;
  return windows.get(error as object) ?? overflowIn((error as Error).message)?.window;
}
