import { signal } from "@preact/signals";
import { ApiError } from "../api/api-error.ts";
import { connection, resets } from "../api/connection.ts";
import { followStream } from "../api/event-stream.ts";
import { currentSessionId, endSession, onSessionEnd, sessionStatus } from "../api/session.ts";

/** Numbers of things that wait for the person, for the badges; more than 10,000 are told as 10,000. */
export interface Counts {
  readonly pending: number;
  readonly needs_review: number;
  readonly running: number;
}

/** An event of the user's stream, `GET /v1/events`; fields that do not belong to its type are absent. */
export interface UserEvent {
  /**
   * `counts`, `run.changed`, `approval.created`, `approval.decided`, `approval.expired`, `key.revoked` or
   * `session.ended`.
   */
  readonly type: string;
  readonly event_id?: string;
  readonly counts?: Partial<Counts>;
  /** Of `counts`: events before this one may be missing. All views load again by themselves. */
  readonly reset?: boolean;
  readonly run_id?: string;
  readonly conversation_id?: string;
  readonly status?: string;
  readonly approval_id?: string;
  readonly call_id?: string;
  readonly tool_name?: string;
  readonly api_key_id?: string;
  readonly session_id?: string;
}

/** The counts of the badges; undefined until the stream told them, or where there is none. */
export const counts = signal<Counts | undefined>(undefined);

type Listener = (event: UserEvent) => void;
const listeners = new Set<Listener>();
const channel = typeof BroadcastChannel === "undefined" ? undefined : new BroadcastChannel("tw-events");

/** Calls back for each event of the user's stream, in whichever tab it was read; returns how to stop. */
export function onUserEvent(listener: Listener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** The last event that this tab knows, from its own stream or from another tab's: a new leader goes on after it. */
let lastEventId = "";

function take(event: UserEvent): void {
  if (event.event_id !== undefined && event.event_id !== "") lastEventId = event.event_id;
  if (event.type === "counts") {
    const { pending = 0, needs_review = 0, running = 0 } = event.counts ?? {};
    counts.value = { pending, needs_review, running };
    if (event.reset) resets.value += 1;
  }
  // Other sessions of the account end as well, and this one goes on.
  if (event.type === "session.ended" && event.session_id === currentSessionId()) endSession();
  for (const listener of listeners) listener(event);
}

type Shared =
  | { readonly kind: "event"; readonly event: UserEvent }
  | { readonly kind: "state"; readonly isLive: boolean }
  | { readonly kind: "ask" };
let isLeader = false;
let isOpen = false;

function noteState(isLive: boolean): void {
  isOpen = isLive;
  if (isLive) connection.value = { kind: "live" };
  else if (connection.value.kind !== "offline") connection.value = { kind: "reconnecting" };
}

async function follow(signal: AbortSignal): Promise<void> {
  try {
    await followStream<UserEvent>("/v1/events", {
      signal,
      lastEventId,
      onEvent(event) {
        take(event);
        channel?.postMessage({ kind: "event", event } satisfies Shared);
      },
      onState(state) {
        const isLive = state === "open";
        noteState(isLive);
        channel?.postMessage({ kind: "state", isLive } satisfies Shared);
      },
    });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    // A server without the stream: no badges, nothing live; all else works.
    if (error.status === 404) connection.value = { kind: "quiet" };
    else if (error.status === 401) endSession();
  }
}

/** Leads for as long as the signal lets it; one tab of the browser at a time. */
async function lead(signal: AbortSignal): Promise<void> {
  if (!("locks" in navigator)) return await followWhileVisible(signal);
  try {
    await navigator.locks.request("tw-events", { signal }, async () => {
      isLeader = true;
      await follow(signal);
      // A server without the stream has none for the other tabs either.
      await new Promise<void>((resolve) => {
        if (signal.aborted) resolve();
        signal.addEventListener("abort", () => resolve());
      });
    });
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    isLeader = false;
    isOpen = false;
  }
}

/** Without locks (plain HTTP), each visible tab has a stream of its own, closed 30 s after it is hidden. */
async function followWhileVisible(signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const shown = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const onChange = () => {
      clearTimeout(timer);
      if (document.hidden) timer = setTimeout(() => shown.abort(), 30_000);
    };
    const stop = () => shown.abort();
    document.addEventListener("visibilitychange", onChange);
    signal.addEventListener("abort", stop);
    await follow(shown.signal);
    document.removeEventListener("visibilitychange", onChange);
    signal.removeEventListener("abort", stop);
    if (signal.aborted || !shown.signal.aborted) return;
    await visible();
  }
}

function visible(): Promise<void> {
  return new Promise((resolve) => {
    if (!document.hidden) return resolve();
    document.addEventListener("visibilitychange", () => resolve(), { once: true });
  });
}

function hear({ data }: MessageEvent<Shared>): void {
  if (data.kind === "event") take(data.event);
  else if (data.kind === "state") noteState(data.isLive);
  else if (isLeader) {
    channel?.postMessage({ kind: "state", isLive: isOpen } satisfies Shared);
    const told = counts.value;
    if (told !== undefined) channel?.postMessage({ kind: "event", event: { type: "counts", counts: told } } satisfies Shared);
  }
}

/**
 * Follows the user's events for as long as somebody is logged in: one stream for all tabs of the browser. Returns how
 * to stop.
 */
export function startUserEvents(): () => void {
  channel?.addEventListener("message", hear);
  let leading: AbortController | undefined;
  const end = () => {
    leading?.abort();
    leading = undefined;
    counts.value = undefined;
    lastEventId = "";
    connection.value = { kind: "quiet" };
  };
  const unsubscribe = sessionStatus.subscribe((status) => {
    if (status !== "in" || leading !== undefined) return;
    leading = new AbortController();
    channel?.postMessage({ kind: "ask" } satisfies Shared);
    void lead(leading.signal);
  });
  const forget = onSessionEnd(end);
  return () => {
    channel?.removeEventListener("message", hear);
    unsubscribe();
    forget();
    end();
  };
}
