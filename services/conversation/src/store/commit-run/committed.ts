import type { Message } from "@turnwright/contract/conversation/v1/conversation";
import { toTimestamp } from "../rows.ts";

/** A committed step. */
export interface Committed {
  /** With their sequence numbers and creation times. */
  readonly messages: Message[];
  /** Number of the newest log entry. */
  readonly seq: number;
  /** UUID of the queued run that may begin now that this one has ended; empty: none. */
  readonly nextRunId: string;
}

/**
 * Messages as stored in a conversation that had `before` messages, as users may see them: without the provider's
 * fields. `times` are their creation times.
 */
export function numbered(
  messages: readonly Message[],
  { conversationId, before, times }: { conversationId: string; before: number; times: readonly (string | Date)[] },
): Message[] {
  return messages.map((message, index) => ({
    ...message,
    conversationId,
    sequenceNumber: before + index + 1,
    createdAt: toTimestamp(times[index] ?? new Date(0)),
    providerFields: "",
  }));
}
