import { signal } from "@preact/signals";

/** The connection as the top line tells it. */
export type Connection =
  | { readonly kind: "quiet" }
  | { readonly kind: "live" }
  | { readonly kind: "reconnecting" }
  | { readonly kind: "offline"; readonly since: Date; readonly retryAt: Date | undefined };

/** Whether the server answers, and whether the page is live. */
export const connection = signal<Connection>({ kind: "quiet" });
/** When the server lets this browser go on after too many requests; undefined when nothing waits. */
export const waitingUntil = signal<Date | undefined>(undefined);

/** Notes that a request got no answer. */
export function noteOffline(retryAt?: Date): void {
  const since = connection.value.kind === "offline" ? connection.value.since : new Date();
  connection.value = { kind: "offline", since, retryAt };
}

/** Notes that the server answered. */
export function noteAnswer(): void {
  if (connection.value.kind === "offline") connection.value = { kind: "quiet" };
}
