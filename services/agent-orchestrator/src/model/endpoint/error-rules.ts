import { ErrorReason } from "@turnwright/platform/errors";
import { overflowIn } from "./overflow-words.ts";

/** The facts that a rule looks at. */
export interface ErrorFacts {
  /** HTTP status: of the answer, or told inside a body with status 200; undefined when neither says one. */
  readonly status: number | undefined;
  /** Code, type and words in one text. */
  readonly text: string;
  /**
   * The same as far as it is certainly the endpoint's: where the request is blamed, words in quotes and late ones may
   * be the client's. They must not decide about our account, which ends the calls of others too.
   */
  readonly ownText: string;
  /** Whether the endpoint says when to come back. */
  readonly hasDelay: boolean;
}

/** A rule of the table: the first that holds gives the reason. */
export interface ErrorRule {
  readonly name: string;
  holds(facts: ErrorFacts): boolean;
  readonly reason: ErrorReason;
  /** Words in the place of those that the endpoint does not tell. */
  readonly instead?: string;
  /** Whether the endpoint's words are kept from the caller, because they are about our account. */
  readonly isPrivate?: boolean;
  /** The field of our own API to which the error belongs. */
  readonly param?: string;
}

const policy =
  /content[_ -]?(?:policy|filter|management)|responsible_?ai|moderation|\bflagged\b|safety (?:system|polic)|prohibited.?content|data_inspection_failed|usage polic/i;
const noMoney =
  /insufficient[_ ](?:quota|balance|credits?|funds)|exceeded (?:your|its) current quota|exceeded_current_quota|billing[_ ](?:hard|not)|credit balance|no credit|out of credits?|payment[_ ]required|quota[_ ](?:exhausted|exceeded)|arrears|余额不足|欠费/i;
const untilLater = /per[_ -]?(?:minute|second|hour|day)|(?:retry|try again) (?:in|after)/i;
const tooOften = /rate[_ -]?limit|too many requests|(?:tokens|requests) per (?:min|sec|day|hour)|throttl|resource_?exhausted/i;
const badKey =
  /(?:invalid|incorrect|missing|expired|wrong|no|unknown)[_ ](?:x-)?api[_ -]?key|api[_ -]?key (?:is )?(?:not valid|invalid|expired|missing|not found|required)|api_key_invalid|authentication[_ ]?(?:error|failed)|unauthenticated|permission_(?:error|denied)/i;
const noModel =
  /model_?not_?(?:found|available|exist)|\bmodels?\b.{0,160}?\b(?:does not exist|not exist|not found|is not available|isn't available)|(?:unknown|no such|invalid|nonexistent) model(?! (?:param|arg|output|token))|invalid_model\b|not a valid model|no access to model|not have access to (?:the )?model|pull(?:ing)? it first|no endpoints found/i;
const overloaded = /overloaded|over capacity|server[_ ]is[_ ]busy|engine.{0,20}unavailable|service[_ ]unavailable/i;
const ownFault = /invalid_?request|bad_?request|invalid_?argument|validation|extra_forbidden|unsupported_(?:parameter|value)/i;

const isOneOf = (status: number | undefined, ...statuses: number[]) => status === undefined || statuses.includes(status);
const isServers = (status: number | undefined) => status !== undefined && (status >= 500 || status < 400);

const quoted = /(?<!\w)(["'`]).{0,2000}?\1(?!\w)/g;
/** Characters of a refusal's words that are the endpoint's own, as a rule. */
const ownChars = 160;

/** The part of words that is certainly the endpoint's own, by the status with which they come. */
export function ownWords(words: string, status: number | undefined): string {
  const blamesRequest = isOneOf(status, 400, 404, 413, 422);
  return blamesRequest ? words.replace(quoted, " ").slice(0, ownChars) : words;
}

/** The reasons of what endpoints answer instead of a completion, in the order in which they are tried. */
export const errorRules: readonly ErrorRule[] = [
  {
    name: "content refused by a policy",
    holds: ({ status, text }) => isOneOf(status, 400, 403, 422, 451) && policy.test(text),
    reason: ErrorReason.MODEL_REJECTED,
  },
  {
    name: "money of our account, told with its credentials",
    holds: ({ status, text }) => (status === 401 || status === 403) && noMoney.test(text),
    reason: ErrorReason.MODEL_QUOTA,
    instead: "The account there has no quota left.",
    isPrivate: true,
  },
  {
    name: "money",
    holds: ({ status, ownText, text, hasDelay }) =>
      status === 402 || (noMoney.test(ownText) && !hasDelay && !untilLater.test(text)),
    reason: ErrorReason.MODEL_QUOTA,
    instead: "The account there has no quota left.",
  },
  {
    name: "too many requests",
    holds: ({ status, ownText }) => status === 429 || (status !== 401 && status !== 404 && tooOften.test(ownText)),
    reason: ErrorReason.MODEL_RATE_LIMITED,
    instead: "It limits the rate of requests.",
  },
  {
    name: "a model that our account may not use",
    holds: ({ status, text }) => (status === 401 || status === 403) && noModel.test(text),
    reason: ErrorReason.MODEL_NOT_FOUND,
    instead: "It does not offer this model to our account.",
    isPrivate: true,
    param: "model",
  },
  {
    name: "our credentials",
    holds: ({ status, ownText }) =>
      status === 401 || status === 403 || status === 407 || (isOneOf(status, 400, 404, 500) && badKey.test(ownText)),
    reason: ErrorReason.MODEL_FAILED,
    instead: "It does not accept our credentials.",
    isPrivate: true,
  },
  {
    name: "input too long",
    holds: ({ status, text }) => status === 413 || (isOneOf(status, 400, 422, 500, 502) && overflowIn(text) !== undefined),
    reason: ErrorReason.CONTEXT_TOO_LONG,
    instead: "The input is longer than it accepts.",
    param: "messages",
  },
  {
    name: "unknown model",
    holds: ({ status, text }) => status === 404 || status === 410 || (isOneOf(status, 400, 422, 500, 503) && noModel.test(text)),
    reason: ErrorReason.MODEL_NOT_FOUND,
    instead: "It does not have the model, or not at this address.",
    param: "model",
  },
  {
    name: "a value that cannot be processed",
    holds: ({ status }) => status === 422,
    reason: ErrorReason.MODEL_UNPROCESSABLE,
  },
  {
    name: "a failure that may pass",
    holds: ({ status, text }) => isServers(status) || isPassing(status) || (status === undefined && overloaded.test(text)),
    reason: ErrorReason.MODEL_FAILED,
  },
  {
    name: "a request that is refused",
    holds: ({ status, text }) => status !== undefined || ownFault.test(text),
    reason: ErrorReason.MODEL_REJECTED,
  },
];

/** Whether a client status says that the same request may succeed later. */
export function isPassing(status: number | undefined): boolean {
  return status === 408 || status === 409 || status === 423 || status === 425;
}
