import { ErrorReason, fail } from "@turnwright/platform/errors";

/**
 * A place in a run's log: behind the entry `seq` and behind `units` of the frames after it. A character of the answer
 * (a UTF-16 code unit) counts as one unit, and so does every other event. Live and stored frames count alike, so a
 * stream can resume from either in the middle of a word.
 */
export interface Position {
  readonly seq: number;
  readonly units: number;
}

/** The beginning of a log. */
export const start: Position = { seq: 0, units: 0 };

/** `7`, or `7.120` within frames that are not stored yet. */
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
