import { setTimeout as sleep } from "node:timers/promises";
import { growingPauses } from "@turnwright/platform/async/retrying";
import { detailOf, ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import type { Pool } from "undici";
import type { CallWitness, RepeatListener } from "../model-client.ts";
import type { ArrivingBody } from "./arriving-body.ts";
import { type FieldChanges, withFields } from "./body-fields.ts";
import { UnknownEncoding } from "./content-decoding.ts";
import { type ExchangeRequest, type ExchangeResponse, exchange, isTimeout } from "./exchange.ts";
import { EmptyAnswer, unansweredError } from "./failures.ts";
import { errorFromAnswer } from "./model-error.ts";
import { Quirks } from "./quirks.ts";
import { retryAfterMs } from "./retry-after.ts";
import type { RetryBudget } from "./retry-budget.ts";

const maxRetries = 2;
/** The longest wait that a caller does not learn of, in milliseconds. */
const maxRetryAfterMs = 5_000;
const maxErrorBytes = 1_048_576;
/** Milliseconds for the body of an error. */
const errorBodyMs = 5_000;
const maxRedirects = 3;
/** Repetitions of a request with fields as the endpoint wants them. */
const maxLessons = 3;

/** A request as a client makes it; how it is sent is the business of the attempts. */
export type SentRequest = Omit<ExchangeRequest, "onSent" | "firstByteMs">;

/** Sends requests to one endpoint, and repeats them where that is safe. */
export interface Attempts {
  /**
   * Resolves with the body of a 2xx answer whose first byte has arrived. Failures that may pass are repeated twice at
   * most, never after the first byte of an answer. Throws the reasons of `errorFromAnswer`, or the signal's.
   */
  send(request: SentRequest, signal: AbortSignal, witness?: CallWitness, listener?: RepeatListener): Promise<ArrivingBody>;
}

/** The endpoint to which requests go. */
interface AttemptsDeps {
  readonly pool: Promise<Pool>;
  /** Scheme, host and port. */
  readonly origin: string;
  readonly timeoutMs: number;
  readonly retryDelayMs: number;
  readonly retryBudget: RetryBudget;
  /** Texts that no error may show. */
  readonly secrets: readonly string[];
}

/** A call's attempt: is told what becomes of it, and knows the changes that earlier ones have led to. */
type Fate = Pick<CallWitness, "onSent" | "onRefused"> & { readonly changes?: FieldChanges };

/** The outcome of one attempt. */
type Outcome =
  | { readonly answer: ArrivingBody }
  /** `mayPass`: the same request may succeed later. `again`: the request that the endpoint wants instead. */
  | {
      readonly error: Error;
      readonly mayPass: boolean;
      readonly afterMs: number;
      readonly again?: SentRequest;
      readonly changes?: FieldChanges;
    };

const reasonsThatPass: ReadonlySet<ErrorReason> = new Set([ErrorReason.MODEL_FAILED, ErrorReason.MODEL_RATE_LIMITED]);

function isRetryable(status: number): boolean {
  return status === 429 || status === 408 || status === 409 || status >= 500;
}

/**
 * Whether a status means that no model has worked on the request. Statuses of proxies that may have lost an answer do
 * not: the operator may be billed for that answer.
 */
function isUntouched(status: number): boolean {
  return status === 503 || status === 529 || (status >= 300 && status < 500 && status !== 408);
}

/** Waits, or throws the signal's reason. */
async function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(delayMs, undefined, { signal });
  } catch {
    throw signal.reason;
  }
}

/** The text of an error's body: its start, as far as it comes in time. */
async function errorText(body: ArrivingBody): Promise<string> {
  const timer = setTimeout(() => body.discard(), errorBodyMs);
  try {
    return (await body.start(maxErrorBytes)).toString("utf8");
  } finally {
    clearTimeout(timer);
  }
}

