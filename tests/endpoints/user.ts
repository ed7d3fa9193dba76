import { randomUUID } from "node:crypto";
import type { Json } from "../json-call.ts";

/** An answer of the API. */
export interface Answered {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly json: Json;
  /** Milliseconds from the request to the last byte. */
  readonly ms: number;
}

/** The surfaces that reach a model. */
export const surfaces = ["completion", "stream", "stored"] as const;
export type Surface = (typeof surfaces)[number];

/** The end of a request on a surface, in one form for all. */
export interface Outcome {
  readonly surface: Surface;
  readonly status: number;
  /** The text that a client has at the end. */
  readonly text: string;
  readonly finishReason: string | undefined;
  /** An error, as a status or in a stream. */
  readonly error: { readonly code: string; readonly message: string } | undefined;
  /** The answer claims to be whole: a status of success, and for a stream `[DONE]` without an error. */
  readonly isWhole: boolean;
  readonly retryAfter: string | null;
  readonly ms: number;
  /** The answer as received. */
  readonly raw: string;
}

/** JSON of the events of a stream, without `[DONE]`. */
export function chunksOf(text: string): Json[] {
  return text.split(/\r?\n\r?\n/).flatMap((event) => {
    const lines = event.split(/\r?\n/).filter((line) => line.startsWith("data:"));
    const data = lines
      .map((line) => line.slice("data:".length))
      .join("\n")
      .trim();
    return data === "" || data === "[DONE]" ? [] : [JSON.parse(data)];
  });
}

function errorIn(json: Json): Outcome["error"] {
  const error = json?.error;
  return error == null ? undefined : { code: String(error.code ?? error.type), message: String(error.message) };
}

function completionOutcome({ status, json, ms, headers, text: raw }: Answered): Outcome {
  const choice = json?.choices?.[0];
  const text = String(choice?.message?.content ?? choice?.message?.refusal ?? "");
  const error = status === 200 ? undefined : (errorIn(json) ?? { code: "none", message: "" });
  const retryAfter = headers.get("retry-after");
  return {
    surface: "completion",
    status,
    text,
    finishReason: choice?.finish_reason,
    error,
    isWhole: status === 200,
    retryAfter,
    ms,
    raw,
  };
}

function streamOutcome(answered: Answered): Outcome {
  const { status, json, ms, headers, text: raw } = answered;
  const retryAfter = headers.get("retry-after");
  const base = { surface: "stream", status, retryAfter, ms, raw } as const;
  if (status !== 200)
    return { ...base, text: "", finishReason: undefined, error: errorIn(json) ?? { code: "none", message: "" }, isWhole: false };
  const chunks = chunksOf(raw);
  const choices = chunks.flatMap((chunk) => chunk.choices ?? []);
  const text = choices.map(({ delta }) => delta?.content ?? delta?.refusal ?? "").join("");
  const finishReason = choices.findLast((choice) => choice.finish_reason != null)?.finish_reason;
  const error = chunks.map(errorIn).find((one) => one !== undefined);
  return { ...base, text, finishReason, error, isWhole: error === undefined && /data: \[DONE\]\s*$/.test(raw) };
}

function storedOutcome({ status, json, ms, headers, text: raw }: Answered): Outcome {
  const isWhole = status === 200 || status === 201;
  const text = String(json?.data?.message?.content ?? "");
  const error = isWhole ? undefined : (errorIn(json) ?? { code: "none", message: "" });
  const retryAfter = headers.get("retry-after");
  const finishReason = json?.data?.message?.finish_reason;
  return { surface: "stored", status, text, finishReason, error, isWhole, retryAfter, ms, raw };
}

/** A logged-in user of a system. */
export class User {
  readonly #baseUrl: string;
  readonly #token: string;

  constructor(baseUrl: string, token: string) {
    this.#baseUrl = baseUrl;
    this.#token = token;
  }

