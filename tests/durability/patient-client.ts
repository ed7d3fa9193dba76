import { setTimeout as delay } from "node:timers/promises";
import { WatchedText } from "../chaos/watched-text.ts";
import { streamedEvents } from "../e2e/event-stream.ts";
import type { Json } from "../json-call.ts";

/** The response of a route. */
export interface Answer {
  readonly status: number;
  readonly data: Json;
  readonly error: Json;
}

/** A watcher of a run that resumes the stream whenever it breaks. */
export interface RunWatcher {
  /** The watcher's current copy of the answer. */
  text(): string;
  /** Types of the events so far. */
  readonly types: readonly string[];
  /** Number of broken streams. */
  readonly breaks: number;
  /** Resolves once the stream has sent its final event. */
  readonly ended: Promise<void>;
  close(): Promise<void>;
}

/** A user of the system that retries while parts of it are away. */
export interface PatientClient {
  /** Retries until a response is final; POSTs carry an idempotency key, the same on each try. */
  call(verb: "GET" | "POST", path: string, body?: object): Promise<Answer>;
  watch(runId: string): RunWatcher;
  /** Ends every watcher. */
  close(): void;
}

const patienceMs = 30_000;
const ends: ReadonlySet<string> = new Set(["finish", "failed", "cancelled"]);
/** Statuses to retry: a part of the system is away. */
const passing: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504]);

/** Registers an account and logs it in. */
export async function createPatientClient(baseUrl: string): Promise<PatientClient> {
  let token = "";
  let keys = 0;
  const closing = new AbortController();

  async function call(verb: "GET" | "POST", path: string, body?: object): Promise<Answer> {
    const until = Date.now() + patienceMs;
    keys += 1;
    const key = `key-${keys}`;
    for (;;) {
      try {
        const response = await fetch(baseUrl + path, {
          method: verb,
          signal: AbortSignal.timeout(patienceMs),
          headers: {
            ...(token === "" ? {} : { authorization: `Bearer ${token}` }),
            ...(body === undefined ? {} : { "content-type": "application/json", "idempotency-key": key }),
          },
          body: body === undefined ? undefined : JSON.stringify(body),
        });
        const text = await response.text();
        if (!passing.has(response.status))
          return { status: response.status, data: undefined, error: undefined, ...JSON.parse(text) };
        if (Date.now() > until) throw new Error(`${verb} ${path}: still ${response.status} ${text}`);
      } catch (error) {
        if (Date.now() > until) throw error;
      }
      await delay(50);
    }
  }

  function watch(runId: string): RunWatcher {
    const text = new WatchedText();
    const types: string[] = [];
    const leaving = new AbortController();
    const leave = AbortSignal.any([leaving.signal, closing.signal]);
    const end = Promise.withResolvers<void>();
    let breaks = -1;
    const watching = (async () => {
      while (!leave.aborted) {
        breaks += 1;
        try {
          const response = await fetch(`${baseUrl}/v1/runs/${runId}/events`, {
            headers: { authorization: `Bearer ${token}`, "last-event-id": text.lastEventId },
            signal: leave,
          });
          if (!response.ok) throw new Error(`events: ${response.status}`);
          for await (const { data } of streamedEvents(response)) {
            if (data.type === undefined) break;
            types.push(data.type);
            text.take(data);
            if (ends.has(data.type)) return end.resolve();
          }
        } catch {
          // Broken or refused for now: resume.
        }
        await delay(50);
      }
    })();
    return {
      text: () => text.text,
      types,
      get breaks() {
        return Math.max(0, breaks);
      },
      ended: end.promise,
      async close() {
        leaving.abort();
        await watching;
      },
    };
  }

  const account = { email: "patient@example.com", password: "SecurePass123" };
  await call("POST", "/v1/auth/register", { ...account, name: "P" });
  token = (await call("POST", "/v1/auth/login", account)).data.access_token;
  return { call, watch, close: () => closing.abort() };
}
