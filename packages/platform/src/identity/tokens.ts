import { hash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { fromJson, toJson } from "@bufbuild/protobuf";
import { type Identity, IdentitySchema } from "@turnwright/contract/auth/v1/identity";
import { type CryptoKey, createLocalJWKSet, errors, type JSONWebKeySet, type JWTPayload, jwtVerify, SignJWT } from "jose";
import { ErrorReason, fail } from "../errors.ts";
import { TokenCache } from "./token-cache.ts";

const issuer = "turnwright";
const internalAudience = "turnwright.internal";
const internalType = "turnwright-internal+jwt";
const serviceAudience = "turnwright.mesh";
const serviceType = "turnwright-service+jwt";
const grantAudience = "turnwright.grant";
const grantType = "turnwright-grant+jwt";
const clockToleranceSeconds = 30;
const serviceTokenSeconds = 300;

const textEncoder = new TextEncoder();

/** Signs the token in which an identity travels through the mesh (EdDSA). Only auth has the key. */
export async function signInternalToken(
  key: { privateKey: CryptoKey; kid: string },
  identity: Identity,
  expiresAtSeconds: number,
): Promise<string> {
  return new SignJWT({ identity: toJson(IdentitySchema, identity) as JWTPayload })
    .setProtectedHeader({ alg: "EdDSA", kid: key.kid, typ: internalType })
    .setIssuer(issuer)
    .setAudience(internalAudience)
    .setSubject(identity.userId)
    .setIssuedAt()
    .setExpirationTime(expiresAtSeconds)
    .sign(key.privateKey);
}

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

/** Verifies internal tokens; a token that was seen before costs one hash. */
export interface InternalTokenVerifier {
  /** The identity of a token that was verified before and has not ended. */
  cached(token: string): Identity | undefined;
  /** Checks signature, audience, type and time. Throws INVALID_TOKEN. */
  verify(token: string): Promise<Identity>;
}

/** Makes the verifier that every service puts in front of its handlers. */
export function createInternalTokenVerifier(source: KeySource): InternalTokenVerifier {
  const keySet = createKeySetVerifier(source);
  const cache = new TokenCache<Identity>();
  return {
    cached: (token) => cache.get(token),
    async verify(token) {
      let payload: JWTPayload;
      try {
        payload = await keySet.verify(token, { typ: internalType, audience: internalAudience });
      } catch (error) {
        if (error instanceof errors.JOSEError)
          throw fail(ErrorReason.INVALID_TOKEN, "The internal token is not valid.", { cause: error });
        throw error;
      }
      const identity = fromJson(IdentitySchema, payload.identity as never);
      cache.set(token, identity, (payload.exp ?? 0) * 1000);
      return identity;
    },
  };
}

async function signShared(
  secret: string,
  token: { claims: JWTPayload; subject: string; audience: string; typ: string; seconds: number },
): Promise<string> {
  return new SignJWT(token.claims)
    .setProtectedHeader({ alg: "HS256", typ: token.typ })
    .setIssuer(issuer)
    .setAudience(token.audience)
    .setSubject(token.subject)
    .setIssuedAt()
    .setExpirationTime(Math.floor(Date.now() / 1000) + token.seconds)
    .sign(textEncoder.encode(secret));
}

async function verifyShared(secret: string, token: string, options: { audience: string; typ: string }): Promise<JWTPayload> {
  const { payload } = await jwtVerify(token, textEncoder.encode(secret), {
    ...options,
    issuer,
    algorithms: ["HS256"],
    clockTolerance: clockToleranceSeconds,
  });
  return payload;
}

/** A source of this process's service token (HS256 by MESH_SECRET), renewed a minute before it ends. */
export function createServiceTokenSource(secret: string, service: string): () => string | Promise<string> {
  let current = "";
  let renewAt = 0;
  let renewing: Promise<string> | undefined;
  return () => {
    if (Date.now() < renewAt) return current;
    renewing ??= signShared(secret, {
      claims: {},
      subject: service,
      audience: serviceAudience,
      typ: serviceType,
      seconds: serviceTokenSeconds,
    })
      .then((token) => {
        current = token;
        renewAt = Date.now() + (serviceTokenSeconds - 60) * 1000;
        return token;
      })
      .finally(() => {
        renewing = undefined;
      });
    return renewing;
  };
}

/** Verifies service tokens and names the calling service. */
export interface ServiceTokenVerifier {
  /** The service of a token that was verified before and has not ended. */
  cached(token: string): string | undefined;
  /** Checks the token. Throws INVALID_TOKEN. */
  verify(token: string): Promise<string>;
}

/** Makes the verifier that guards methods with `ACCESS_SERVICE`. */
export function createServiceTokenVerifier(secret: string): ServiceTokenVerifier {
  const cache = new TokenCache<string>(1_000);
  // Most servers hear from one service: its token is the same for minutes and needs no hash to be known again.
  let last = { token: "", service: "", expiresAt: 0 };
  return {
    cached: (token) => (token === last.token && Date.now() < last.expiresAt ? last.service : cache.get(token)),
    async verify(token) {
      try {
        const payload = await verifyShared(secret, token, { audience: serviceAudience, typ: serviceType });
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

/** What a person approved: exactly this call of this tool with these arguments. */
export interface GrantClaims {
  /** UUID of the run. */
  readonly runId: string;
  /**
   * Epoch under which the run goes on with the decision: a call of the same id in another round needs a grant of its
   * own.
   */
  readonly epoch: number;
  /** The call's id in its run. */
  readonly callId: string;
  /** Name of the tool. */
  readonly tool: string;
  /** Version of the tool. */
  readonly toolVersion: string;
  /** `hashArguments` of the arguments as they will be passed. */
  readonly argumentsHash: string;
  /** UUID of the credential that started the run: the call runs as that one and nobody else. */
  readonly tokenId?: string;
}

/** SHA-256 in hex of a call's arguments as JSON text. */
export function hashArguments(json: string): string {
  return hash("sha256", json, "hex");
}

/** Signs the proof of an approval; the executor checks it itself. */
export function signGrant(secret: string, claims: GrantClaims, ttlSeconds = 900): Promise<string> {
  const { runId, ...rest } = claims;
  return signShared(secret, {
    claims: { ...rest },
    subject: runId,
    audience: grantAudience,
    typ: grantType,
    seconds: ttlSeconds,
  });
}

/** Whether a grant is genuine, has not ended and is for exactly this call. */
export async function verifyGrant(secret: string, grant: string, expected: GrantClaims): Promise<boolean> {
  try {
    const payload = await verifyShared(secret, grant, { audience: grantAudience, typ: grantType });
    return (
      payload.sub === expected.runId &&
      payload.epoch === expected.epoch &&
      payload.callId === expected.callId &&
      payload.tool === expected.tool &&
      payload.toolVersion === expected.toolVersion &&
      payload.argumentsHash === expected.argumentsHash &&
      // A release without it signs for a while yet, where one replaces the other.
      (payload.tokenId === undefined || payload.tokenId === expected.tokenId)
    );
  } catch {
    return false;
  }
}
