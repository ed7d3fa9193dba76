/** The event of a message, as stored with its delivery. */
export interface MessageFacts {
  /** `run.completed`, …, or `webhook.test`. */
  readonly event: string;
  readonly createdAt: Date;
  /** Empty: a test. */
  readonly runId: string;
  /** Empty: a test. */
  readonly conversationId: string;
  /** Error of the run; empty: none. */
  readonly runError: string;
}

/**
 * The body to post: a run and its status. It holds ids and states only; a receiver with the rights can read the rest.
 */
export function messageBody({ event, createdAt, runId, conversationId, runError }: MessageFacts): string {
  return JSON.stringify({
    type: event,
    timestamp: createdAt.toISOString(),
    data: {
      run_id: runId,
      conversation_id: conversationId,
      status: event.slice(event.indexOf(".") + 1),
      error: runError,
    },
  });
}
