import { generateKeyPair, SignJWT } from "jose";
import { afterEach, describe, expect, test, vi } from "vitest";
import { alice, createTestMesh, meshSecret } from "../../testing/plane.ts";
import { reason } from "../../testing/tokens.ts";
import { ErrorReason } from "../errors.ts";
import { createInternalTokenVerifier, signInternalToken } from "./internal-token.ts";
import { createServiceTokenSource } from "./service-token.ts";

const mesh = await createTestMesh();
const inSeconds = (seconds: number) => Math.floor(Date.now() / 1000) + seconds;

afterEach(() => {
  vi.useRealTimers();
});

describe("internal tokens", () => {
  test("carry the whole identity, and are cached from verification", async () => {
    const verifier = createInternalTokenVerifier(mesh.keySource);
    const identity = { ...alice, allowedTools: ["calculator"], rateLimitPerMinute: 7 };
    const token = await signInternalToken(mesh.keys, identity, inSeconds(300));
    expect(verifier.cached(token)).toBeUndefined();
    expect(await verifier.verify(token)).toEqual(identity);
    expect(verifier.cached(token)).toEqual(identity);
  });

  test.each([
    ["ahead of", 300_000],
    ["behind", -300_000],
  ])("are accepted to their end by a clock that is five minutes %s auth's", async (_, skewMs) => {
    const token = await signInternalToken(mesh.keys, alice, inSeconds(300));
    vi.useFakeTimers({ toFake: ["Date", "performance"] });
    // The gateway forwards a token for four minutes.
    vi.setSystemTime(Date.now() + skewMs + 240_000);
    const verifier = createInternalTokenVerifier(mesh.keySource);
    if (skewMs < 0) expect(await verifier.verify(token)).toEqual(alice);
    vi.setSystemTime(Date.now() + (skewMs < 0 ? 0 : 89_000));
    expect(await verifier.verify(token)).toEqual(alice);
    expect(verifier.cached(token)).toEqual(alice);
  });

  test("are refused as expired by the clock, not as bad credentials, and are not cached longer", async () => {
    vi.useFakeTimers({ toFake: ["Date", "performance"] });
    const verifier = createInternalTokenVerifier(mesh.keySource);
    const token = await signInternalToken(mesh.keys, alice, inSeconds(300));
    await verifier.verify(token);
    vi.advanceTimersByTime(629_000);
    expect(verifier.cached(token)).toEqual(alice);
    vi.advanceTimersByTime(2_000);
    expect(verifier.cached(token)).toBeUndefined();
    expect(await reason(verifier.verify(token))).toBe(ErrorReason.CLOCK_SKEW);
  });

  test("are refused with a foreign key, algorithm, type, audience, issuer or text", async () => {
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
});
