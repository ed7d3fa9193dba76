import { ErrorReason, fail } from "../errors.ts";
import { answeredWithin, type Queryable } from "./pool.ts";

/**
 * A question to the database that costs next to nothing. Rejects with DATABASE_UNAVAILABLE when there is no answer within `timeoutMs` (2 s), be it
 * that the server hangs or that no connection of the pool comes free. Who asks while a question is under way shares it.
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
  };
}
