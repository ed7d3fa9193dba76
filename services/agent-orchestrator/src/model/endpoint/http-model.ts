import { setTimeout as sleep } from "node:timers/promises";
import { growingPauses } from "@turnwright/platform/async/retrying";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { type buildConnector, errors, Pool } from "undici";
import type { CallWitness, ModelClient } from "../model-client.ts";
import { type ExchangeRequest, type ExchangeResponse, exchange } from "./exchange.ts";

const maxRetries = 2;
const maxRetryAfterMs = 5_000;
const maxErrorBytes = 65_536;

/**
 * Options of new connections. undici passes `highWaterMark` on, although its types do not know it: the most bytes that
 * are read ahead of the parser, besides the last read.
 */
const connect: buildConnector.BuildOptions & { highWaterMark: number } = { timeout: 10_000, highWaterMark: 16_384 };

/** The path that ends in `/v1`, whether or not the address names it. */
function apiPath(baseUrl: URL): string {
  const path = baseUrl.pathname.replace(/\/+$/, "");
  return path === "" ? "/v1" : path;
}

/** Waits, or throws the signal's reason. */
async function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(delayMs, undefined, { signal });
  } catch {
    throw signal.reason;
  }
}

/** The endpoint's own error text, when it sends one in OpenAI's format. */
async function errorMessage(response: ExchangeResponse): Promise<string | undefined> {
  try {
    const text = (await response.bytes(maxErrorBytes)).toString("utf8");
    const { error } = JSON.parse(text) as { error?: { message?: unknown } | string };
    const message = typeof error === "string" ? error : error?.message;
    return typeof message === "string" ? message.slice(0, 1_000) : undefined;
  } catch {
    return undefined;
  }
}

function retryAfterSeconds(headers: ExchangeResponse["headers"]): number {
  const seconds = Number(headers["retry-after"]);
  return Number.isFinite(seconds) && seconds > 0 ? seconds : 0;
}

async function refusal(response: ExchangeResponse): Promise<Error> {
  const { status } = response;
  const message = await errorMessage(response);
  if (status === 429) {
    return fail(ErrorReason.MODEL_RATE_LIMITED, message ?? "The model's endpoint limits the rate of requests.", {
      retryAfterSeconds: retryAfterSeconds(response.headers),
    });
  }
  // The caller has nothing to do with our credentials and must not see the endpoint's text about them.
  if (status === 401 || status === 403)
    return fail(ErrorReason.MODEL_FAILED, "The model's endpoint does not accept our credentials.");
  if (status >= 400 && status < 500)
    return fail(ErrorReason.MODEL_REJECTED, message ?? `The model's endpoint answered ${status}.`);
  return fail(ErrorReason.MODEL_FAILED, `The model's endpoint answered ${status}.`);
}

function isRetryable(status: number): boolean {
  return status === 429 || status === 408 || status >= 500;
}

/**
 * Whether a status means that no model has worked on the request. Statuses of proxies that may have lost an answer do
 * not: the operator may be billed for that answer.
 */
function isUntouched(status: number): boolean {
  return status === 503 || status === 529 || (status >= 300 && status < 500 && status !== 408);
}

/** A model behind an OpenAI-compatible HTTP endpoint, on a pool of kept connections. */
export function createHttpModel(options: {
  baseUrl: string;
  apiKey?: string;
  timeoutMs: number;
  connections: number;
  /** Milliseconds before the first retry, doubled for the second; default 100. */
  retryDelayMs?: number;
}): ModelClient {
  const retryDelayMs = options.retryDelayMs ?? 100;
  const base = new URL(options.baseUrl);
  const path = apiPath(base);
  const pool = new Pool(base.origin, {
    connections: options.connections,
    headersTimeout: options.timeoutMs,
    bodyTimeout: options.timeoutMs,
    connect,
  });
  const authorization: Record<string, string> = options.apiKey === undefined ? {} : { authorization: `Bearer ${options.apiKey}` };
  const headers = { "content-type": "application/json", ...authorization };

  const attempt = async (request: ExchangeRequest, signal: AbortSignal): Promise<ExchangeResponse | Error> => {
    try {
      return await exchange(pool, request, signal);
    } catch (error) {
      if (signal.aborted) throw signal.reason ?? error;
      return error as Error;
    }
  };

  /** Sends a request, and sends it again after failures that may pass. Resolves only with a response of status 200. */
  const send = async (request: ExchangeRequest, signal: AbortSignal, witness?: CallWitness): Promise<ExchangeResponse> => {
    let isSent = false;
    const watched = {
      ...request,
      onSent: () => {
        isSent = true;
        witness?.onSent();
      },
    };
    const pauses = growingPauses({ firstMs: retryDelayMs, longestMs: Number.POSITIVE_INFINITY });
    for (let tries = 0; ; tries++) {
      isSent = false;
      const outcome = await attempt(watched, signal);
      let delayMs = pauses.next().value * (1 + Math.random());
      if (!(outcome instanceof Error)) {
        if (outcome.status === 200) return outcome;
        if (isUntouched(outcome.status)) {
          isSent = false;
          witness?.onRefused();
        }
        const afterMs = retryAfterSeconds(outcome.headers) * 1000;
        if (tries >= maxRetries || !isRetryable(outcome.status) || afterMs > maxRetryAfterMs) throw await refusal(outcome);
        outcome.discard();
        delayMs = Math.max(delayMs, afterMs);
      } else if (outcome instanceof errors.HeadersTimeoutError) {
        // The operator sets this timeout; a retry would multiply it.
        throw fail(ErrorReason.MODEL_FAILED, "The model's endpoint did not answer in time.", { cause: outcome });
      } else if (tries >= maxRetries) {
        throw fail(ErrorReason.MODEL_FAILED, "The model's endpoint does not answer.", { cause: outcome });
      }
      await pause(delayMs, signal);
      if (isSent) await witness?.mayRepeat();
    }
  };

  const post = (body: Uint8Array, signal: AbortSignal, witness?: CallWitness) =>
    send({ path: `${path}/chat/completions`, method: "POST", headers, body }, signal, witness);

  return {
    async complete(body, signal, witness) {
      const response = await post(body, signal, witness);
      try {
        return await response.bytes(undefined, witness && ((bytes) => witness.onBytes(bytes)));
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        throw fail(ErrorReason.MODEL_FAILED, "The model's endpoint broke off its answer.", { cause: error });
      }
    },

    async stream(body, signal, witness) {
      const response = await post(body, signal, witness);
      const type = String(response.headers["content-type"] ?? "");
      if (!type.startsWith("text/event-stream")) {
        response.discard();
        throw fail(
          ErrorReason.MODEL_FAILED,
          `The model's endpoint answered ${type || "no content type"} instead of an event stream.`,
        );
      }
      return response.pieces((error) =>
        signal.aborted
          ? signal.reason
          : fail(ErrorReason.MODEL_FAILED, "The model's endpoint broke off its stream.", { cause: error }),
      );
    },

    async listModels(signal) {
      const response = await send({ path: `${path}/models`, method: "GET", headers: authorization }, signal);
      const { data } = JSON.parse((await response.bytes()).toString("utf8")) as { data?: { id?: unknown }[] };
      return (data ?? []).flatMap(({ id }) => (typeof id === "string" ? [id] : []));
    },

    close: () => pool.destroy(),
  };
}
