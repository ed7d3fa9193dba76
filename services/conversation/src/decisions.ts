import type { CallDecision } from "@turnwright/contract/conversation/v1/journal_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";

/** What a person decided: on single calls, and on the rest (unset: they stay pending). */
export interface Decisions {
  readonly calls: readonly CallDecision[];
  readonly approved?: boolean;
  /** The words for the rest. */
  readonly reason: string;
}

/** A call of the parked round, decided before or not. */
interface ParkedCall {
  readonly id: string;
  readonly call_id: string;
  readonly status: string;
}

/** The decision on one approval. */
export interface Decision {
  /** UUID of the approval. */
  readonly id: string;
  readonly approved: boolean;
  readonly reason: string;
  /** JSON text in the place of the model's arguments; undefined: as the model wrote them. */
  readonly editedArguments?: string;
}

/**
 * Matches decisions with the calls of a parked round. The first decision on a call wins: naming one that is decided throws
 * NOTHING_TO_APPROVE. Throws INVALID_REQUEST for a call that is not in the round or named twice.
 */
export function decide(round: readonly ParkedCall[], { calls, approved, reason }: Decisions): Decision[] {
  const pending = new Map(round.filter(({ status }) => status === "pending").map((call) => [call.call_id, call.id]));
  const made: Decision[] = [];
  for (const [index, call] of calls.entries()) {
    const param = `calls[${index}].call_id`;
    const id = pending.get(call.callId);
    if (id === undefined) throw unmatched(round, made, call.callId, param);
    pending.delete(call.callId);
    if (call.arguments !== "" && !call.approved) {
      const field = `calls[${index}].arguments`;
      throw fail(ErrorReason.INVALID_REQUEST, `${field}: a rejected call has none`, { param: field });
    }
    const editedArguments = call.arguments === "" ? undefined : call.arguments;
    made.push({ id, approved: call.approved, reason: call.reason, editedArguments });
  }
  if (approved !== undefined) made.push(...[...pending.values()].map((id) => ({ id, approved, reason })));
  if (made.length === 0) throw fail(ErrorReason.NOTHING_TO_APPROVE, "Nothing in this conversation waits for an approval.");
  return made;
}

function unmatched(round: readonly ParkedCall[], made: readonly Decision[], callId: string, param: string) {
  const known = round.find(({ call_id }) => call_id === callId);
  if (known === undefined) return fail(ErrorReason.INVALID_REQUEST, `${param}: no such call waits`, { param });
  if (made.some(({ id }) => id === known.id)) return fail(ErrorReason.INVALID_REQUEST, `${param}: named twice`, { param });
  return fail(ErrorReason.NOTHING_TO_APPROVE, "This call is decided already.", { param });
}
