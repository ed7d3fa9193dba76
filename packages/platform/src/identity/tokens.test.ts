import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { afterEach, describe, expect, test, vi } from "vitest";
import { alice, createTestMesh, meshSecret } from "../../testing/plane.ts";
import { ErrorReason, reasonOf } from "../errors.ts";
import {
  createInternalTokenVerifier,
  createServiceTokenSource,
  createServiceTokenVerifier,
  type GrantClaims,
  hashArguments,
  signGrant,
  signInternalToken,
  verifyGrant,
} from "./tokens.ts";

const mesh = await createTestMesh();
const inSeconds = (seconds: number) => Math.floor(Date.now() / 1000) + seconds;

afterEach(() => {
  vi.useRealTimers();
});

async function reason(work: Promise<unknown>): Promise<ErrorReason> {
  const outcome = await work.catch((error: unknown) => error);
  if (!(outcome instanceof Error)) throw new Error("The token was accepted.");
  return reasonOf(outcome);
}

describe("internal tokens", () => {
  test("carry the whole identity, and are known once verified until they end", async () => {
    const verifier = createInternalTokenVerifier(mesh.keySource);
    const identity = { ...alice, allowedTools: ["calculator"], rateLimitPerMinute: 7 };
    const token = await signInternalToken(mesh.keys, identity, inSeconds(300));
    expect(verifier.cached(token)).toBeUndefined();
    expect(await verifier.verify(token)).toEqual(identity);
    expect(verifier.cached(token)).toEqual(identity);
    vi.useFakeTimers({ now: Date.now() + 301_000, toFake: ["Date"] });
    expect(verifier.cached(token)).toBeUndefined();
    vi.setSystemTime(Date.now() + 60_000);
    expect(await reason(verifier.verify(token))).toBe(ErrorReason.INVALID_TOKEN);
  });

  test("are refused when key, algorithm, type, audience, issuer or text is another's", async () => {
    const { verify } = createInternalTokenVerifier(mesh.keySource);
    const good = { alg: "EdDSA", kid: mesh.keys.kid, typ: "turnwright-internal+jwt" };
    const sign = (header: Record<string, string>, audience: string, issuer: string, key = mesh.keys.privateKey) =>
      new SignJWT({ identity: { userId: alice.userId } })
        .setProtectedHeader({ ...good, ...header })
        .setIssuer(issuer)
        .setAudience(audience)
        .setExpirationTime("5m")
        .sign(key);
    await expect(verify(await sign({}, "turnwright.internal", "turnwright"))).resolves.toMatchObject({ userId: alice.userId });
    const { privateKey } = await generateKeyPair("EdDSA");
    const none = `${Buffer.from('{"alg":"none"}').toString("base64url")}.${Buffer.from("{}").toString("base64url")}.`;
    const refused = [
      await sign({}, "turnwright.internal", "turnwright", privateKey),
      await sign({ typ: "at+jwt" }, "turnwright.internal", "turnwright"),
      await sign({}, "turnwright", "turnwright"),
      await sign({}, "turnwright.internal", "elsewhere"),
      await sign({ kid: "unknown" }, "turnwright.internal", "turnwright"),
      `${(await sign({}, "turnwright.internal", "turnwright")).slice(0, -4)}AAAA`,
      await createServiceTokenSource(meshSecret, "gateway")(),
      none,
      "garbage",
      "",
    ];
    for (const token of refused) expect(await reason(verify(token))).toBe(ErrorReason.INVALID_TOKEN);
  });

  test("signed by a new key wait for one more look at the keys, which many share and which comes at most every second", async () => {
    const rotated = { ...(await generateKeyPair("EdDSA", { extractable: true })), kid: "rotated" };
    const unknown = { ...(await generateKeyPair("EdDSA", { extractable: true })), kid: "unknown" };
    let published = await mesh.keySource();
    const fetchedAt: number[] = [];
    const { verify } = createInternalTokenVerifier(async () => {
      fetchedAt.push(performance.now());
      return published;
    });
    await verify(await signInternalToken(mesh.keys, alice, inSeconds(300)));
    published = { keys: [...published.keys, { ...(await exportJWK(rotated.publicKey)), kid: "rotated", alg: "EdDSA" }] };
    const [token, forged] = [
      await signInternalToken(rotated, alice, inSeconds(300)),
      await signInternalToken(unknown, alice, inSeconds(300)),
    ];
    const answers = await Promise.allSettled([verify(token), ...Array.from({ length: 20 }, () => verify(forged)), verify(token)]);
    expect(answers.map((answer) => answer.status)).toEqual(["fulfilled", ...Array(20).fill("rejected"), "fulfilled"]);
    expect(fetchedAt).toHaveLength(2);
    expect((fetchedAt[1] ?? 0) - (fetchedAt[0] ?? 0)).toBeGreaterThan(950);
  });

  test("signed by a retired key are refused once the keys are a minute old", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    let published = await mesh.keySource();
    const { verify } = createInternalTokenVerifier(async () => published);
    const token = () => signInternalToken(mesh.keys, alice, inSeconds(300 + Math.random() * 100));
    await verify(await token());
    published = { keys: [] };
    await expect(verify(await token())).resolves.toEqual(alice);
    vi.setSystemTime(Date.now() + 60_001);
    expect(await reason(verify(await token()))).toBe(ErrorReason.INVALID_TOKEN);
  });

  test("are not refused for good when the keys could not be fetched", async () => {
    let isDown = true;
    const { verify } = createInternalTokenVerifier(() => (isDown ? Promise.reject(new Error("auth is away")) : mesh.keySource()));
    const token = await signInternalToken(mesh.keys, alice, inSeconds(300));
    await expect(verify(token)).rejects.toThrow("auth is away");
    isDown = false;
    await expect(verify(token)).resolves.toEqual(alice);
  });
});

