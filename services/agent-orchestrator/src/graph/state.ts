import type { Message } from "@turnwright/contract/conversation/v1/conversation";

/** The part of a run that outlives a step, stored in its row. Names messages by id and holds no copies. */
export interface RunState {
  readonly agent: string;
  readonly model: string;
  /** Model calls so far. */
  readonly iteration: number;
  /** The assistant message whose calls are being run; empty: none. */
  readonly messageId: string;
  /** Ids of those calls that await approval. */
  readonly waiting: readonly string[];
  /** No client waits for the answer, so a failure that may pass parks the run. */
  readonly background?: boolean;
  /** A client may ask for the run again under its idempotency key. */
  readonly isKeyed?: boolean;
  /** The agent that the router names for the message; only where its client named none. */
  readonly routed?: string;
  /** Consecutive failures for which the run was parked. */
  readonly retries?: number;
  /** Whether every model that was charged for has a price; unset: none was. The journal shows it to the run's user. */
  readonly priced?: boolean;
  /** The run is the trial of a tool: it makes this call and ends with its result, and no model is called. */
  readonly trial?: TrialCall;
}

/** The only call of a trial. */
export interface TrialCall {
  readonly name: string;
  /** JSON text. */
  readonly arguments: string;
}

/** The state of a run before its first step. */
export const freshState: RunState = { agent: "", model: "", iteration: 0, messageId: "", waiting: [] };

/**
 * Reads a stored state. An earlier release may have written it, or a later one that added fields without raising the
 * version: a missing or unreadable field gets its fresh value, and an unknown field is kept for the release that knows
 * it.
 */
export function readState(json: string): RunState {
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
    trial: trialOf(stored.trial),
  };
}

function trialOf(stored: unknown): TrialCall | undefined {
  const { name, arguments: json } = (stored ?? {}) as Record<string, unknown>;
  return typeof name === "string" && typeof json === "string" ? { name, arguments: json } : undefined;
}

function parsed(json: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/**
 * Id of the message whose calls are being run: the one in the state, else the newest message with calls after the
 * user's. Empty when there is none.
 */
export function callsMessageId({ messageId }: RunState, messages: readonly Message[]): string {
  if (messageId !== "") return messageId;
  const newest = messages.findLast(({ role, toolCalls }) => role === "user" || toolCalls.length > 0);
  return newest === undefined || newest.role === "user" ? "" : newest.id;
}
