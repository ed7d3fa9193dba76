import { createHash, createHmac, hkdfSync, randomBytes, timingSafeEqual } from "node:crypto";

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const secretLength = 43;
const checksumLength = 6;

/** What is stored of an opaque token: the SHA-256 of all of it. */
export function hashToken(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

/** A refresh token: `rt-` and 256 random bits. */
export function newRefreshToken(): string {
  return `rt-${randomBytes(32).toString("base64url")}`;
}

/** An invite to register: `inv-` and 256 random bits. */
export function newInvite(): string {
  return `inv-${randomBytes(32).toString("base64url")}`;
}

/** Makes the refresh token that replaces another one. */
export type RefreshChild = (token: string) => string;

/**
 * A child of a refresh token is a keyed hash of it: who refreshes twice at once, or again because the answer was lost,
 * gets the same child, though tokens are stored nowhere. Without the secret nobody can tell it.
 */
export function createRefreshChild(meshSecret: string): RefreshChild {
  const key = Buffer.from(hkdfSync("sha256", meshSecret, "", "turnwright refresh child", 32));
  return (token) => `rt-${createHmac("sha256", key).update(token).digest("base64url")}`;
}

function randomText(length: number): string {
  let text = "";
  while (text.length < length) {
    // 248 is the greatest multiple of 62 in a byte: what lies above would favour the first letters.
    for (const byte of randomBytes(length)) if (byte < 248 && text.length < length) text += alphabet[byte % 62];
  }
  return text;
}

function checksumOf(text: string): string {
  let value = createHash("sha256").update(text).digest().readUIntBE(0, 6);
  let checksum = "";
  for (let i = 0; i < checksumLength; i++) {
    checksum += alphabet[value % 62];
    value = Math.floor(value / 62);
  }
  return checksum;
}

/**
 * An API key: `sk-`, 43 random characters (256 bits) and a checksum, by which a typing error is told without a look-up.
 */
export function newApiKey(): string {
  const body = `sk-${randomText(secretLength)}`;
  return body + checksumOf(body);
}

/** Whether a text has the shape and checksum of an API key. */
export function isApiKey(token: string): boolean {
  if (token.length !== 3 + secretLength + checksumLength || !token.startsWith("sk-")) return false;
  const body = token.slice(0, -checksumLength);
  return timingSafeEqual(
    Buffer.from(checksumOf(body)),
    Buffer.from(token.slice(-checksumLength).padEnd(checksumLength)).subarray(0, checksumLength),
  );
}

/** What is shown of a key in lists. */
export function keyPrefix(key: string): string {
  return key.slice(0, 10);
}
