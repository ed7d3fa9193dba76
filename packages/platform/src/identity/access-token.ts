import { type CryptoKey, errors, type JWTPayload, SignJWT } from "jose";
import { ErrorReason, fail } from "../errors.ts";
import { issuer } from "./issuer.ts";
import { createKeySetVerifier, type KeySource } from "./key-set.ts";
import { verifyWithSecret } from "./secret-token.ts";

const audience = "turnwright";
const typ = "at+jwt";

/** What an access token says. */
export interface AccessToken {
  /** UUID of the user. */
  readonly userId: string;
  /** UUID of the session; stays the same when the session is refreshed. */
  readonly sessionId: string;
  /** `admin`, `user` or `agent`. */
  readonly role: string;
  /** When it ends, in milliseconds. */
  readonly expiresAt: number;
}

/** What signs access tokens: auth's own key (EdDSA), or JWT_SECRET (HS256, as Go Agent API did). */
export type AccessTokenKey = { privateKey: CryptoKey; kid: string } | { secret: string };

/** Signs an access token; `expiresAt` in milliseconds. */
export function signAccessToken(key: AccessTokenKey, token: AccessToken): Promise<string> {
  const jwt = new SignJWT({ sid: token.sessionId, role: token.role })
    .setIssuer(issuer)
    .setAudience(audience)
    .setSubject(token.userId)
    .setJti(crypto.randomUUID())
    .setIssuedAt()
    .setExpirationTime(Math.floor(token.expiresAt / 1000));
  return "secret" in key
    ? jwt.setProtectedHeader({ alg: "HS256", typ }).sign(new TextEncoder().encode(key.secret))
    : jwt.setProtectedHeader({ alg: "EdDSA", typ, kid: key.kid }).sign(key.privateKey);
}

/** The check of access tokens. */
export interface AccessTokenVerifier {
  /** What a token says. Throws INVALID_TOKEN; other errors are the key source's. */
  verify(token: string): Promise<AccessToken>;
  /** Lets go of auth's keys: the next token is checked against those that count then. */
  forgetKeys(): void;
}

const isTime = (claim: unknown): claim is number => typeof claim === "number" && Number.isSafeInteger(claim * 1000);

/** Whether a token is written in the one way that it can be: decoders let padding, other alphabets and odd last letters pass. */
function isCanonical(token: string): boolean {
  return token.split(".").every((part) => Buffer.from(part, "base64url").toString("base64url") === part);
}

/**
 * Makes the check of access tokens that needs no RPC: signature, issuer, audience, type and time. With a secret only HS256 is
 * accepted, without one only EdDSA by auth's keys, which are fetched anew every `maxAgeMs` (a minute, unless given).
 */
export function createAccessTokenVerifier(trust: { keys: KeySource; secret?: string; maxAgeMs?: number }): AccessTokenVerifier {
  const keySet = createKeySetVerifier(trust.keys, { maxAgeMs: trust.maxAgeMs });
  const { secret } = trust;
  const verify = async (token: string): Promise<AccessToken> => {
    if (!isCanonical(token)) throw fail(ErrorReason.INVALID_TOKEN, "The access token is not valid.");
    let payload: JWTPayload;
    try {
      payload =
        secret === undefined
          ? await keySet.verify(token, { typ, audience })
          : await verifyWithSecret(secret, token, { typ, audience });
    } catch (error) {
      if (error instanceof errors.JOSEError)
        throw fail(ErrorReason.INVALID_TOKEN, "The access token is not valid.", { cause: error });
      throw error;
    }
    const { sub, sid, role, exp } = payload;
    if (typeof sub !== "string" || typeof sid !== "string" || typeof role !== "string" || !isTime(exp)) {
      throw fail(ErrorReason.INVALID_TOKEN, "The access token is not valid.");
    }
    return { userId: sub, sessionId: sid, role, expiresAt: exp * 1000 };
  };
  return { verify, forgetKeys: () => keySet.forget() };
}
