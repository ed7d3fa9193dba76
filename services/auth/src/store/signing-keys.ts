import { type Queryable, transaction } from "@turnwright/platform/postgres/pool";
import type { JWK } from "jose";
import type pg from "pg";

/** A key pair as it is stored. */
export interface StoredKey {
  readonly kid: string;
  readonly privateJwk: JWK;
  readonly publicJwk: JWK;
  /** Seconds since its creation, by the database's clock. */
  readonly ageSeconds: number;
}

/** A new key pair. */
export type NewKey = Omit<StoredKey, "ageSeconds">;

/** The rule for replacing keys. */
export interface RotationRule {
  /** Age in seconds after which a key no longer signs. */
  readonly maxAgeSeconds: number;
  /** Seconds for which a replaced key still verifies. */
  readonly overlapSeconds: number;
}

/**
 * Applies the rule and returns the keys that verify, newest first. The first of all replicas stores the key from `make`
 * when there is none or the newest is too old. Keys are retired, and their private halves wiped, once everything that
 * they signed has expired. `now`: rotate at once; `retire`: earlier keys verify nothing more.
 */
export function rotateSigningKeys(
  pool: pg.Pool,
  make: () => Promise<NewKey>,
  rule: RotationRule,
  force: { now: boolean; retire: boolean } = { now: false, retire: false },
): Promise<StoredKey[]> {
  return transaction(pool, async (tx) => {
    await tx.query("select pg_advisory_xact_lock(hashtext('turnwright.signing_keys'))");
    const load = () =>
      tx.query<{ kid: string; private_jwk: JWK; public_jwk: JWK; age: number }>(
        `select kid, private_jwk, public_jwk, extract(epoch from clock_timestamp() - created_at)::float8 as age
         from signing_keys where retired_at is null order by created_at desc, kid`,
      );
    let { rows } = await load();
    if (rows[0] === undefined || rows[0].age > rule.maxAgeSeconds || force.now) {
      const key = await make();
      await tx.query(
        "insert into signing_keys (kid, created_at, private_jwk, public_jwk) values ($1, clock_timestamp(), $2, $3)",
        [key.kid, key.privateJwk, key.publicJwk],
      );
      ({ rows } = await load());
    }
    const { rowCount } = await tx.query(
      `update signing_keys k set retired_at = now(), private_jwk = '{}'
       where retired_at is null and exists (
         select 1 from signing_keys newer where newer.created_at > k.created_at and newer.retired_at is null
           and ($2 or newer.created_at < now() - make_interval(secs => $1)))`,
      [rule.overlapSeconds, force.retire],
    );
    if (rowCount !== 0) ({ rows } = await load());
    return rows.map((row) => ({
      kid: row.kid,
      privateJwk: row.private_jwk,
      publicJwk: row.public_jwk,
      ageSeconds: row.age,
    }));
  });
}

/** A key without its private half. */
export interface KnownKey {
  readonly kid: string;
  readonly algorithm: string;
  readonly createdAt: Date;
  readonly retiredAt: Date | null;
}

/** The newest keys, retired ones among them. */
export async function listSigningKeys(db: Queryable, limit: number): Promise<KnownKey[]> {
  const { rows } = await db.query<{ kid: string; alg: string; created_at: Date; retired_at: Date | null }>(
    `select kid, public_jwk ->> 'alg' as alg, created_at, retired_at from signing_keys
     order by created_at desc, kid limit $1`,
    [limit],
  );
  return rows.map((row) => ({ kid: row.kid, algorithm: row.alg, createdAt: row.created_at, retiredAt: row.retired_at }));
}