/** Makes the attempts of one endpoint. */
export function createAttempts(deps: AttemptsDeps): Attempts {
  const { pool, origin, timeoutMs, secrets } = deps;
  const quirks = new Quirks();

  /** The request at the place to which the endpoint sends it; undefined when requests do not follow there. */
  const redirected = ({ status, headers }: ExchangeResponse, request: SentRequest): SentRequest | undefined => {
    const keepsMethod = status === 307 || status === 308 || (request.method === "GET" && (status === 301 || status === 302));
    const { location } = headers;
    if (!keepsMethod || typeof location !== "string" || !URL.canParse(location, `${origin}${request.path}`)) return undefined;
    const target = new URL(location, `${origin}${request.path}`);
    // Our key and the client's words go to no other host.
    return target.origin === origin ? { ...request, path: `${target.pathname}${target.search}` } : undefined;
  };

  const refused = async (response: ExchangeResponse, request: SentRequest, fate: Fate): Promise<Outcome> => {
    const { status, headers, body } = response;
    if (isUntouched(status)) fate.onRefused();
    if (status < 400) {
      body.discard();
      const again = redirected(response, request);
      const error = fail(
        ErrorReason.MODEL_FAILED,
        `The model's endpoint redirects (${status}) to where requests are not sent: another host, or another method. ` +
          "The endpoint's address must be the one that answers.",
      );
      return { error, mayPass: false, afterMs: 0, again };
    }
    const text = await errorText(body);
    const { body: sent } = request;
    const changes = sent === undefined ? undefined : quirks.changesFor(sent, status, text, fate.changes);
    const toldMs = retryAfterMs(headers);
    const error = errorFromAnswer(text, { status, secrets, retryAfterSeconds: toldMs > 0 ? toldMs / 1_000 : undefined });
    const again = sent === undefined || changes === undefined ? undefined : { ...request, body: withFields(sent, changes) };
    const mayPass = isRetryable(status) && reasonsThatPass.has(reasonOf(error));
    return { error, mayPass, afterMs: (detailOf(error)?.retryAfterSeconds ?? 0) * 1_000, again, changes };
  };

  const attempt = async (request: SentRequest, fate: Fate, signal: AbortSignal): Promise<Outcome> => {
    try {
      const response = await exchange(await pool, { ...request, firstByteMs: timeoutMs, onSent: fate.onSent }, signal);
      if (response.status < 200 || response.status >= 300) return await refused(response, request, fate);
      if (!(await response.body.begins())) throw new EmptyAnswer();
      return { answer: response.body };
    } catch (error) {
      if (signal.aborted) throw signal.reason ?? error;
      const failure = error as Error;
      // The operator sets the timeout; a retry would multiply it.
      const mayPass = !isTimeout(failure) && !(failure instanceof UnknownEncoding);
      return { error: unansweredError(failure, timeoutMs), mayPass, afterMs: 0 };
    }
  };

  return {
    async send(given, signal, witness, listener) {
      let request = given.body === undefined ? given : { ...given, body: quirks.applied(given.body) };
      let wasTouched = false;
      const onSent = () => {
        wasTouched = true;
        witness?.onSent();
      };
      const onRefused = () => {
        wasTouched = false;
        witness?.onRefused();
      };
      let pauses: Generator<number, never> | undefined;
      let detours = 0;
      let changes: FieldChanges | undefined;
      deps.retryBudget.onCall();
      for (let tries = 0; ; ) {
        wasTouched = false;
        const outcome = await attempt(request, { onSent, onRefused, changes }, signal);
        if (signal.aborted) throw signal.reason;
        if ("answer" in outcome) {
          if (changes !== undefined && request.body !== undefined) quirks.keep(request.body, changes);
          return outcome.answer;
        }
        const { error, mayPass, afterMs, again } = outcome;
        if (again !== undefined && detours < maxRedirects + maxLessons) {
          detours += 1;
          changes = outcome.changes ?? changes;
          request = again;
          continue;
        }
        if (!mayPass || tries >= maxRetries || afterMs > maxRetryAfterMs || !deps.retryBudget.take()) throw error;
        tries += 1;
        listener?.onRepeat(error);
        pauses ??= growingPauses({ firstMs: deps.retryDelayMs, longestMs: Number.POSITIVE_INFINITY });
        await pause(Math.max(pauses.next().value * (1 + Math.random()), afterMs), signal);
        if (wasTouched) await witness?.mayRepeat();
      }
    },
  };
}
