import { createHash, createHmac, hkdfSync, randomBytes, timingSafeEqual } from "node:crypto";
import { acceptedSecrets, type Secrets } from "@turnwright/platform/config/secrets";

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const secretLength = 43;
const checksumLength = 6;

/** The part of an opaque token that is stored: the SHA-256 of the whole token. */
export function hashToken(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

/** A new refresh token: `rt-` and 256 random bits. */
export function newRefreshToken(): string {
  return `rt-${randomBytes(32).toString("base64url")}`;
}

/** A new invite: `inv-` and 256 random bits. */
export function newInvite(): string {
  return `inv-${randomBytes(32).toString("base64url")}`;
}

/**
 * Derives the refresh token that replaces a given one, under each accepted secret. The first is issued; another may
 * have been issued a moment ago by a process that signs with that secret.
 */
export type RefreshChildren = (token: string) => readonly string[];

/**
 * The child of a refresh token is a keyed hash of it. A client that refreshes twice at once, or again after a lost
 * response, gets the same child, although no token is stored. Nobody can derive it without the secret.
 */
export function createRefreshChildren(meshSecrets: Secrets): RefreshChildren {
  const keys = acceptedSecrets(meshSecrets).map((secret) =>
    Buffer.from(hkdfSync("sha256", secret, "", "turnwright refresh child", 32)),
  );
  return (token) => keys.map((key) => `rt-${createHmac("sha256", key).update(token).digest("base64url")}`);
}

function randomText(length: number): string {
  let text = "";
  while (text.length < length) {
    // 248 is the largest multiple of 62 in a byte; larger values would favour the first letters.
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

/** A new password: 24 letters and digits (142 bits). */
export function randomPassword(): string {
  return randomText(24);
}

/**
 * A new API key: `sk-`, 43 random characters (256 bits) and a checksum, which reveals a typing error without a look-up.
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

/** The part of a key that lists show. */
export function keyPrefix(key: string): string {
  return key.slice(0, 10);
}
