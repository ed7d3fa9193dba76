import { ApiError, errorOf, isAbort, unanswered } from "./api-error.ts";
import { noteAnswer, noteOffline, waitingUntil } from "./connection.ts";
import { answered, pendingKey } from "./pending-keys.ts";
import { randomId } from "./random-id.ts";
import { accessToken, endSession, refresh } from "./session.ts";
import type { Operations } from "./types.ts";

/** Values of a query; undefined, null and empty texts are left out, lists are repeated. */
export type Query = Readonly<Record<string, string | number | boolean | null | undefined | readonly string[]>>;

/** The parts of a request besides its address. */
export interface RequestOptions {
  readonly method?: string;
  readonly query?: Query;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Sent as it is, for JSON whose bytes must stay as they are. */
  readonly text?: string;
  /** Ends the request when its page is left. */
  readonly signal?: AbortSignal;
  /** Names the person's act: its idempotency key is kept until it is answered, also over a reload. */
  readonly once?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sends no token: for what everybody may ask. */
  readonly isPublic?: boolean;
}

/** Times that a GET waits for its turn by itself. */
const waits = 5;

function addressOf(path: string, query: Query = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null && one !== "") search.append(name, String(one));
    }
  }
  const text = search.toString();
  return text === "" ? path : `${path}?${text}`;
}

/** Waits, or throws when the signal fires. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(end);
      reject(new DOMException("The page was left.", "AbortError"));
    });
  });
}

async function headersOf(options: RequestOptions, key: string | undefined): Promise<Headers> {
  const headers = new Headers(options.headers);
  if (!options.isPublic) headers.set("authorization", `Bearer ${await accessToken()}`);
  if (options.body !== undefined || options.text !== undefined) headers.set("content-type", "application/json");
  if (key !== undefined) headers.set("idempotency-key", key);
  return headers;
}

/**
 * Sends a request with the session's token and returns the answer when its status is good. A token that has expired is
 * renewed once; a GET that came too often waits for its turn. Throws ApiError, or AbortError when the page was left.
 */
export async function send(path: string, options: RequestOptions = {}): Promise<Response> {
  const method = options.method ?? "GET";
  const isRead = method === "GET";
  const key = isRead ? undefined : options.once === undefined ? randomId() : pendingKey(options.once);
  let isRenewed = false;
  for (let waited = 0; ; ) {
    const headers = await headersOf(options, key);
    let response: Response;
    try {
      response = await fetch(addressOf(path, options.query), {
        method,
        headers,
        body: options.text ?? (options.body === undefined ? undefined : JSON.stringify(options.body)),
        signal: options.signal,
        credentials: "omit",
        cache: "no-store",
      });
    } catch (error) {
      if (isAbort(error)) throw error;
      noteOffline();
      throw unanswered();
    }
    noteAnswer();
    if (response.ok) {
      if (options.once !== undefined) answered(options.once);
      return response;
    }
    const error = await errorOf(response);
    if (error.isAboutSession && !options.isPublic) {
      if (isRenewed) {
        endSession();
        throw error;
      }
      isRenewed = true;
      await refresh();
      continue;
    }
    if (error.status === 429 && isRead && waited < waits) {
      waited += 1;
      const ms = Math.max(1, error.retryAfter) * 1_000;
      waitingUntil.value = new Date(Date.now() + ms);
      await pause(ms + Math.random() * 250, options.signal);
      waitingUntil.value = undefined;
      continue;
    }
    // A verdict on the request; after 5xx and 429 it is open whether it took effect.
    if (options.once !== undefined && error.status < 500 && error.status !== 429) answered(options.once);
    throw error;
  }
}

/** Sends a request and returns the `data` of its answer. */
export async function request<T = unknown>(path: string, options: RequestOptions = {}): Promise<T> {
  const response = await send(path, options);
  const body = (await response.json()) as { data?: T };
  return "data" in body ? (body.data as T) : (body as T);
}

type Operation = keyof Operations;
type Given<Name extends string, T> = T extends undefined
  ? { readonly [key in Name]?: undefined }
  : Record<string, never> extends T
    ? { readonly [key in Name]?: T }
    : { readonly [key in Name]: T };
type Input<O extends Operation> = Given<"path", Operations[O]["path"]> &
  Given<"query", Operations[O]["query"]> &
  Given<"body", Operations[O]["body"]> &
  Pick<RequestOptions, "signal" | "once" | "isPublic" | "headers">;

/**
 * Calls an operation of the API, typed by its document:
 * `api("GET /v1/runs/{run_id}", { path: { run_id }, signal })`.
 */
export function api<O extends Operation>(operation: O, input: Input<O>): Promise<Operations[O]["data"]> {
  const [method = "GET", template = ""] = operation.split(" ");
  const fields = (input.path ?? {}) as Readonly<Record<string, string>>;
  const path = template.replace(/\{(\w+)\}/g, (_match, name: string) => encodeURIComponent(fields[name] ?? ""));
  const { query, body, signal, once, isPublic, headers } = input;
  return request(path, { method, query: query as Query | undefined, body, signal, once, isPublic, headers });
}

export { ApiError, isAbort };
