import { type CryptoKey, exportJWK, generateKeyPair, importJWK, type JSONWebKeySet, type JWK } from "jose";
import type pg from "pg";
import { loadSigningKeys } from "./store/signing-keys.ts";

/** The keys that sign and verify Turnwright's tokens. */
export interface SigningKeys {
  /** The key that signs now. */
  current(): { privateKey: CryptoKey; kid: string };
  /** Public keys as a JSON Web Key Set, the one that signs now first. */
  publicKeys(): JSONWebKeySet;
}

async function newKey(): Promise<{ kid: string; privateJwk: JWK; publicJwk: JWK }> {
  const { privateKey, publicKey } = await generateKeyPair("EdDSA", { extractable: true });
  const kid = crypto.randomUUID();
  const publicJwk = { ...(await exportJWK(publicKey)), kid, alg: "EdDSA", use: "sig" };
  return { kid, privateJwk: { ...(await exportJWK(privateKey)), kid, alg: "EdDSA" }, publicJwk };
}

/** Loads the keys that all replicas of auth share; the first one to start makes the first key. */
export async function createSigningKeys(pool: pg.Pool): Promise<SigningKeys> {
  const rows = await loadSigningKeys(pool, newKey);
  const [newest] = rows;
  if (newest === undefined) throw new Error("No signing key could be made.");
  const signer = { privateKey: (await importJWK(newest.privateJwk, "EdDSA")) as CryptoKey, kid: newest.kid };
  const keySet = { keys: rows.map((row) => row.publicJwk) };
  return { current: () => signer, publicKeys: () => keySet };
}
