import { fromJson, toJson } from "@bufbuild/protobuf";
import { type Identity, IdentitySchema } from "@turnwright/contract/auth/v1/identity";
import { type CryptoKey, errors, type JWTPayload, SignJWT } from "jose";
import { ErrorReason, fail } from "../errors.ts";
import { expiredError, validMs } from "./expiry.ts";
import { authService } from "./identity.ts";
import { issuer, meshClockToleranceSeconds } from "./issuer.ts";
import { createKeySetVerifier, type KeySource } from "./key-set.ts";
import { TokenCache } from "./token-cache.ts";

const audience = "turnwright.internal";
const typ = "turnwright-internal+jwt";

/** Signs the token that carries an identity through the mesh (EdDSA). Only auth has the key. */
export async function signInternalToken(
  key: { privateKey: CryptoKey; kid: string },
  identity: Identity,
  expiresAtSeconds: number,
): Promise<string> {
  return new SignJWT({ identity: toJson(IdentitySchema, identity) as JWTPayload })
    .setProtectedHeader({ alg: "EdDSA", kid: key.kid, typ })
    .setIssuer(issuer)
    .setAudience(audience)
    .setSubject(identity.userId)
    .setIssuedAt()
    .setExpirationTime(expiresAtSeconds)
    .sign(key.privateKey);
}

/** Verifies internal tokens; a token seen before costs one hash. */
export interface InternalTokenVerifier {
  /** The identity of a token that was verified before and has not expired. */
  cached(token: string): Identity | undefined;
  /**
   * Verifies signature, audience, type and time. Throws INVALID_TOKEN, and CLOCK_SKEW for a genuine token that has
   * expired by this clock.
   */
  verify(token: string): Promise<Identity>;
}

/** Creates the verifier in front of every service's handlers. */
export function createInternalTokenVerifier(source: KeySource): InternalTokenVerifier {
  const keySet = createKeySetVerifier(source);
  const cache = new TokenCache<Identity>();
  return {
    cached: (token) => cache.get(token),
    async verify(token) {
      let payload: JWTPayload;
      try {
        payload = await keySet.verify(token, { typ, audience, clockTolerance: meshClockToleranceSeconds });
      } catch (error) {
        if (error instanceof errors.JWTExpired) throw expiredError(authService, error.payload, error);
        if (error instanceof errors.JOSEError)
          throw fail(ErrorReason.INVALID_TOKEN, "The internal token is not valid.", { cause: error });
        throw error;
      }
      const identity = fromJson(IdentitySchema, payload.identity as never);
      cache.set(token, identity, validMs(payload));
      return identity;
    },
  };
}
