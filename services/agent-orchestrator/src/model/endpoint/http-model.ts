import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { buildConnector, Pool } from "undici";
import { answerTooLarge, defaultMaxAnswer } from "../edge/frame-splitter.ts";
import type { ModelClient } from "../model-client.ts";
import type { ArrivingBody } from "./arriving-body.ts";
import { createAttempts } from "./attempts.ts";
import { brokenError, endlessError } from "./failures.ts";
import { KeepAliveWatch } from "./keep-alive.ts";
import { modelNames } from "./model-names.ts";
import { RetryBudget } from "./retry-budget.ts";

/**
 * Bytes of a stream for a byte of its answer. Each piece of text comes in a frame of its own, and the edge counts the
 * text; here, what is no text has an end too.
 */
const streamBytes = 16;
/** Milliseconds in which a stream whose reader has its last event may end by itself, which keeps the connection. */
const endMs = 1_000;
/** Bytes at the end of a piece in which the last event is looked for. */
const markReach = 32;
const maxListBytes = 16 * 1024 * 1024;
/** Times of silence after which an answer without content ends, however many signs of life come with it. */
const patience = 10;

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

/** The header that proves who asks: the key, else the name and password in the address. */
function authorizationOf({ username, password }: URL, apiKey: string | undefined): Record<string, string> {
  if (apiKey !== undefined) return { authorization: `Bearer ${apiKey}` };
  if (username === "" && password === "") return {};
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { authorization: `Basic ${Buffer.from(pair).toString("base64")}` };
}

/** Values of headers that no error may show, with and without the scheme before them. */
function secretsIn(headers: Readonly<Record<string, string>>): string[] {
  const values = Object.entries(headers).filter(([name]) => /key|auth|token|secret/.test(name));
  return values.flatMap(([, value]) => [value, value.replace(/^\S+ /, "")]);
}

/** An endpoint, and how it is used. */
export interface HttpModelOptions {
  /** With or without `/v1`; its query goes with every request. */
  readonly baseUrl: string;
  readonly apiKey?: string;
  /** Further headers of every request; they replace ours of the same name. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Texts in them that no error may show, besides the key. */
  readonly secrets?: readonly string[];
  /** Milliseconds to the first byte of an answer, and between its pieces. */
  readonly timeoutMs: number;
  readonly connections: number;
  /** The largest answer, decoded, in bytes; 7 MiB unless given. A stream may have 16 times as many. */
  readonly maxAnswerBytes?: number;
  /** Milliseconds before the first retry, doubled for the second; default 100. */
  readonly retryDelayMs?: number;
  /** Bounds the retries of all clients of a provider; one of its own unless given. */
  readonly retryBudget?: RetryBudget;
}

/** The text of a whole answer. */
async function wholeAnswer(body: ArrivingBody, limits: { bytes: number; ms: number }, onBytes?: (bytes: number) => void) {
  const until = performance.now() + limits.ms;
  return body.bytes(limits.bytes, (bytes) => {
    onBytes?.(bytes);
    if (performance.now() <= until) return;
    body.discard();
    throw endlessError(limits.ms);
  });
}

/** A model behind an OpenAI-compatible HTTP endpoint, on a pool of kept connections. */
export function createHttpModel(options: HttpModelOptions): ModelClient {
  const { timeoutMs, maxAnswerBytes = defaultMaxAnswer } = options;
  const limits = { bytes: maxAnswerBytes, ms: patience * timeoutMs };
  const base = new URL(options.baseUrl);
  const pathOf = (name: string) => `${apiPath(base)}/${name}${base.search}`;
  // The time to the first byte is counted with the body's, in `exchange`.
  const limitsOfPool: Pool.Options = { connections: options.connections, headersTimeout: 0, bodyTimeout: timeoutMs, connect };
  // A process without an endpoint spares the loading of undici.
  const pool = import("undici").then((undici) => new undici.Pool(base.origin, limitsOfPool));
  const { apiKey } = options;
  const authorization = authorizationOf(base, apiKey);
  // An answer is small beside the time that it takes, and an encoded stream may be held back by whoever encodes it.
  const further = Object.entries(options.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]);
  const common: Record<string, string> = { "accept-encoding": "identity", ...authorization, ...Object.fromEntries(further) };
  const attempts = createAttempts({
    pool,
    origin: base.origin,
    timeoutMs,
    retryDelayMs: options.retryDelayMs ?? 100,
    retryBudget: options.retryBudget ?? new RetryBudget(),
    secrets: [...secretsIn(common), ...(options.secrets ?? [])],
  });
  const posted = {
    path: pathOf("chat/completions"),
    method: "POST" as const,
    headers: { ...common, "content-type": "application/json" },
  };

  async function* pieces(body: ArrivingBody, signal: AbortSignal): AsyncGenerator<Buffer> {
    const watch = new KeepAliveWatch(limits.ms);
    let length = 0;
    let last: Buffer | undefined;
    try {
      for (let piece = await body.take(); piece !== undefined; piece = await body.take()) {
        length += piece.length;
        if (length > limits.bytes * streamBytes) throw answerTooLarge(limits.bytes);
        if (!watch.isAlive(piece)) throw endlessError(limits.ms);
        last = piece;
        yield piece;
      }
    } catch (error) {
      throw signal.aborted ? signal.reason : brokenError(error, "stream", timeoutMs);
    } finally {
      // A reader stops at this mark; the end of the body is on its way.
      if (last?.subarray(-markReach).includes("[DONE]") && !signal.aborted) body.leave(endMs);
      else body.discard();
    }
  }

  return {
    async complete(body, signal, witness, listener) {
      const answer = await attempts.send({ ...posted, body }, signal, witness, listener);
      try {
        return await wholeAnswer(answer, limits, witness && ((bytes) => witness.onBytes(bytes)));
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        throw brokenError(error, "answer", timeoutMs);
      }
    },

    async stream(body, signal, witness, listener) {
      return pieces(await attempts.send({ ...posted, body }, signal, witness, listener), signal);
    },

    async listModels(signal) {
      const answer = await attempts.send({ path: pathOf("models"), method: "GET", headers: common }, signal);
      try {
        return modelNames(JSON.parse((await answer.bytes(maxListBytes)).toString("utf8")));
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        throw fail(ErrorReason.MODEL_FAILED, "The model's endpoint sent no list of models.", { cause: error });
      }
    },

    close: async () => (await pool).destroy(),
  };
}
