import { transaction } from "@turnwright/platform/postgres";
import type { JWK } from "jose";
import type pg from "pg";

/** The signing keys, newest first; the first caller of all replicas stores what `make` gives. */
export function loadSigningKeys(
  pool: pg.Pool,
  make: () => Promise<{ kid: string; privateJwk: JWK; publicJwk: JWK }>,
): Promise<{ kid: string; privateJwk: JWK; publicJwk: JWK }[]> {
  return transaction(pool, async (tx) => {
    await tx.query("select pg_advisory_xact_lock(hashtext('turnwright.signing_keys'))");
    const load = () =>
      tx.query<{ kid: string; private_jwk: JWK; public_jwk: JWK }>(
        "select kid, private_jwk, public_jwk from signing_keys where retired_at is null order by created_at desc",
      );
    let { rows } = await load();
    if (rows.length === 0) {
      const key = await make();
      await tx.query("insert into signing_keys (kid, private_jwk, public_jwk) values ($1, $2, $3)", [
        key.kid,
        key.privateJwk,
        key.publicJwk,
      ]);
      ({ rows } = await load());
    }
    return rows.map((row) => ({ kid: row.kid, privateJwk: row.private_jwk, publicJwk: row.public_jwk }));
  });
}
