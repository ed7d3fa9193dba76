import { signal } from "@preact/signals";
import { ApiError, errorOf, unanswered } from "./api-error.ts";
import type { User } from "./types.ts";

/**
 * The session of this browser. The refresh token is in a cookie that no script reads; the access token is in a variable
 * of this module and nowhere else. Tabs share a token over a BroadcastChannel and refresh one at a time.
 */

/** `starting`: not known yet; `ended`: it was there and ended, what stands on the page is kept. */
export type SessionStatus = "starting" | "in" | "out" | "ended";

/** Whether somebody is logged in. */
export const sessionStatus = signal<SessionStatus>("starting");
/** The account that is logged in. */
export const currentUser = signal<User | undefined>(undefined);

interface Held {
  readonly token: string;
  /** Times of this browser, in milliseconds. */
  readonly refreshAt: number;
  readonly expiresAt: number;
}

type Message =
  | { readonly type: "ask" }
  | { readonly type: "held"; readonly held: Held; readonly user: User | undefined }
  | { readonly type: "ended"; readonly wanted: boolean };

let held: Held | undefined;
let refreshing: Promise<string> | undefined;
let timer: ReturnType<typeof setTimeout> | undefined;
const channel = typeof BroadcastChannel === "undefined" ? undefined : new BroadcastChannel("tw-session");
const endings = new Set<() => void>();

/** Calls back when the session ends, so that stores drop what they hold; returns how to stop. */
export function onSessionEnd(callback: () => void): () => void {
  endings.add(callback);
  return () => endings.delete(callback);
}

function tell(message: Message): void {
  channel?.postMessage(message);
}

function hold(next: Held, user: User | undefined): void {
  held = next;
  if (user !== undefined) currentUser.value = user;
  sessionStatus.value = "in";
  clearTimeout(timer);
  timer = setTimeout(() => void refresh().catch(() => {}), Math.max(1_000, next.refreshAt - Date.now()));
}

function drop(wanted: boolean): void {
  held = undefined;
  clearTimeout(timer);
  if (wanted) {
    sessionStatus.value = "out";
    currentUser.value = undefined;
  } else if (sessionStatus.value === "in") {
    sessionStatus.value = "ended";
  } else if (sessionStatus.value === "starting") {
    sessionStatus.value = "out";
  }
  for (const callback of endings) callback();
}

/** Ends the session in all tabs: what they show stays under the login dialog. */
export function endSession(): void {
  if (sessionStatus.value !== "in") return;
  drop(false);
  tell({ type: "ended", wanted: false });
}

/** A request to the routes of the session, which take no bearer token. */
async function ask(method: "POST" | "PUT" | "DELETE", body: object): Promise<Record<string, unknown> | null> {
  const response = await fetch("/console/session", {
    method,
    credentials: "same-origin",
    headers: { "content-type": "application/json", "x-turnwright-console": "1" },
    body: JSON.stringify(body),
  }).catch(() => {
    throw unanswered();
  });
  if (!response.ok) throw await errorOf(response);
  return ((await response.json()) as { data: Record<string, unknown> | null }).data;
}

function heldOf(data: Record<string, unknown>): Held {
  const lifeMs = Number(data.expires_in) * 1_000;
  return { token: String(data.access_token), refreshAt: Date.now() + lifeMs * 0.8, expiresAt: Date.now() + lifeMs };
}

async function refreshNow(): Promise<string> {
  const before = held?.token;
  const work = async () => {
    // Another tab may have refreshed while this one waited.
    if (held !== undefined && held.token !== before && held.expiresAt > Date.now()) return held.token;
    const data = await ask("PUT", {});
    if (data === null) throw new ApiError({ status: 401, code: "NO_SESSION", message: "There is no session; log in." });
    const next = heldOf(data);
    hold(next, undefined);
    tell({ type: "held", held: next, user: currentUser.value });
    return next.token;
  };
  try {
    return await ("locks" in navigator ? navigator.locks.request("tw-refresh", work) : work());
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) {
      drop(false);
      tell({ type: "ended", wanted: false });
    }
    throw error;
  }
}

/** Gets a new access token, once for all that ask meanwhile. Throws ApiError; with status 401 the session has ended. */
export function refresh(): Promise<string> {
  refreshing ??= refreshNow().finally(() => {
    refreshing = undefined;
  });
  return refreshing;
}

/** The access token for a request; refreshes one that has expired. */
export async function accessToken(): Promise<string> {
  if (held !== undefined && held.expiresAt - 5_000 > Date.now()) return held.token;
  return await refresh();
}

/** The UUID of this browser's session, which its access token names; undefined without one. */
export function currentSessionId(): string | undefined {
  try {
    const [, payload = ""] = held?.token.split(".") ?? [];
    const { sid } = JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/"))) as { sid?: unknown };
    return typeof sid === "string" ? sid : undefined;
  } catch {
    return undefined;
  }
}

/** Logs in. Throws ApiError. */
export async function logIn(email: string, password: string): Promise<void> {
  const data = (await ask("POST", { email, password })) ?? {};
  const next = heldOf(data);
  const user = data.user as User;
  hold(next, user);
  tell({ type: "held", held: next, user });
}

/** Logs out: ends the session at the server, removes the cookie, and tells the other tabs. */
export async function logOut(): Promise<void> {
  // One that has expired is renewed first: the server ends a session for a valid token alone.
  const token = sessionStatus.value === "in" ? await accessToken().catch(() => undefined) : undefined;
  if (token !== undefined) {
    await fetch("/v1/auth/logout", {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: "{}",
    }).catch(() => {});
  }
  await ask("DELETE", {}).catch(() => {});
  drop(true);
  tell({ type: "ended", wanted: true });
}

/** Replaces what is known of the account, after it was read or changed. */
export function setCurrentUser(user: User): void {
  currentUser.value = user;
  if (held !== undefined) tell({ type: "held", held, user });
}

function listen(): void {
  channel?.addEventListener("message", ({ data }: MessageEvent<Message>) => {
    if (data.type === "ask") {
      if (held !== undefined && held.expiresAt > Date.now()) tell({ type: "held", held, user: currentUser.value });
    } else if (data.type === "held") hold(data.held, data.user);
    else drop(data.wanted);
  });
}

/** Another tab's token, when one answers in time. */
function askTabs(): Promise<boolean> {
  if (channel === undefined) return Promise.resolve(false);
  return new Promise((resolve) => {
    const end = setTimeout(() => resolve(false), 60);
    const stop = sessionStatus.subscribe((status) => {
      if (status !== "in") return;
      clearTimeout(end);
      queueMicrotask(() => stop());
      resolve(true);
    });
    tell({ type: "ask" });
  });
}

/** Asks the server for the session until it gives a verdict. */
async function findSession(): Promise<void> {
  if (sessionStatus.peek() !== "starting") return;
  try {
    await refresh();
  } catch (error) {
    if (!(error instanceof ApiError) || error.status === 401) return;
    // No verdict: a part is down or too many have asked.
    setTimeout(() => void findSession(), Math.max(1, error.retryAfter) * 1_000);
  }
}

/** Finds the session at the start of a tab: the others are asked first, then the server. */
export async function startSession(): Promise<void> {
  listen();
  if (!(await askTabs())) await findSession();
}
