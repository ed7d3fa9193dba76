import { type ModelToolCall, nameCalls } from "./chunk.ts";

/** Ids that the executor's ledger and the journal accept and return unchanged. */
const usable = /^[!-~]{1,200}$/;

/**
 * Gives each call an id that no other call has. Some endpoints number the calls of each round from the start, repeat an
 * id, or send none; the executor's ledger, which knows a call by its run and its id, would then take a new call for one
 * that has run. Only ids that need it are replaced, by ids of our own.
 */
export function distinctCalls(
  calls: readonly ModelToolCall[],
  /** Ids of earlier calls; undefined when some of them are not known, so that all of the model's ids are replaced. */
  taken: Iterable<string> | undefined,
): ModelToolCall[] {
  const seen = new Set(taken);
  return calls.map((call) => {
    const isFree = taken !== undefined && usable.test(call.id) && !seen.has(call.id);
    const distinct = isFree ? call : (nameCalls([{ ...call, id: "" }])[0] as ModelToolCall);
    seen.add(distinct.id);
    return distinct;
  });
}
