import type { Logger } from "@turnwright/platform/logger";
import { type CryptoKey, exportJWK, generateKeyPair, importJWK, type JSONWebKeySet } from "jose";
import type pg from "pg";
import { type NewKey, type RotationRule, rotateSigningKeys, type StoredKey } from "./store/signing-keys.ts";

/** The keys that sign and verify Turnwright's tokens. */
export interface SigningKeys {
  /** The key that signs now. */
  current(): { privateKey: CryptoKey; kid: string };
  /** Public keys as a JSON Web Key Set, the newest first. */
  publicKeys(): JSONWebKeySet;
  /** Takes over other replicas' changes, and rotates when it is due. */
  refresh(): Promise<void>;
  /**
   * Makes a new key, which signs once other processes have had time to see it. `retirePrevious`: it signs at once, and
   * earlier keys verify nothing more.
   */
  rotate(options: { retirePrevious: boolean }): Promise<void>;
}

/** Seconds that a key is published before it signs, so that other replicas and verifiers have seen it. */
const settlingSeconds = 10;

async function newKey(): Promise<NewKey> {
  const { privateKey, publicKey } = await generateKeyPair("EdDSA", { extractable: true });
  const kid = crypto.randomUUID();
  const publicJwk = { ...(await exportJWK(publicKey)), kid, alg: "EdDSA", use: "sig" };
  return { kid, privateJwk: { ...(await exportJWK(privateKey)), kid, alg: "EdDSA" }, publicJwk };
}

/** Loads the keys that all replicas of auth share. The first replica to start makes the first key. */
export async function loadSigningKeys(deps: { pool: pg.Pool; rule: RotationRule; logger: Logger }): Promise<SigningKeys> {
  const { pool, rule, logger } = deps;
  let signer: { privateKey: CryptoKey; kid: string } | undefined;
  let keySet: JSONWebKeySet = { keys: [] };

  const take = async (rows: readonly StoredKey[]) => {
    const chosen = rows.find((row) => row.ageSeconds > settlingSeconds) ?? rows.at(-1);
    if (chosen === undefined) throw new Error("No signing key could be made.");
    if (chosen.kid !== signer?.kid) {
      signer = { privateKey: (await importJWK(chosen.privateJwk, "EdDSA")) as CryptoKey, kid: chosen.kid };
      logger.info({ kid: chosen.kid }, "tokens are now signed with this key");
    }
    // Unchanged keys keep the same object, by which verifiers recognise that nothing has changed.
    const isSame = rows.length === keySet.keys.length && rows.every((row, i) => row.kid === keySet.keys[i]?.kid);
    if (!isSame) keySet = { keys: rows.map((row) => row.publicJwk) };
  };

  await take(await rotateSigningKeys(pool, newKey, rule));
  return {
    current: () => {
      if (signer === undefined) throw new Error("There is no signing key.");
      return signer;
    },
    publicKeys: () => keySet,
    refresh: async () => take(await rotateSigningKeys(pool, newKey, rule)),
    rotate: async ({ retirePrevious }) =>
      take(await rotateSigningKeys(pool, newKey, rule, { now: true, retire: retirePrevious })),
  };
}