  /** Sends a request; a text body goes out as it is. Rejects when the connection breaks, or after `timeoutMs`. */
  async call(
    method: string,
    path: string,
    body?: unknown,
    options: { headers?: Record<string, string>; timeoutMs?: number } = {},
  ): Promise<Answered> {
    const started = performance.now();
    const response = await fetch(this.#baseUrl + path, {
      method,
      headers: {
        authorization: `Bearer ${this.#token}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...options.headers,
      },
      body: body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body),
      signal: AbortSignal.timeout(options.timeoutMs ?? 30_000),
    });
    const text = await response.text();
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch {
      json = undefined;
    }
    return { status: response.status, headers: response.headers, text, json, ms: performance.now() - started };
  }

  /** A chat completion. */
  chat(body: object, options: { headers?: Record<string, string>; timeoutMs?: number } = {}): Promise<Answered> {
    const messages = [{ role: "user", content: "go" }];
    return this.call("POST", "/v1/chat/completions", { model: "mock", messages, ...body }, options);
  }

  /** A message of a new conversation, or of this one. */
  say(
    message: string,
    more: { conversation?: string; model?: string; timeoutMs?: number; stream?: boolean } = {},
  ): Promise<Answered> {
    const { conversation, timeoutMs, ...fields } = more;
    const path = conversation === undefined ? "/v1/conversations" : `/v1/conversations/${conversation}/messages`;
    return this.call("POST", path, { message, ...fields }, { timeoutMs });
  }

  /** Asks a model on a surface. */
  async ask(
    surface: Surface,
    message: string,
    model = "mock",
    more: { conversation?: string; timeoutMs?: number } = {},
  ): Promise<Outcome> {
    if (surface === "stored") return storedOutcome(await this.say(message, { model, ...more }));
    const messages = [{ role: "user", content: message }];
    const { timeoutMs } = more;
    if (surface === "completion") return completionOutcome(await this.chat({ model, messages }, { timeoutMs }));
    const headers = { "x-stream-format": "openai" };
    return streamOutcome(await this.chat({ model, messages, stream: true }, { timeoutMs, headers }));
  }

  /** The runs of a conversation, or all of this status, the newest first. */
  async runs(conversation: string): Promise<Json[]> {
    return (await this.call("GET", `/v1/conversations/${conversation}/runs`)).json.data.runs;
  }

  /** The user's newest conversation. */
  async newestConversation(): Promise<string> {
    return (await this.call("GET", "/v1/conversations")).json.data.conversations[0].id;
  }

  /** Ids of runs that have not ended and wait for nobody. */
  async openRuns(): Promise<string[]> {
    const pages = await Promise.all(
      ["queued", "running"].map((status) => this.call("GET", `/v1/runs?status=${status}&limit=100`)),
    );
    return pages.flatMap(({ json }) => json.data.runs.map(({ id }: { id: string }) => id));
  }

  /** Totals of the account's usage. */
  async usage(): Promise<{ requests: number; prompt_tokens: number; completion_tokens: number; estimated_tokens: number }> {
    return (await this.call("GET", "/v1/usage")).json.data.total;
  }

  /** A client with another credential of this account. */
  withKey(key: string): User {
    return new User(this.#baseUrl, key);
  }
}

/** Registers an account and logs it in. */
export async function newUser(baseUrl: string): Promise<User> {
  const account = { email: `endpoint-${randomUUID()}@example.com`, password: "correct-horse-battery" };
  const post = async (path: string, body: object) => {
    const init = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
    return (await (await fetch(baseUrl + path, init)).json()) as { data: { access_token: string } };
  };
  await post("/v1/auth/register", { ...account, name: "Endpoint" });
  return new User(baseUrl, (await post("/v1/auth/login", account)).data.access_token);
}

/** Calls `read` until `isRight` accepts its result; returns the last result after `limitMs`. */
export async function eventually<T>(read: () => Promise<T>, isRight: (value: T) => boolean, limitMs = 10_000): Promise<T> {
  for (const until = Date.now() + limitMs; ; ) {
    const value = await read();
    if (isRight(value) || Date.now() > until) return value;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
