import { setTimeout as delay } from "node:timers/promises";
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTPayload, jwtVerify } from "jose";
import { clockToleranceSeconds, issuer } from "./issuer.ts";

/** Where a verifier takes auth's public keys from: a fresh JSON Web Key Set at each call. */
export type KeySource = () => Promise<JSONWebKeySet>;

/** Checks tokens against auth's keys. */
export interface KeySetVerifier {
  /** The payload of a token that one of the keys signed. Throws jose's errors, and the key source's. */
  verify(token: string, options: { typ: string; audience: string }): Promise<JWTPayload>;
  /** Lets go of the keys: the next token is checked against those that count then. */
  forget(): void;
}

const unknownKeyMs = 1_000;

/**
 * Makes the check against auth's keys. They are fetched again once they are `maxAgeMs` old (a minute, unless given),
 * and before that, at most every second, when a key id is unknown: the token waits for it. Keys that cannot be fetched
 * again serve on.
 */
export function createKeySetVerifier(source: KeySource, { maxAgeMs = 60_000 }: { maxAgeMs?: number } = {}): KeySetVerifier {
  type Keys = ReturnType<typeof createLocalJWKSet>;
  let keys: Keys | undefined;
  let published: JSONWebKeySet | undefined;
  let fetchedAt = 0;
  let fetching: Promise<Keys> | undefined;
  let refetching: Promise<Keys> | undefined;

  const fetch = (): Promise<Keys> => {
    fetching ??= source()
      .then((keySet) => {
        if (keys === undefined || keySet !== published) keys = createLocalJWKSet(keySet);
        published = keySet;
        fetchedAt = Date.now();
        return keys;
      })
      .finally(() => {
        fetching = undefined;
      });
    return fetching;
  };

  const current = async (): Promise<Keys> => {
    if (keys === undefined) return fetch();
    if (Date.now() - fetchedAt < maxAgeMs) return keys;
    const stale = keys;
    return fetch().catch(() => stale);
  };

  /** Shared by all tokens with unknown keys: whoever makes them up costs us one fetch a second. */
  const refetch = (): Promise<Keys> => {
    refetching ??= delay(Math.max(0, fetchedAt + Math.min(unknownKeyMs, maxAgeMs) - Date.now()))
      .then(fetch)
      .finally(() => {
        refetching = undefined;
      });
    return refetching;
  };

  return {
    async verify(token, options) {
      const check = async (keySet: Keys) =>
        (await jwtVerify(token, keySet, { ...options, issuer, algorithms: ["EdDSA"], clockTolerance: clockToleranceSeconds }))
          .payload;
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
