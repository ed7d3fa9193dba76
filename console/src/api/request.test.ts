import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { ApiError } from "./api-error.ts";
import { connection, noteAnswer, waitingUntil } from "./connection.ts";
import { followStream } from "./event-stream.ts";
import { isPending } from "./pending-keys.ts";
import { api, request } from "./request.ts";
import { logIn, logOut, sessionStatus } from "./session.ts";

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers: Headers;
  readonly body: string;
}
type Answer = (asked: Asked, signal: AbortSignal | undefined) => Response | Promise<Response>;

let asked: Asked[];
let answer: Answer;
let tokens: number;

const json = (status: number, body: unknown, headers: Record<string, string> = {}) =>
  new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json", ...headers } });
const data = (value: unknown) => json(200, { success: true, data: value });
const refusal = (status: number, code: string, headers: Record<string, string> = {}) =>
  json(status, { success: false, error: { message: "No.", code, param: null } }, headers);
const of = (path: string) => asked.filter((one) => one.path.startsWith(path));

beforeEach(async () => {
  const kept = new Map<string, string>();
  vi.stubGlobal("sessionStorage", {
    getItem: (name: string) => kept.get(name) ?? null,
    setItem: (name: string, value: string) => void kept.set(name, value),
    removeItem: (name: string) => void kept.delete(name),
  });
  vi.useFakeTimers();
  asked = [];
  tokens = 0;
  answer = () => data({});
  vi.stubGlobal("fetch", async (path: string, init: RequestInit = {}) => {
    const one = { method: init.method ?? "GET", path, headers: new Headers(init.headers), body: String(init.body ?? "") };
    asked.push(one);
    if (path === "/console/session" && one.method !== "DELETE") {
      tokens += 1;
      return data({ access_token: `token-${tokens}`, expires_in: 900, user: { id: "u1", name: "Anna" } });
    }
    return answer(one, init.signal ?? undefined);
  });
  await logIn("anna@shop.test", "correct");
  asked = [];
});

