/** The events that a webhook may get, with their words. */
export const webhookEvents = [
  ["run.completed", "a run has completed"],
  ["run.failed", "a run has failed"],
  ["run.waiting", "a call waits for a person"],
  ["run.cancelled", "a run was cancelled"],
  ["run.needs_review", "a call's outcome is unknown"],
] as const;

/** The name of an event. */
export type WebhookEvent = (typeof webhookEvents)[number][0];

/** The events of a webhook in short. */
export function eventsText(events: readonly string[]): string {
  return events.length === 0 ? "all events" : events.join(", ");
}
