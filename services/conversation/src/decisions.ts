import type { CallDecision } from "@turnwright/contract/conversation/v1/journal_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";

/** A person's decisions: on single calls, and on all others (`approved` unset: those stay pending). */
export interface Decisions {
  readonly calls: readonly CallDecision[];
  readonly approved?: boolean;
  /** The reason given for all others. */
  readonly reason: string;
}

/** A call of the round for which the run is parked, decided or not. */
interface ParkedCall {
  readonly id: string;
  readonly call_id: string;
  readonly status: string;
  /** JSON text that an earlier decision put in place of the model's arguments. */
  readonly edited_arguments?: string | null;
  /** Whether its time for a decision is over. */
  readonly expired: boolean;
}

/** The decision on one approval. */
export interface Decision {
  /** UUID of the approval. */
  readonly id: string;
  readonly approved: boolean;
  readonly reason: string;
  /** JSON text that replaces the model's arguments; undefined: the model's arguments stand. */
  readonly editedArguments?: string;
}

/**
 * The most bytes of the arguments that people put in place of the model's in one round. The model's own may have as
 * many, and the run's worker gets all of them at once.
 */
export const maxEditedBytes = 1_048_576;

/**
 * Matches decisions with the calls of a parked round. The first decision on a call wins: a second one throws
 * NOTHING_TO_APPROVE. Throws INVALID_REQUEST for a call that is not in the round or is named twice and for new
 * arguments that are too large together, APPROVAL_EXPIRED for a pending call whose time is over.
 */
export function decide(round: readonly ParkedCall[], { calls, approved, reason }: Decisions): Decision[] {
  const pending = new Map(round.filter(({ status }) => status === "pending").map((call) => [call.call_id, call.id]));
  const made: Decision[] = [];
  for (const [index, call] of calls.entries()) {
    const param = `calls[${index}].call_id`;
    const id = pending.get(call.callId);
    if (call.approvalId !== "" && round.every((known) => known.id !== call.approvalId)) {
      throw fail(ErrorReason.NOTHING_TO_APPROVE, "This call has been decided already.", { param: `calls[${index}].approval_id` });
    }
    if (id === undefined || (call.approvalId !== "" && id !== call.approvalId)) throw unmatched(round, made, call.callId, param);
    pending.delete(call.callId);
    if (call.arguments !== "" && !call.approved) {
      const field = `calls[${index}].arguments`;
      throw fail(ErrorReason.INVALID_REQUEST, `${field}: a rejected call has none`, { param: field });
    }
    const editedArguments = call.arguments === "" ? undefined : call.arguments;
    made.push({ id, approved: call.approved, reason: call.reason, editedArguments });
  }
  const edited = [...round.map((call) => call.edited_arguments ?? ""), ...calls.map((call) => call.arguments)];
  if (edited.reduce((bytes, text) => bytes + Buffer.byteLength(text), 0) > maxEditedBytes) {
    const words = `arguments: the new arguments of this round's calls are together larger than ${maxEditedBytes} bytes`;
    throw fail(ErrorReason.INVALID_REQUEST, words, { param: "arguments" });
  }
  if (approved !== undefined) made.push(...[...pending.values()].map((id) => ({ id, approved, reason })));
  if (made.length === 0) throw fail(ErrorReason.NOTHING_TO_APPROVE, "Nothing in this conversation waits for an approval.");
  const expired = new Set(round.filter((call) => call.expired).map(({ id }) => id));
  const late = made.findIndex(({ id }) => expired.has(id));
  if (late !== -1) {
    const param = late < calls.length ? `calls[${late}].call_id` : "approved";
    throw tooLate(param);
  }
  return made;
}

/** The error for a decision on a call that has expired. */
export function tooLate(param: string) {
  return fail(ErrorReason.APPROVAL_EXPIRED, "Nobody decided on this call in time; it counts as rejected.", { param });
}

function unmatched(round: readonly ParkedCall[], made: readonly Decision[], callId: string, param: string) {
  const known = round.find(({ call_id }) => call_id === callId);
  if (known === undefined) return fail(ErrorReason.INVALID_REQUEST, `${param}: is no call that waits for a decision`, { param });
  if (made.some(({ id }) => id === known.id)) return fail(ErrorReason.INVALID_REQUEST, `${param}: named twice`, { param });
  return fail(ErrorReason.NOTHING_TO_APPROVE, "This call has been decided already.", { param });
}
