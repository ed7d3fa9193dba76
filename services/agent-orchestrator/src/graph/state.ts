import type { Message } from "@turnwright/contract/conversation/v1/conversation";

/** What stays between the steps of a run, stored in its row. Refers to messages, holds no copies. */
export interface TurnState {
  readonly agent: string;
  readonly model: string;
  /** Model calls so far. */
  readonly iteration: number;
  /** The assistant's message whose calls are under way; empty: none. */
  readonly messageId: string;
  /** Calls of it that wait for a person. */
  readonly waiting: readonly string[];
  /** Nobody waits for the answer, so a failure that may pass parks the run. */
  readonly background?: boolean;
  /** Failures in a row that the run was parked for. */
  readonly retries?: number;
}

/** Of a run that has done nothing yet. */
export const freshState: TurnState = { agent: "", model: "", iteration: 0, messageId: "", waiting: [] };

/**
 * Reads a stored state. It may be of an earlier release, or of a later one that added to it without making it another version: what is missing or
 * unreadable is as in a fresh state, and what is unknown stays, for who knows it.
 */
export function readState(json: string): TurnState {
  const stored = parsed(json);
  const text = (value: unknown) => (typeof value === "string" ? value : "");
  const count = (value: unknown) => (Number.isSafeInteger(value) && (value as number) > 0 ? (value as number) : 0);
  return {
    ...stored,
    agent: text(stored.agent),
    model: text(stored.model),
    iteration: count(stored.iteration),
    messageId: text(stored.messageId),
    waiting: Array.isArray(stored.waiting) ? stored.waiting.filter((id) => typeof id === "string") : [],
    background: stored.background === true,
    retries: count(stored.retries),
  };
}

function parsed(json: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** The message whose calls are under way: that of the state, else the newest one with calls since the user's. */
export function callsMessageId({ messageId }: TurnState, messages: readonly Message[]): string {
  if (messageId !== "") return messageId;
  const asked = messages.findLast(({ role, toolCalls }) => role === "user" || toolCalls.length > 0);
  return asked === undefined || asked.role === "user" ? "" : asked.id;
}
