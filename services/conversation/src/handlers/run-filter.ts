import { toJson } from "@bufbuild/protobuf";
import { type Timestamp, TimestampSchema } from "@bufbuild/protobuf/wkt";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { RunFilter } from "../store/run-list.ts";

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** A time as text, with all its digits. Throws INVALID_REQUEST for one outside of the years 1 to 9999. */
function timeOf(time: Timestamp | undefined, param: string): string | undefined {
  try {
    return time && toJson(TimestampSchema, time);
  } catch (cause) {
    throw fail(ErrorReason.INVALID_REQUEST, `${param}: there is no such time`, { param, cause });
  }
}

/** The most words of a search. */
const maxWords = 10;

/** The words of a search. Throws INVALID_REQUEST when they are too many, or no title can have them. */
function wordsOf(q: string): string[] {
  const words = q.split(/\s+/).filter((word) => word !== "");
  if (words.length > maxWords) throw fail(ErrorReason.INVALID_REQUEST, `q: must have at most ${maxWords} words`, { param: "q" });
  if (q.includes("\0")) throw fail(ErrorReason.INVALID_REQUEST, "q: must not have NUL characters", { param: "q" });
  return words;
}

/** The fields of a request that narrow a list of runs. */
interface Asked {
  readonly statuses: readonly string[];
  readonly agentType: string;
  readonly model: string;
  readonly tokenId?: string;
  readonly runId?: string;
  readonly from?: Timestamp;
  readonly to?: Timestamp;
  readonly reason: string;
  /** A run's UUID, or words. */
  readonly q?: string;
}

/** The filter of a request. Throws INVALID_REQUEST for a search that has too many words. */
export function runFilter({ statuses, agentType, model, tokenId = "", runId = "", from, to, reason, q = "" }: Asked): RunFilter {
  const asId = q.trim();
  const isId = uuid.test(asId);
  return {
    statuses: [...new Set(statuses.filter((status) => status !== ""))],
    agent: agentType,
    model,
    tokenId,
    runId: isId ? asId : runId,
    reason,
    from: timeOf(from, "from"),
    to: timeOf(to, "to"),
    words: isId ? [] : wordsOf(q),
  };
}
