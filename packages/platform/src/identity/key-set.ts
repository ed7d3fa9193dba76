import { setTimeout as delay } from "node:timers/promises";
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTPayload, jwtVerify } from "jose";
import { issuer } from "./issuer.ts";

/** Source of auth's public keys: resolves to a fresh JSON Web Key Set at each call. */
export type KeySource = () => Promise<JSONWebKeySet>;

/** Verifies tokens against auth's keys. */
export interface KeySetVerifier {
  /**
   * The payload of a token signed with one of the keys, which has not been expired for longer than `clockTolerance`
   * seconds. Throws jose's errors, and those of the key source.
   */
  verify(token: string, options: { typ: string; audience: string; clockTolerance: number }): Promise<JWTPayload>;
  /** Drops the cached keys: the next token is verified against the keys valid then. */
  forget(): void;
}

const unknownKeyMs = 1_000;

/**
 * Creates the verifier for tokens signed by auth. Keys are fetched again when they are `maxAgeMs` old (one minute
 * unless given). A token with an unknown key id triggers an earlier fetch, at most once a second, and waits for it.
 * When a fetch fails, the cached keys stay in use.
 */
export function createKeySetVerifier(source: KeySource, { maxAgeMs = 60_000 }: { maxAgeMs?: number } = {}): KeySetVerifier {
  type Keys = ReturnType<typeof createLocalJWKSet>;
  let keys: Keys | undefined;
  let published: JSONWebKeySet | undefined;
  let fetchedAt = Number.NEGATIVE_INFINITY;
  let fetching: Promise<Keys> | undefined;
  let refetching: Promise<Keys> | undefined;

  const fetch = (): Promise<Keys> => {
    fetching ??= source()
      .then((keySet) => {
        if (keys === undefined || keySet !== published) keys = createLocalJWKSet(keySet);
        published = keySet;
        fetchedAt = performance.now();
        return keys;
      })
      .finally(() => {
        fetching = undefined;
      });
    return fetching;
  };

  const current = async (): Promise<Keys> => {
    if (keys === undefined) return fetch();
    if (performance.now() - fetchedAt < maxAgeMs) return keys;
    const stale = keys;
    return fetch().catch(() => stale);
  };

  /** Shared by all tokens with unknown keys: forged key ids cost at most one fetch a second. */
  const refetch = (): Promise<Keys> => {
    refetching ??= delay(Math.max(0, fetchedAt + Math.min(unknownKeyMs, maxAgeMs) - performance.now()))
      .then(fetch)
      .finally(() => {
        refetching = undefined;
      });
    return refetching;
  };

  return {
    async verify(token, options) {
      const check = async (keySet: Keys) =>
        (await jwtVerify(token, keySet, { ...options, issuer, algorithms: ["EdDSA"] })).payload;
      try {
        return await check(await current());
      } catch (error) {
        if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
        return check(await refetch());
      }
    },
    forget() {
      keys = undefined;
      published = undefined;
    },
  };
}
