import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Message } from "@turnwright/contract/conversation/v1/conversation";

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
 * fields.
 */
export function numbered(
  messages: readonly Message[],
  { conversationId, before, createdAt }: { conversationId: string; before: number; createdAt: Timestamp },
): Message[] {
  return messages.map((message, index) => ({
    ...message,
    conversationId,
    sequenceNumber: before + index + 1,
    createdAt,
    providerFields: "",
  }));
}