describe("service tokens", () => {
  test("name their service, are signed once and renewed a minute before they end", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const source = createServiceTokenSource(meshSecret, "gateway");
    const verifier = createServiceTokenVerifier(meshSecret);
    const [first, same] = await Promise.all([source(), source()]);
    expect(same).toBe(first);
    expect(await verifier.verify(first)).toBe("gateway");
    expect(verifier.cached(first)).toBe("gateway");
    vi.setSystemTime(Date.now() + 239_000);
    expect(source()).toBe(first);
    vi.setSystemTime(Date.now() + 2_000);
    const second = await source();
    expect(second).not.toBe(first);
    expect(await verifier.verify(second)).toBe("gateway");
    expect(verifier.cached(first)).toBe("gateway");
    vi.setSystemTime(Date.now() + 60_000);
    expect(verifier.cached(first)).toBeUndefined();
    expect(verifier.cached(second)).toBe("gateway");
  });

  test("of another secret or kind are refused", async () => {
    const { verify } = createServiceTokenVerifier(meshSecret);
    const other = await createServiceTokenSource("another-secret-of-32-characters-here", "gateway")();
    const grant = await signGrant(meshSecret, { ...claims, runId: "gateway" });
    for (const token of [other, grant, "garbage"]) expect(await reason(verify(token))).toBe(ErrorReason.INVALID_TOKEN);
  });
});

const claims: GrantClaims = {
  runId: "0190a000-0000-7000-8000-0000000000b0",
  epoch: 2,
  callId: "call_1",
  tool: "http_request",
  toolVersion: "1",
  argumentsHash: hashArguments('{"url":"https://example.com"}'),
};

describe("grants", () => {
  test("hold for exactly the approved call, until they end", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const grant = await signGrant(meshSecret, claims, 900);
    expect(await verifyGrant(meshSecret, grant, claims)).toBe(true);
    for (const field of Object.keys(claims) as (keyof GrantClaims)[]) {
      expect(await verifyGrant(meshSecret, grant, { ...claims, [field]: "another" }), field).toBe(false);
    }
    expect(await verifyGrant("another-secret-of-32-characters-here", grant, claims)).toBe(false);
    expect(await verifyGrant(meshSecret, await createServiceTokenSource(meshSecret, claims.runId)(), claims)).toBe(false);
    vi.setSystemTime(Date.now() + 931_000);
    expect(await verifyGrant(meshSecret, grant, claims)).toBe(false);
  });
});
