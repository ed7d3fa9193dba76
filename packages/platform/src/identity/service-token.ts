import { errors } from "jose";
import type { Secrets } from "../config/secrets.ts";
import { ErrorReason, fail } from "../errors.ts";
import { expiredError, validMs } from "./expiry.ts";
import { meshClockToleranceSeconds } from "./issuer.ts";
import { signWithSecret, verifyWithSecret } from "./secret-token.ts";
import { TokenCache } from "./token-cache.ts";

const audience = "turnwright.mesh";
const typ = "turnwright-service+jwt";
/**
 * With the tolerance of the verifier, the least time that a token still has when it is replaced outlasts two clocks
 * that are five minutes off in opposite directions.
 */
const lifetimeSeconds = 600;
const renewalMs = 300_000;

/**
 * Returns a source of this process's service token (HS256 by MESH_SECRET), valid for ten minutes and renewed after
 * five, or as soon as the clock has been set to another time.
 */
export function createServiceTokenSource(secrets: Secrets, service: string): () => string | Promise<string> {
  let current = "";
  let signedAt = { clock: Number.NEGATIVE_INFINITY, monotonic: Number.NEGATIVE_INFINITY };
  let renewing: Promise<string> | undefined;
  const isFresh = () => {
    const ageMs = Date.now() - signedAt.clock;
    return ageMs >= 0 && ageMs < renewalMs && performance.now() - signedAt.monotonic < renewalMs;
  };
  return () => {
    if (isFresh()) return current;
    const now = { clock: Date.now(), monotonic: performance.now() };
    renewing ??= signWithSecret(secrets, {
      claims: {},
      subject: service,
      audience,
      typ,
      seconds: lifetimeSeconds,
    })
      .then((token) => {
        current = token;
        signedAt = now;
        return token;
      })
      .finally(() => {
        renewing = undefined;
      });
    return renewing;
  };
}

/** Verifies service tokens and returns the calling service. */
export interface ServiceTokenVerifier {
  /** The service of a token that was verified before and has not expired. */
  cached(token: string): string | undefined;
  /** Verifies the token. Throws INVALID_TOKEN, and CLOCK_SKEW for a genuine token that has expired by this clock. */
  verify(token: string): Promise<string>;
}

/** Creates the verifier that guards methods with `ACCESS_SERVICE`. */
export function createServiceTokenVerifier(secrets: Secrets): ServiceTokenVerifier {
  const cache = new TokenCache<string>(1_000);
  // Most servers are called by one service: its token stays the same for minutes and is recognised without a hash.
  let last = { token: "", service: "", until: 0 };
  return {
    cached: (token) => (token === last.token && performance.now() < last.until ? last.service : cache.get(token)),
    async verify(token) {
      try {
        const payload = await verifyWithSecret(secrets, token, { audience, typ, clockTolerance: meshClockToleranceSeconds });
        const service = payload.sub ?? "";
        const lifetimeMs = validMs(payload);
        last = { token, service, until: performance.now() + lifetimeMs };
        cache.set(token, service, lifetimeMs);
        return service;
      } catch (error) {
        if (error instanceof errors.JWTExpired) throw expiredError(error.payload.sub ?? "a service", error.payload, error);
        throw fail(ErrorReason.INVALID_TOKEN, "The service token is not valid.", { cause: error });
      }
    },
  };
}
