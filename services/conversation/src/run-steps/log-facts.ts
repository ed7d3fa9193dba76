/** A call in a message or in a log entry. */
export interface StepCall {
  readonly id: string;
  readonly name: string;
}

/** A message that a log entry tells of, without its texts. */
export interface StepMessage {
  readonly role: string;
  /** The model that wrote it. */
  readonly model: string;
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** How long the model call, or the tool, ran. */
  readonly latencyMs: number;
  /** The call that it answers; empty: none. */
  readonly callId: string;
  /** The calls that it asks for. */
  readonly calls: readonly StepCall[];
  /** When it was made, in milliseconds since 1970. */
  readonly atMs: number;
}

/** Tokens and money that the step of an entry used. */
export interface Spent {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly costUsd: number;
}

/** An entry of a run's log, as far as steps are made of it. */
export interface StepEntry {
  readonly seq: number;
  readonly type: string;
  /** When it was stored, in milliseconds since 1970. */
  readonly atMs: number;
  readonly messages: readonly StepMessage[];
  /** Empty: the entry does not name it. */
  readonly worker: string;
  /** Undefined: not stored, or nothing. */
  readonly spent: Spent | undefined;
  /** How calls ended that did not succeed, by call id. */
  readonly outcomes: ReadonlyMap<string, string>;
  /** needs_review: the calls to settle. */
  readonly calls: readonly StepCall[];
  readonly error: string;
  /** Name of the reason, as `MODEL_FAILED`. */
  readonly reason: string;
  readonly provider: string;
  readonly model: string;
  /** retrying: the pause, in milliseconds. */
  readonly inMs: number;
}

/** An approval of a run, without its arguments. */
export interface StepApproval {
  readonly id: string;
  readonly callId: string;
  readonly toolName: string;
  readonly status: string;
  readonly reason: string;
  /** Whether a person decided. */
  readonly isDecided: boolean;
  readonly createdMs: number;
  readonly endedMs: number | undefined;
}

/** The row of a run, as far as steps are made of it. */
export interface StepRun {
  readonly status: string;
  readonly agent: string;
  readonly model: string;
  readonly error: string;
  readonly createdMs: number;
  /** The worker that drives it now or drove it last; empty: none. */
  readonly owner: string;
  /** The outcomes of the calls that were open when it was cancelled, by call id. */
  readonly receipts: ReadonlyMap<string, string>;
}

/** Whether a run waited for a worker at its begin. One that a caller waits for is claimed at once, without an entry. */
export function wasQueued({ owner }: StepRun, [first, second]: readonly StepEntry[]): boolean {
  if (first?.type === "started") return true;
  const isUntouched = first === undefined || (second === undefined && (first.type === "failed" || first.type === "cancelled"));
  return owner === "" && isUntouched;
}
