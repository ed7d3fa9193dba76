/** Milliseconds for which a refusal tells that the database does not serve. */
const freshMs = 5_000;

const refusals = new WeakMap<object, { fault: Error; at: number }>();
/** The pool under which the refusals of another one of the same database are noted. */
const mainPools = new WeakMap<object, object>();

/** Lets the refusals of a pool count as those of `main`, a pool of the same database. */
export function shareRefusals(pool: object, main: object): void {
  mainPools.set(pool, main);
}

/** Records that a pool's database took a statement or a connection and refused it for a lack of its own. */
export function noteRefusal(pool: object, fault: Error): void {
  refusals.set(mainPools.get(pool) ?? pool, { fault, at: performance.now() });
}

/**
 * The last refusal of a pool's database, for 5 s: a full disk fails writes only, and a missing connection fails those
 * that wait for one. Reads alone would not tell.
 */
export function recentRefusal(pool: object): Error | undefined {
  const last = refusals.get(pool);
  return last !== undefined && performance.now() - last.at < freshMs ? last.fault : undefined;
}
