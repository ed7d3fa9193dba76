import type { Queryable } from "@turnwright/platform/postgres/pool";

const windowMinutes = 15;

/**
 * Counts an attempt as failed under each key, atomically. Returns the failures in the current 15 minutes, in the order
 * of the keys.
 */
export async function countAttempt(db: Queryable, keys: readonly Buffer[]): Promise<number[]> {
  const { rows } = await db.query<{ key: Buffer; failures: number }>(
    `insert into login_attempts as a (key, failures)
     select key, 1 from unnest($1::bytea[]) as key order by key
     on conflict (key) do update set
       failures = case when a.window_start < now() - make_interval(mins => $2) then 1 else a.failures + 1 end,
       window_start = case when a.window_start < now() - make_interval(mins => $2) then now() else a.window_start end
     returning key, failures`,
    [keys, windowMinutes],
  );
  return keys.map((key) => rows.find((row) => row.key.equals(key))?.failures ?? 0);
}

/** Takes back a successful attempt. Under `cleared` all failures are forgotten. */
export async function forgiveAttempt(db: Queryable, keys: { cleared: Buffer; counted: readonly Buffer[] }): Promise<void> {
  await db.query(
    // Locks in the order in which attempts are counted; otherwise concurrent logins of one account would deadlock.
    `with locked as materialized (
       select key from login_attempts where key = any($2::bytea[] || $1::bytea) order by key for update
     ), cleared as (
       delete from login_attempts a using locked where a.key = locked.key and a.key = $1
     )
     update login_attempts a set failures = failures - 1
     from locked where a.key = locked.key and a.key = any($2::bytea[]) and failures > 0`,
    [keys.cleared, keys.counted],
  );
}

/**
 * Takes back a refused attempt under every key. Returns the seconds until the last window of the keys that refused it
 * ends.
 */
export async function refuseAttempt(
  db: Queryable,
  keys: { counted: readonly Buffer[]; over: readonly Buffer[] },
): Promise<number> {
  const { rows } = await db.query<{ seconds: number | null }>(
    `with locked as materialized (
       select key, window_start from login_attempts where key = any($1::bytea[]) order by key for update
     ), taken_back as (
       update login_attempts a set failures = failures - 1 from locked where a.key = locked.key and failures > 0
     )
     select ceil(extract(epoch from max(window_start) + make_interval(mins => $3) - now()))::int as seconds
     from locked where key = any($2::bytea[])`,
    [keys.counted, keys.over, windowMinutes],
  );
  return Math.max(1, rows[0]?.seconds ?? 1);
}

/** Deletes windows that are over. */
export async function pruneAttempts(db: Queryable): Promise<void> {
  await db.query("delete from login_attempts where window_start < now() - make_interval(mins => $1)", [windowMinutes]);
}
