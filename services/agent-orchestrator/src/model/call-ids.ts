import { type ModelToolCall, nameCalls } from "./chunk.ts";

/** What the ledger of executions and the record take for an id, and give back as it was. */
const usable = /^[!-~]{1,200}$/;

/**
 * Calls under ids that tell each one from all others: some endpoints number the calls of each round anew, give two the same id, or none, and the ledger of
 * executions, which knows a call by its run and its id, would take a new call for one that has run. What has to change gets an id of our own.
 */
export function distinctCalls(
  calls: readonly ModelToolCall[],
  /** Ids of the calls before; undefined: some of them are not known, so none of the model's is kept. */
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
