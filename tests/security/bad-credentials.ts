import { generateKeyPairSync, randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { IdentitySchema, Role, TokenType } from "@turnwright/contract/auth/v1/identity";
import { hashArguments, signGrant } from "@turnwright/platform/identity/grant";
import { signInternalToken } from "@turnwright/platform/identity/internal-token";
import { createServiceTokenSource } from "@turnwright/platform/identity/service-token";
import { byKey, bySecret, claimsOf, makeToken, unsigned } from "./forge.ts";
import type { Account, Stage } from "./stage.ts";

/** A credential that must be refused. */
export interface BadCredential {
  readonly name: string;
  readonly headers: Readonly<Record<string, string>>;
}

const bearer = (name: string, token: string): BadCredential => ({ name, headers: { authorization: `Bearer ${token}` } });

/** Tokens that the system itself issued for other purposes than client access. */
export async function tokensOfOtherKinds(stage: Stage, { userId, sessionId, refreshToken }: Account) {
  const { kid, privateKey } = await stage.signingKey();
  const identity = create(IdentitySchema, { userId, tokenId: sessionId, tokenType: TokenType.ACCESS, role: Role.ADMIN });
  const signer = { kid, privateKey: await webKey(privateKey.export({ format: "jwk" })) };
  const grant = {
    runId: randomUUID(),
    epoch: 1,
    callId: "c1",
    tool: "http_request",
    toolVersion: "1",
    argumentsHash: hashArguments("{}"),
  };
  return {
    refresh: refreshToken,
    internal: await signInternalToken(signer as never, identity, Math.floor(Date.now() / 1000) + 300),
    service: await createServiceTokenSource(stage.meshSecret, "gateway")(),
    grant: await signGrant(stage.meshSecret, grant),
  };
}

function webKey(jwk: object) {
  return crypto.subtle.importKey("jwk", jwk as never, { name: "Ed25519" }, false, ["sign"]);
}

/** Every kind of credential that must be refused, each with its own account where it has one. */
export async function badCredentials(stage: Stage): Promise<BadCredential[]> {
  const { kid, privateKey, publicKey, publicJwk } = await stage.signingKey();
  const victim = await stage.account();
  const claims = claimsOf(victim.accessToken);
  const header = { alg: "EdDSA", typ: "at+jwt", kid };
  const now = Math.floor(Date.now() / 1000);
  const others = await tokensOfOtherKinds(stage, victim);
  const pem = publicKey.export({ type: "spki", format: "pem" }) as string;

  const keyHolder = await stage.account();
  const { api_key: revoked, key: revokedKey } = await stage.call<{ api_key: { id: string }; key: string }>(
    "POST",
    "/v1/api-keys",
    keyHolder.accessToken,
    { name: "revoked" },
  );
  await stage.call("DELETE", `/v1/api-keys/${revoked.id}`, keyHolder.accessToken);

  const leaver = await stage.account();
  const { key: leaversKey } = await stage.call<{ key: string }>("POST", "/v1/api-keys", leaver.accessToken, { name: "left" });
  await stage.call("PATCH", `/v1/admin/users/${leaver.userId}`, stage.admin.accessToken, { is_active: false });

  const quitter = await stage.account();
  const again = await stage.login(quitter);
  await stage.call("DELETE", `/v1/auth/sessions/${quitter.sessionId}`, again.accessToken);

  return [
    { name: "no credential", headers: {} },
    bearer("garbage", "garbage"),
    bearer("an expired access token", makeToken(header, { ...claims, iat: now - 2000, exp: now - 1000 }, byKey(privateKey))),
    bearer("an access token by another key", makeToken(header, claims, byKey(generateKeyPairSync("ed25519").privateKey))),
    bearer("alg none", makeToken({ ...header, alg: "none" }, claims, unsigned)),
    bearer("HS256 by the public key as PEM", makeToken({ ...header, alg: "HS256" }, claims, bySecret(pem))),
    bearer("HS256 by the public key as JWK", makeToken({ ...header, alg: "HS256" }, claims, bySecret(JSON.stringify(publicJwk)))),
    bearer("a refresh token", others.refresh),
    bearer("an internal token", others.internal),
    bearer("a service token", others.service),
    bearer("a grant", others.grant),
    { name: "an internal token in its own header", headers: { "x-turnwright-identity": others.internal } },
    {
      name: "internal and service tokens in their own headers",
      headers: { "x-turnwright-identity": others.internal, "x-turnwright-service": others.service },
    },
    bearer("a revoked API key", revokedKey),
    bearer("the API key of a deactivated account", leaversKey),
    bearer("the access token of a deactivated account", leaver.accessToken),
    bearer("the access token of an ended session", quitter.accessToken),
  ];
}
