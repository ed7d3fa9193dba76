import { signal } from "@preact/signals";

/** The connection as the top line tells it. */
export type Connection =
  | { readonly kind: "quiet" }
  | { readonly kind: "live" }
  | { readonly kind: "reconnecting" }
  | { readonly kind: "offline"; readonly since: Date; readonly retryAt: Date };

/** Whether the server answers, and whether the page is live. */
export const connection = signal<Connection>({ kind: "quiet" });
/** When the server lets this browser go on after too many requests; undefined when nothing waits. */
export const waitingUntil = signal<Date | undefined>(undefined);
/** Counts how often the server answered again after an outage: views that got no answer load again. */
export const recoveries = signal(0);

/** Counts how often changes may have been missed: all views load again. */
export const resets = signal(0);

const longestPauseMs = 30_000;
let attempts = 0;
let timer: ReturnType<typeof setTimeout> | undefined;

/** Asks whether the server answers; for the button beside the words, and by itself. */
export async function tryAgain(): Promise<void> {
  clearTimeout(timer);
  timer = undefined;
  try {
    await fetch("/health", { credentials: "omit", cache: "no-store" });
    noteAnswer();
  } catch {
    noteOffline();
  }
}

/** Notes that a request got no answer, and asks again after 1 to 30 s. */
export function noteOffline(): void {
  const since = connection.value.kind === "offline" ? connection.value.since : new Date();
  if (timer !== undefined) return;
  attempts += 1;
  const pauseMs = Math.min(longestPauseMs, 1_000 * 2 ** Math.min(attempts, 6) * (0.75 + Math.random() / 4));
  connection.value = { kind: "offline", since, retryAt: new Date(Date.now() + pauseMs) };
  timer = setTimeout(() => void tryAgain(), pauseMs);
}

/** Notes that the server answered. */
export function noteAnswer(): void {
  attempts = 0;
  if (connection.value.kind !== "offline") return;
  clearTimeout(timer);
  timer = undefined;
  connection.value = { kind: "quiet" };
  recoveries.value += 1;
}
