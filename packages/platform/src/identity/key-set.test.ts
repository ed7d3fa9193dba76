import { exportJWK, generateKeyPair } from "jose";
import { afterEach, describe, expect, test, vi } from "vitest";
import { alice, createTestMesh } from "../../testing/plane.ts";
import { reason } from "../../testing/tokens.ts";
import { ErrorReason } from "../errors.ts";
import { createInternalTokenVerifier, signInternalToken } from "./internal-token.ts";

const mesh = await createTestMesh();
const inSeconds = (seconds: number) => Math.floor(Date.now() / 1000) + seconds;

afterEach(() => {
  vi.useRealTimers();
});

describe("tokens under a key set", () => {
  test("signed with a new key wait for another fetch of the keys, shared by all and at most one a second", async () => {
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

  test("signed with a retired key are refused once the keys are a minute old", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    let published = await mesh.keySource();
    const { verify } = createInternalTokenVerifier(async () => published);
    const token = () => signInternalToken(mesh.keys, alice, inSeconds(300 + Math.random() * 100));
    await verify(await token());
    published = { keys: [] };
    await expect(verify(await token())).resolves.toEqual(alice);
    vi.advanceTimersByTime(60_001);
    expect(await reason(verify(await token()))).toBe(ErrorReason.INVALID_TOKEN);
  });

  test("are not refused permanently when the keys could not be fetched", async () => {
    let isDown = true;
    const { verify } = createInternalTokenVerifier(() => (isDown ? Promise.reject(new Error("auth is away")) : mesh.keySource()));
    const token = await signInternalToken(mesh.keys, alice, inSeconds(300));
    await expect(verify(token)).rejects.toThrow("auth is away");
    isDown = false;
    await expect(verify(token)).resolves.toEqual(alice);
  });
});
