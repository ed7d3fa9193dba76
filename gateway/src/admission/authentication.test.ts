import { create } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { IdentitySchema } from "@turnwright/contract/auth/v1/identity";
import { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import { createInProcessTransport } from "@turnwright/platform/rpc/in-process";
import { mount } from "@turnwright/platform/rpc/mount";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { accessToken, alice, aliceKey, type FakeTokens, fakeTokens, jwtSecret } from "../../testing/gateway.ts";
import { type Authenticator, type Caller, createAuthenticator } from "./authentication.ts";

let tokens: FakeTokens;
let authenticator: Authenticator;

beforeEach(() => {
  tokens = fakeTokens();
  const transport = createInProcessTransport({ mounts: [tokens.mount] });
  authenticator = createAuthenticator({ tokens: createClient(TokenService, transport), jwtSecrets: jwtSecret });
});

const check = async (header: string | undefined): Promise<Caller> => authenticator.authenticate(header);

async function refusal(header: string | undefined): Promise<ErrorReason> {
  try {
    await check(header);
  } catch (error) {
    return reasonOf(error);
  }
  throw new Error("was not refused");
}

describe("the bearer check", () => {
  test("exchanges an API key once and answers synchronously afterwards", async () => {
    const caller = await check(`Bearer ${aliceKey}`);
    expect(caller.identity).toMatchObject({ userId: alice.userId });
    expect(caller.internalToken).toBe(`internal-of-${alice.userId}`);
    expect(authenticator.authenticate(`Bearer ${aliceKey}`)).toBe(caller);
    expect(authenticator.authenticate(`bearer ${aliceKey}`)).toBe(caller);
    expect(tokens.exchanges).toBe(1);
  });

  test("shares one exchange among concurrent first uses", async () => {
    const callers = await Promise.all(Array.from({ length: 20 }, () => check(`Bearer ${aliceKey}`)));
    expect(new Set(callers).size).toBe(1);
    expect(tokens.exchanges).toBe(1);
  });

  test("accepts an access token", async () => {
    const token = await accessToken();
    tokens.known.set(token, alice);
    expect((await check(`Bearer ${token}`)).identity).toMatchObject({ tokenId: alice.tokenId });
  });

  test("understands a token that was pasted together with its scheme, once", async () => {
    const token = await accessToken();
    tokens.known.set(token, alice);
    expect((await check(`Bearer Bearer ${token}`)).identity).toMatchObject({ tokenId: alice.tokenId });
    expect((await check(`bearer bearer ${aliceKey}`)).identity).toMatchObject({ tokenId: alice.tokenId });
    expect(await refusal(`Bearer Bearer Bearer ${token}`)).toBe(ErrorReason.INVALID_TOKEN);
    expect(await refusal("Bearer Bearer")).toBe(ErrorReason.INVALID_TOKEN);
  });

  test("distinguishes missing credentials from invalid ones", async () => {
    expect(await refusal(undefined)).toBe(ErrorReason.UNAUTHENTICATED);
    expect(await refusal("")).toBe(ErrorReason.UNAUTHENTICATED);
    for (const header of [
      "Bearer",
      "Bearer ",
      "Bearer a b",
      "Basic YTpi",
      aliceKey,
      `Bearer ${"x".repeat(8_193)}`,
      "Bearer \u00e9",
    ]) {
      expect([header, await refusal(header)]).toEqual([header, ErrorReason.INVALID_TOKEN]);
    }
    expect(tokens.exchanges).toBe(0);
  });

  test("refuses forged and foreign access tokens without asking auth", async () => {
    const good = await accessToken();
    const [head, claims, signature] = good.split(".");
    const none = Buffer.from('{"alg":"none","typ":"at+jwt"}').toString("base64url");
    const forged = [
      await accessToken({ secret: "another secret of more than thirty-two characters" }),
      // The last character of a signature has bits that decoders ignore.
      `${head}.${claims}.${signature?.startsWith("A") ? "B" : "A"}${signature?.slice(1)}`,
      `${head}.${claims}.`,
      `${none}.${claims}.`,
      "rt-0123456789abcdef",
      "a.b.c",
    ];
    for (const token of forged) expect([token, await refusal(`Bearer ${token}`)]).toEqual([token, ErrorReason.INVALID_TOKEN]);
    // Auth would say of a genuine one that it has expired.
    const expired = await accessToken({ expiresInMs: -60_000 });
    expect(await refusal(`Bearer ${expired.slice(0, -8)}AAAAAAAA`)).toBe(ErrorReason.INVALID_TOKEN);
    expect(tokens.exchanges).toBe(0);
  });

  test.each([
    ["a wrong API key", async () => "sk-wrong-0123456789abcdefghij"],
    ["an access token that has expired by this clock", () => accessToken({ expiresInMs: -60_000 })],
  ])("asks auth about %s only once in a while", async (_, makeToken) => {
    vi.useFakeTimers({ toFake: ["Date", "performance"] });
    try {
      const wrong = `Bearer ${await makeToken()}`;
      for (let i = 0; i < 5; i++) expect(await refusal(wrong)).toBe(ErrorReason.INVALID_TOKEN);
      expect(tokens.exchanges).toBe(1);
      vi.advanceTimersByTime(2_001);
      expect(await refusal(wrong)).toBe(ErrorReason.INVALID_TOKEN);
      expect(tokens.exchanges).toBe(2);
    } finally {
      vi.useRealTimers();
    }
  });

  test("does not ask auth about what cannot be an API key", async () => {
    expect(await refusal("Bearer sk-short")).toBe(ErrorReason.INVALID_TOKEN);
    expect(tokens.exchanges).toBe(0);
  });

  test("exchanges again before the internal token ends", async () => {
    vi.useFakeTimers({ toFake: ["Date", "performance"] });
    try {
      await check(`Bearer ${aliceKey}`);
      vi.advanceTimersByTime(tokens.ttlMs - 61_000);
      await check(`Bearer ${aliceKey}`);
      expect(tokens.exchanges).toBe(1);
      vi.advanceTimersByTime(2_000);
      await check(`Bearer ${aliceKey}`);
      expect(tokens.exchanges).toBe(2);
    } finally {
      vi.useRealTimers();
    }
  });

  test.each([300_000, -300_000, 3_600_000, -3_600_000])(
    "takes a login and keeps a token as long with a clock that is %i ms off",
    async (offMs) => {
      vi.useFakeTimers({ toFake: ["Date", "performance"] });
      try {
        tokens.clockMs = -offMs;
        const login = await accessToken({ expiresInMs: 900_000 - offMs });
        tokens.known.set(login, alice);
        const caller = await check(`Bearer ${login}`);
        expect(caller.identity).toMatchObject({ userId: alice.userId });
        await check(`Bearer ${aliceKey}`);
        expect(tokens.exchanges).toBe(2);
        vi.advanceTimersByTime(tokens.ttlMs - 61_000);
        await check(`Bearer ${aliceKey}`);
        expect(tokens.exchanges).toBe(2);
        vi.advanceTimersByTime(2_000);
        await check(`Bearer ${aliceKey}`);
        expect(tokens.exchanges).toBe(3);
      } finally {
        vi.useRealTimers();
      }
    },
  );

  test("forgets a revoked credential, and only that", async () => {
    const other = "sk-other-0123456789abcdefghij";
    tokens.known.set(other, create(IdentitySchema, { ...alice, tokenId: "0190a000-0000-7000-8000-0000000000ff" }));
    await check(`Bearer ${aliceKey}`);
    await check(`Bearer ${other}`);
    tokens.known.delete(aliceKey);
    authenticator.revoke(alice.tokenId);
    expect(await refusal(`Bearer ${aliceKey}`)).toBe(ErrorReason.INVALID_TOKEN);
    expect(authenticator.authenticate(`Bearer ${other}`)).not.toBeInstanceOf(Promise);
  });

  test("lets nobody in by an exchange that a revocation overtook", async () => {
    const reached = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<void>();
    tokens.before = () => {
      reached.resolve();
      return answer.promise;
    };
    const early = refusal(`Bearer ${aliceKey}`);
    await reached.promise;
    tokens.known.delete(aliceKey);
    authenticator.revoke(alice.tokenId);
    const late = refusal(`Bearer ${aliceKey}`);
    answer.resolve();
    expect(await early).toBe(ErrorReason.INVALID_TOKEN);
    expect(await late).toBe(ErrorReason.INVALID_TOKEN);
    expect(await refusal(`Bearer ${aliceKey}`)).toBe(ErrorReason.INVALID_TOKEN);
  });

  test("keeps an exchange that only the revocation of another credential overtook", async () => {
    const reached = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<void>();
    tokens.before = () => {
      reached.resolve();
      return answer.promise;
    };
    const caller = check(`Bearer ${aliceKey}`);
    await reached.promise;
    authenticator.revoke("0190a000-0000-7000-8000-0000000000ff");
    answer.resolve();
    expect(authenticator.authenticate(`Bearer ${aliceKey}`)).toBeInstanceOf(Promise);
    expect(authenticator.hasEnded(await caller)).toBe(false);
    expect(tokens.exchanges).toBe(1);
    expect(authenticator.authenticate(`Bearer ${aliceKey}`)).toBe(await caller);
  });

  test("lets nobody in whose credential is revoked at each of its exchanges", async () => {
    tokens.before = async () => authenticator.revoke(alice.tokenId);
    expect(await refusal(`Bearer ${aliceKey}`)).toBe(ErrorReason.UNAVAILABLE);
    tokens.before = async () => {};
    expect(authenticator.authenticate(`Bearer ${aliceKey}`)).toBeInstanceOf(Promise);
  });

  test("reports a caller whose credential ended after admission and before the request was recorded", async () => {
    const caller = await check(`Bearer ${aliceKey}`);
    expect(authenticator.hasEnded(caller)).toBe(false);
    authenticator.revoke(alice.tokenId);
    expect(authenticator.hasEnded(caller)).toBe(true);
  });

  test("CVE-2026-35030: takes no token for another one that begins alike, or ends alike", async () => {
    const token = await accessToken();
    tokens.known.set(token, alice);
    await check(`Bearer ${token}`);
    // The same header as every token of this issuer, and all but one letter of the rest.
    const forged = [...token.slice(0, -1), token.endsWith("A") ? "B" : "A"].join("");
    const signature = token.split(".")[2] ?? "";
    const claims = Buffer.from(JSON.stringify({ sub: alice.userId })).toString("base64url");
    for (const other of [forged, `${token.slice(0, 20)}.${claims}.${signature}`, `${token} `.trim().slice(0, -2), `${token}A`]) {
      expect([other, await refusal(`Bearer ${other}`)]).toEqual([other, ErrorReason.INVALID_TOKEN]);
    }
    const alike = `${aliceKey.slice(0, 20)}${"x".repeat(aliceKey.length - 20)}`;
    await check(`Bearer ${aliceKey}`);
    expect(await refusal(`Bearer ${alike}`)).toBe(ErrorReason.INVALID_TOKEN);
  });

  test("asks about every credential again after a gap in revocations", async () => {
    await check(`Bearer ${aliceKey}`);
    authenticator.forget();
    await check(`Bearer ${aliceKey}`);
    expect(tokens.exchanges).toBe(2);
  });

  test("reports that auth is unavailable instead of a wrong key, and retries at once", async () => {
    let away = true;
    const flaky = mount(TokenService, {
      ...tokens.mount.impl,
      exchangeToken: () => {
        if (away) throw fail(ErrorReason.UNAVAILABLE, "auth is away");
        return { internalToken: "internal", identity: alice, expiresAt: { seconds: 9_999_999_999n, nanos: 0 } };
      },
    } as never);
    const transport = createInProcessTransport({ mounts: [flaky] });
    authenticator = createAuthenticator({ tokens: createClient(TokenService, transport), jwtSecrets: jwtSecret });
    expect(await refusal(`Bearer ${aliceKey}`)).toBe(ErrorReason.UNAVAILABLE);
    away = false;
    expect((await check(`Bearer ${aliceKey}`)).internalToken).toBe("internal");
  });
});
