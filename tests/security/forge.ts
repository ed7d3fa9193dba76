import { createHmac, type KeyObject, sign as signWith } from "node:crypto";

/** Claims of an access token, genuine or forged. */
export type Claims = Record<string, unknown>;

/** Bytes, text or a JSON value as base64url. */
export function encode(value: unknown): string {
  const bytes = Buffer.isBuffer(value) ? value : Buffer.from(typeof value === "string" ? value : JSON.stringify(value));
  return bytes.toString("base64url");
}

/** Returns the signature of `header.payload`. */
export type Signer = (data: string) => Buffer | string;

/** A compact token of any header and payload; text is taken verbatim, other values as JSON. */
export function makeToken(header: unknown, payload: unknown, signer: Signer): string {
  const data = `${encode(header)}.${encode(payload)}`;
  const signature = signer(data);
  return `${data}.${typeof signature === "string" ? signature : signature.toString("base64url")}`;
}

/** Signs with a private key; `digest` is null for Ed25519 and Ed448. */
export function byKey(key: KeyObject, digest: string | null = null): Signer {
  return (data) => signWith(digest, Buffer.from(data), digest === null ? key : { key, dsaEncoding: "ieee-p1363" });
}

/** Signs with a shared secret. */
export function bySecret(secret: string | Buffer, digest = "sha256"): Signer {
  return (data) => createHmac(digest, secret).update(data).digest();
}

/** No signature. */
export const unsigned: Signer = () => "";

/** The parts of a compact token. */
export function partsOf(token: string): { header: string; payload: string; signature: string } {
  const [header = "", payload = "", signature = ""] = token.split(".");
  return { header, payload, signature };
}

/** The claims of a token, unverified. */
export function claimsOf(token: string): Claims {
  return JSON.parse(Buffer.from(partsOf(token).payload, "base64url").toString("utf8"));
}
