import { ErrorReason, fail } from "../errors.ts";
import { signWithSecret, verifyWithSecret } from "./secret-token.ts";
import { TokenCache } from "./token-cache.ts";

const audience = "turnwright.mesh";
const typ = "turnwright-service+jwt";
const lifetimeSeconds = 300;

/** Returns a source of this process's service token (HS256 by MESH_SECRET), renewed one minute before it expires. */
export function createServiceTokenSource(secret: string, service: string): () => string | Promise<string> {
  let current = "";
  let renewAt = 0;
  let renewing: Promise<string> | undefined;
  return () => {
    if (Date.now() < renewAt) return current;
    renewing ??= signWithSecret(secret, {
      claims: {},
      subject: service,
      audience,
      typ,
      seconds: lifetimeSeconds,
    })
      .then((token) => {
        current = token;
        renewAt = Date.now() + (lifetimeSeconds - 60) * 1000;
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
  /** Verifies the token. Throws INVALID_TOKEN. */
  verify(token: string): Promise<string>;
}

/** Creates the verifier that guards methods with `ACCESS_SERVICE`. */
export function createServiceTokenVerifier(secret: string): ServiceTokenVerifier {
  const cache = new TokenCache<string>(1_000);
  // Most servers are called by one service: its token stays the same for minutes and is recognised without a hash.
  let last = { token: "", service: "", expiresAt: 0 };
  return {
    cached: (token) => (token === last.token && Date.now() < last.expiresAt ? last.service : cache.get(token)),
    async verify(token) {
      try {
        const payload = await verifyWithSecret(secret, token, { audience, typ });
        const service = payload.sub ?? "";
        last = { token, service, expiresAt: (payload.exp ?? 0) * 1000 };
        cache.set(token, service, last.expiresAt);
        return service;
      } catch (error) {
        throw fail(ErrorReason.INVALID_TOKEN, "The service token is not valid.", { cause: error });
      }
    },
  };
}
