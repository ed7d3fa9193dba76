import { transaction } from "@turnwright/platform/postgres/pool";
import type { JWK } from "jose";
import type pg from "pg";

/** A key pair as it is stored. */
export interface StoredKey {
  readonly kid: string;
  readonly privateJwk: JWK;
  readonly publicJwk: JWK;
  /** Seconds since it was made, by the database's clock. */
  readonly ageSeconds: number;
}

/** A key pair that was just made. */
export type NewKey = Omit<StoredKey, "ageSeconds">;

/** When another key takes over. */
export interface RotationRule {
  /** Age in seconds at which a key signs no more. */
  readonly maxAgeSeconds: number;
  /** Seconds for which a key that signs no more still verifies. */
  readonly overlapSeconds: number;
}

/**
 * The keys that verify, newest first, after the rule was applied: the first of all replicas stores what `make` gives when there is none, or when
 * the newest is too old; older ones are retired when nothing that they signed can hold, and their private halves are wiped. `now`: rotate at once;
 * `retire`: the keys before verify nothing more.
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