afterEach(async () => {
  answer = () => data({});
  noteAnswer();
  await logOut();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe("a request", () => {
  test("has the token, the path's fields and the query, and gives the data", async () => {
    answer = () => data({ run: { id: "a b" } });
    const path = { conversation_id: "a/b" };
    const answered = await api("GET /v1/conversations/{conversation_id}/messages", { path, query: { limit: 5, cursor: "" } });
    expect(answered).toEqual({ run: { id: "a b" } });
    expect(asked[0]).toMatchObject({ method: "GET", path: "/v1/conversations/a%2Fb/messages?limit=5" });
    expect(asked[0]?.headers.get("authorization")).toBe("Bearer token-1");
    expect(asked[0]?.headers.has("idempotency-key")).toBe(false);
  });

  test("refused for its token is repeated with a new one, which all that wait share", async () => {
    answer = ({ headers }) => (headers.get("authorization") === "Bearer token-1" ? refusal(401, "TOKEN_EXPIRED") : data("ok"));
    expect(await Promise.all([request("/v1/a"), request("/v1/b"), request("/v1/c")])).toEqual(["ok", "ok", "ok"]);
    expect(of("/console/session")).toHaveLength(1);
    expect(of("/v1/")).toHaveLength(6);
  });

  test("refused again ends the session; a wrong password in it does not", async () => {
    answer = () => refusal(401, "PASSWORD_ERROR");
    await expect(request("/v1/auth/password", { method: "POST", body: {} })).rejects.toMatchObject({
      status: 401,
      code: "PASSWORD_ERROR",
    });
    expect([sessionStatus.value, asked.length]).toEqual(["in", 1]);
    answer = () => refusal(401, "INVALID_TOKEN");
    await expect(request("/v1/a")).rejects.toMatchObject({ status: 401 });
    expect(sessionStatus.value).toBe("ended");
  });

  test("too many wait for their turn when they only read", async () => {
    answer = () => (of("/v1/a").length < 3 ? refusal(429, "RATE_LIMIT", { "retry-after": "7" }) : data("ok"));
    const reading = request("/v1/a");
    await vi.advanceTimersByTimeAsync(6_900);
    expect(of("/v1/a")).toHaveLength(1);
    expect(waitingUntil.value).toBeInstanceOf(Date);
    await vi.advanceTimersByTimeAsync(8_000);
    await vi.advanceTimersByTimeAsync(8_000);
    expect(await reading).toBe("ok");
    expect([of("/v1/a").length, waitingUntil.value]).toEqual([3, undefined]);
    answer = () => refusal(429, "RATE_LIMIT", { "retry-after": "7" });
    await expect(request("/v1/b", { method: "POST", body: {} })).rejects.toMatchObject({ retryAfter: 7 });
    expect(of("/v1/b")).toHaveLength(1);
  });

  test("that writes keeps its key until it is answered", async () => {
    const send = () =>
      request("/v1/runs", { method: "POST", body: { message: "a" }, once: "send:1" }).catch((error: ApiError) => error.code);
    answer = () => Promise.reject(new TypeError("Failed to fetch"));
    expect([await send(), connection.value.kind, isPending("send:1")]).toEqual(["OFFLINE", "offline", true]);
    answer = () => refusal(503, "UNAVAILABLE");
    expect([await send(), connection.value.kind]).toEqual(["UNAVAILABLE", "quiet"]);
    answer = () => data("ok");
    expect([await send(), isPending("send:1")]).toEqual(["ok", false]);
    await send();
    const keys = asked.filter(({ path }) => path === "/v1/runs").map(({ headers }) => headers.get("idempotency-key"));
    expect(new Set(keys.slice(0, 3)).size).toBe(1);
    expect(keys[3]).not.toBe(keys[0]);
  });

  test("ends with its page", async () => {
    answer = (_one, signal) =>
      new Promise((_resolve, reject) => {
        signal?.addEventListener("abort", () => reject(new DOMException("left", "AbortError")));
      });
    const leaving = new AbortController();
    const reading = request("/v1/a", { signal: leaving.signal });
    await vi.advanceTimersByTimeAsync(0);
    leaving.abort();
    await expect(reading).rejects.toMatchObject({ name: "AbortError" });
    expect(connection.value.kind).not.toBe("offline");
  });
});

describe("a stream", () => {
  /** An answer of these pieces, which ends or stays open. */
  const streamOf = (pieces: readonly string[], staysOpen = false, signal?: AbortSignal) =>
    new Response(
      new ReadableStream<Uint8Array>({
        start(controller) {
          for (const piece of pieces) controller.enqueue(new TextEncoder().encode(piece));
          if (!staysOpen) controller.close();
          signal?.addEventListener("abort", () => controller.error(new DOMException("left", "AbortError")));
        },
      }),
    );

  const follow = () => {
    const events: unknown[] = [];
    const states: string[] = [];
    const leaving = new AbortController();
    const done = followStream("/v1/events", {
      signal: leaving.signal,
      onEvent: (event) => events.push(event),
      onState: (state) => states.push(state),
    });
    const ended = done.then(
      () => "ended",
      (error: ApiError) => error.code,
    );
    return { events, states, ended, leave: () => leaving.abort() };
  };

  test("goes on after its last event when it breaks, and ends at its end", async () => {
    answer = () =>
      of("/v1/events").length === 1
        ? streamOf(['id: 7\ndata: {"a":1}\n\nid: 8\ndata: {"a"'])
        : streamOf(['id: 8\ndata: {"a":2}\n\ndata: [DONE]\n\n']);
    const { events, states, ended } = follow();
    await vi.advanceTimersByTimeAsync(600);
    expect(await ended).toBe("ended");
    expect(events).toEqual([{ a: 1 }, { a: 2 }]);
    expect(states).toEqual(["open", "reconnecting", "open", "ended"]);
    expect(of("/v1/events")[1]?.headers.get("last-event-id")).toBe("7");
  });

  test("that is silent for 35 s counts as lost; a comment is a sign of life", async () => {
    answer = (_one, signal) => streamOf([": here\n\n"], true, signal);
    const { states, leave, ended } = follow();
    await vi.advanceTimersByTimeAsync(34_000);
    expect(states).toEqual(["open"]);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(states).toEqual(["open", "reconnecting", "open"]);
    leave();
    expect(await ended).toBe("ended");
  });

  test("asks again after longer and longer pauses, of ten seconds at most", async () => {
    answer = () => refusal(503, "UNAVAILABLE");
    const { leave, ended } = follow();
    await vi.advanceTimersByTimeAsync(60_000);
    const tries = of("/v1/events").length;
    expect(tries).toBeGreaterThan(8);
    expect(tries).toBeLessThan(20);
    leave();
    expect(await ended).toBe("ended");
  });

  test("tells a refusal and the frame of an ended credential", async () => {
    answer = () => refusal(404, "NOT_FOUND");
    expect(await follow().ended).toBe("NOT_FOUND");
    answer = () => streamOf(['data: {"error":{"message":"The credential has ended.","code":"INVALID_TOKEN"}}\n\n']);
    expect(await follow().ended).toBe("INVALID_TOKEN");
  });
});
