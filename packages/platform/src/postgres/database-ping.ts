import { ErrorReason, fail } from "../errors.ts";
import { recentRefusal } from "./database-health.ts";
import { answeredWithin, type Queryable } from "./pool.ts";

/**
 * Creates a cheap check of the database. It rejects with DATABASE_UNAVAILABLE without an answer within `timeoutMs` (2
 * s), whether the server hangs or no connection of the pool comes free, and while the database refuses statements
 * because it lacks something (a full disk, a free connection). Concurrent callers share one query.
 */
export function databasePing(pool: Queryable, timeoutMs = 2_000): () => Promise<void> {
  let asking: Promise<unknown> | undefined;
  return async () => {
    asking ??= pool.query(answeredWithin(timeoutMs, { text: "select 1" })).finally(() => {
      asking = undefined;
    });
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(fail(ErrorReason.DATABASE_UNAVAILABLE, "the database does not answer")), timeoutMs);
    });
    try {
      await Promise.race([asking, late]);
    } finally {
      clearTimeout(timer);
    }
    const refusal = recentRefusal(pool);
    if (refusal !== undefined) throw refusal;
  };
}
