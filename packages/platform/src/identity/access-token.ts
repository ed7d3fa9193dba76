import { type CryptoKey, errors, type JWTPayload, SignJWT } from "jose";
import type { Secrets } from "../config/secrets.ts";
import { ErrorReason, fail } from "../errors.ts";
import { clockToleranceSeconds, issuer } from "./issuer.ts";
import { createKeySetVerifier, type KeySource } from "./key-set.ts";
import { verifyWithSecret } from "./secret-token.ts";

const audience = "turnwright";
const typ = "at+jwt";

/** The claims of an access token. */
export interface AccessToken {
  /** UUID of the user. */
  readonly userId: string;
  /** UUID of the session; unchanged when the session is refreshed. */
  readonly sessionId: string;
  /** `admin`, `user` or `agent`. */
  readonly role: string;
  /** Expiry, in milliseconds. */
  readonly expiresAt: number;
}

/** The key that signs access tokens: auth's own key (EdDSA), or JWT_SECRET (HS256, compatible with Go Agent API). */
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

/** Verifies access tokens. */
export interface AccessTokenVerifier {
  /** The claims of a token. Throws INVALID_TOKEN, TOKEN_EXPIRED for a genuine one, and the errors of the key source. */
  verify(token: string): Promise<AccessToken>;
  /** Drops the cached keys of auth: the next token is verified against the keys valid then. */
  forgetKeys(): void;
}

const isTime = (claim: unknown): claim is number => typeof claim === "number" && Number.isSafeInteger(claim * 1000);

/**
 * Whether a token is in canonical base64url: decoders also accept padding, other alphabets and stray bits in the last
 * letter.
 */
function isCanonical(token: string): boolean {
  return token.split(".").every((part) => Buffer.from(part, "base64url").toString("base64url") === part);
}

/**
 * Creates the verifier of access tokens, which needs no RPC: it checks signature, issuer, audience, type and time. With
 * secrets only HS256 is accepted; without one, only EdDSA by auth's keys, which are fetched again every `maxAgeMs`
 * (one minute unless given). With `expiry: "issuer"`, an expired token passes: auth, which issued it, judges its time.
 */
export function createAccessTokenVerifier(trust: {
  keys: KeySource;
  secrets?: Secrets;
  maxAgeMs?: number;
  expiry?: "issuer";
}): AccessTokenVerifier {
  const keySet = createKeySetVerifier(trust.keys, { maxAgeMs: trust.maxAgeMs });
  const { secrets } = trust;
  const clockTolerance = trust.expiry === "issuer" ? Number.MAX_SAFE_INTEGER : clockToleranceSeconds;
  const verify = async (token: string): Promise<AccessToken> => {
    if (!isCanonical(token)) throw fail(ErrorReason.INVALID_TOKEN, "The access token is not valid.");
    let payload: JWTPayload;
    try {
      payload =
        secrets === undefined
          ? await keySet.verify(token, { typ, audience, clockTolerance })
          : await verifyWithSecret(secrets, token, { typ, audience, clockTolerance });
    } catch (error) {
      // Thrown after the signature and all other claims were found to be genuine.
      if (error instanceof errors.JWTExpired) {
        throw fail(ErrorReason.TOKEN_EXPIRED, "The access token has expired; refresh it, or log in again.", { cause: error });
      }
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
