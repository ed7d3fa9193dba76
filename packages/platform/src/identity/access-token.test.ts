import { SignJWT } from "jose";
import { describe, expect, test } from "vitest";
import { alice, createTestMesh } from "../../testing/plane.ts";
import { ErrorReason, reasonOf } from "../errors.ts";
import { type AccessToken, createAccessTokenVerifier, signAccessToken } from "./access-token.ts";
import { signInternalToken } from "./internal-token.ts";

const mesh = await createTestMesh();
const secret = "an-access-token-secret-of-32-characters";
const inMilliseconds = (ms: number) => Math.floor((Date.now() + ms) / 1000) * 1000;
const token: AccessToken = { userId: alice.userId, sessionId: "session", role: "user", expiresAt: inMilliseconds(900_000) };

async function reason(work: Promise<unknown>): Promise<ErrorReason> {
  const outcome = await work.catch((error: unknown) => error);
  if (!(outcome instanceof Error)) throw new Error("The token was accepted.");
  return reasonOf(outcome);
}

describe("access tokens", () => {
  const { verify: byKeys } = createAccessTokenVerifier({ keys: mesh.keySource });
  const { verify: bySecret } = createAccessTokenVerifier({ keys: mesh.keySource, secrets: secret });

  test("carry their claims, signed with auth's keys or a shared secret, each alone", async () => {
    const signedByKey = await signAccessToken(mesh.keys, token);
    const signedBySecret = await signAccessToken({ secret }, token);
    expect(await byKeys(signedByKey)).toEqual(token);
    expect(await bySecret(signedBySecret)).toEqual(token);
    expect(await reason(byKeys(signedBySecret))).toBe(ErrorReason.INVALID_TOKEN);
    expect(await reason(bySecret(signedByKey))).toBe(ErrorReason.INVALID_TOKEN);
  });

  test("are refused after expiry, beyond the clock tolerance, and told so when they are genuine", async () => {
    await expect(
      bySecret(await signAccessToken({ secret }, { ...token, expiresAt: inMilliseconds(-20_000) })),
    ).resolves.toBeDefined();
    const ended = await signAccessToken({ secret }, { ...token, expiresAt: inMilliseconds(-40_000) });
    expect(await reason(bySecret(ended))).toBe(ErrorReason.TOKEN_EXPIRED);
    expect(await reason(byKeys(await signAccessToken(mesh.keys, { ...token, expiresAt: inMilliseconds(-40_000) })))).toBe(
      ErrorReason.TOKEN_EXPIRED,
    );
    const past = () => new SignJWT({ sid: "s", role: "user" }).setIssuer("turnwright").setExpirationTime("-5m").setSubject("u");
    const [header, key] = [{ alg: "HS256", typ: "at+jwt" }, new TextEncoder().encode(secret)];
    const forged = [
      await past()
        .setAudience("turnwright")
        .setProtectedHeader(header)
        .sign(new TextEncoder().encode(`${secret}!`)),
      await past().setAudience("turnwright.internal").setProtectedHeader(header).sign(key),
      await past()
        .setAudience("turnwright")
        .setProtectedHeader({ ...header, typ: "rt+jwt" })
        .sign(key),
      ended.replace(/\.[^.]*$/, "."),
    ];
    for (const each of forged) expect(await reason(bySecret(each))).toBe(ErrorReason.INVALID_TOKEN);
  });

  test("are judged by their issuer alone where a verifier leaves the time to it", async () => {
    const { verify } = createAccessTokenVerifier({ keys: mesh.keySource, secrets: secret, expiry: "issuer" });
    const ended = { ...token, expiresAt: inMilliseconds(-3_600_000) };
    expect(await verify(await signAccessToken({ secret }, ended))).toEqual(ended);
    const forged = await signAccessToken({ secret: "another-secret-of-32-characters-here" }, token);
    expect(await reason(verify(forged))).toBe(ErrorReason.INVALID_TOKEN);
  });

  test("are refused without a session or role, of another audience, and of another kind", async () => {
    const base = () => new SignJWT({ sid: "s", role: "user" }).setIssuer("turnwright").setExpirationTime("5m");
    const key = new TextEncoder().encode(secret);
    const header = { alg: "HS256", typ: "at+jwt" };
    const refused = [
      await base().setAudience("turnwright").setProtectedHeader(header).sign(key),
      await base().setSubject("u").setAudience("turnwright.internal").setProtectedHeader(header).sign(key),
      await base().setSubject("u").setAudience("turnwright").setProtectedHeader({ alg: "HS256", typ: "rt+jwt" }).sign(key),
      await base().setSubject("u").setAudience("turnwright").setProtectedHeader({ alg: "HS512", typ: "at+jwt" }).sign(key),
      "garbage",
    ];
    for (const each of refused) expect(await reason(bySecret(each))).toBe(ErrorReason.INVALID_TOKEN);
    const internal = await signInternalToken(mesh.keys, alice, Math.floor(Date.now() / 1000) + 300);
    expect(await reason(byKeys(internal))).toBe(ErrorReason.INVALID_TOKEN);
  });

  test("do not count as invalid while the keys cannot be fetched", async () => {
    const { verify } = createAccessTokenVerifier({ keys: () => Promise.reject(new Error("auth is away")) });
    await expect(verify(await signAccessToken(mesh.keys, token))).rejects.toThrow("auth is away");
  });
});
