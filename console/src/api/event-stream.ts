import { ApiError, isAbort, unanswered } from "./api-error.ts";
import { pause, type Query, send } from "./request.ts";
import { SseParser } from "./sse-parser.ts";

/** The state of a stream, for the words beside what it shows. */
export type StreamState = "open" | "reconnecting" | "ended";

/** The position, the signal and the callbacks of a reader of a stream. */
export interface StreamOptions<T> {
  readonly query?: Query;
  /** The last event that is known, to go on after it. */
  readonly lastEventId?: string;
  readonly signal: AbortSignal;
  /** An event, in order. */
  readonly onEvent: (event: T, id: string) => void;
  readonly onState?: (state: StreamState) => void;
}

/** Silence after which a connection counts as lost; the server sends a comment each 15 s. */
const silenceMs = 35_000;
const firstPauseMs = 500;
const longestPauseMs = 10_000;

/** The codes after which another attempt has the same end. */
const isFinal = ({ status }: ApiError) => status >= 400 && status < 500 && status !== 429 && status !== 408;

function errorInFrame(data: unknown): ApiError | undefined {
  const error = (data as { error?: { message?: unknown; code?: unknown } } | null)?.error;
  if (typeof error !== "object" || error === null || typeof error.code !== "string") return undefined;
  const status = /TOKEN|UNAUTHORIZED/.test(error.code) ? 401 : error.code === "NOT_FOUND" ? 404 : 503;
  return new ApiError({ status, code: error.code, message: String(error.message ?? "") });
}

/** Reads pieces until the stream ends; throws when it is silent for too long. */
async function* piecesOf(body: ReadableStream<Uint8Array>, abort: AbortController): AsyncGenerator<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  for (;;) {
    const silence = setTimeout(() => abort.abort(), silenceMs);
    try {
      const { value, done } = await reader.read();
      if (done) return;
      yield decoder.decode(value, { stream: true });
    } finally {
      clearTimeout(silence);
    }
  }
}

/**
 * Follows an event stream to its end (`[DONE]`): after a lost connection or 35 s of silence it goes on after the last
 * event, with pauses of 0.5 to 10 s. Resolves at the end or when the signal fires; throws ApiError when the server
 * refuses.
 */
export async function followStream<T>(path: string, options: StreamOptions<T>): Promise<void> {
  const { signal, onState } = options;
  let lastEventId = options.lastEventId ?? "";
  let failures = 0;
  while (!signal.aborted) {
    const attempt = new AbortController();
    const stop = () => attempt.abort();
    signal.addEventListener("abort", stop);
    try {
      const response = await send(path, {
        query: options.query,
        signal: attempt.signal,
        headers: { accept: "text/event-stream", ...(lastEventId === "" ? {} : { "last-event-id": lastEventId }) },
      });
      if (response.body === null) throw unanswered();
      onState?.("open");
      const parser = new SseParser();
      for await (const piece of piecesOf(response.body, attempt)) {
        failures = 0;
        for (const event of parser.push(piece)) {
          if (event.data === "[DONE]") {
            onState?.("ended");
            return;
          }
          const data = JSON.parse(event.data) as T;
          const error = errorInFrame(data);
          if (error !== undefined) throw error;
          if (event.id !== "") lastEventId = event.id;
          options.onEvent(data, event.id);
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && isFinal(error)) throw error;
      if (!(error instanceof ApiError) && !isAbort(error) && !(error instanceof TypeError)) throw error;
    } finally {
      signal.removeEventListener("abort", stop);
      attempt.abort();
    }
    onState?.("reconnecting");
    const limit = Math.min(longestPauseMs, firstPauseMs * 2 ** failures);
    failures += 1;
    await pause(limit * (0.5 + Math.random() / 2), signal).catch(() => {});
  }
}
