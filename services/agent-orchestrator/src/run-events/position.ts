import { ErrorReason, fail } from "@turnwright/platform/errors";

/**
 * A place in a run's log: behind the entry `seq`, and behind `units` of what comes after it. A character of the answer (a unit of UTF-16) is one
 * unit, and so is every other event. What is live and what is stored count alike, so a stream goes on from either in the middle of a word.
 */
export interface Position {
  readonly seq: number;
  readonly units: number;
}

/** The beginning of a log. */
export const start: Position = { seq: 0, units: 0 };

/** `7`, or `7.120` behind what is not stored yet. */
export function formatPosition({ seq, units }: Position): string {
  return units === 0 ? String(seq) : `${seq}.${units}`;
}

const format = /^(\d{1,9})(?:\.(\d{1,9}))?$/;

/** Reads a position that `formatPosition` wrote. Throws INVALID_REQUEST. */
export function parsePosition(text: string): Position {
  const [, seq, units = "0"] = format.exec(text) ?? [];
  if (seq === undefined) {
    throw fail(ErrorReason.INVALID_REQUEST, "after: not an id of an event of this run", { param: "after" });
  }
  return { seq: Number(seq), units: Number(units) };
}
