import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type AuthFixture, password, refusalOf, startAuthFixture } from "../../testing/auth.ts";

let fixture: AuthFixture;
beforeAll(async () => {
  fixture = await startAuthFixture();
});
afterAll(() => fixture.stop());

const revoked = async () => {
  const { revocations } = await fixture.anonymous().tokens.listRevocations({ seconds: 60 });
  return revocations.map((revocation) => revocation.tokenId);
};

describe("a recent revocation", () => {
  test("is listed no matter how the credential ended", async () => {
    const person = await fixture.person();
    const ids: string[] = [];
    for (const end of [
      (id: string) => person.keys.revokeApiKey({ apiKeyId: id }),
      (id: string) => person.keys.rotateApiKey({ apiKeyId: id }),
      (id: string) => fixture.pool.query("update user_tokens set is_revoked = true where id = $1", [id]),
      (id: string) => fixture.pool.query("update user_tokens set allowed_tools = '{calculator}' where id = $1", [id]),
      (id: string) => fixture.pool.query("delete from user_tokens where id = $1", [id]),
    ]) {
      const { apiKey } = await person.keys.createApiKey({ name: "k" });
      const id = apiKey?.id ?? "";
      expect(await revoked()).not.toContain(id);
      await end(id);
      ids.push(id);
    }
    const { apiKey } = await person.keys.createApiKey({ name: "k" });
    await fixture.pool.query("update users set is_active = false where id = $1", [person.userId]);
    expect(await revoked()).toEqual(expect.arrayContaining([...ids, apiKey?.id ?? "", person.identity.tokenId]));
  });

  test("is not a session that was refreshed", async () => {
    const person = await fixture.person();
    await fixture.anonymous().auth.refresh({ refreshToken: person.refreshToken });
    expect(await revoked()).not.toContain(person.identity.tokenId);
    await person.auth.logout({});
    expect(await revoked()).toContain(person.identity.tokenId);
  });
});

describe("an expired API key", () => {
  test("is told so to its holder; a revoked one, one of a disabled account and an unknown one are not", async () => {
    const person = await fixture.person();
    const expiredKey = async () => {
      const { key, apiKey } = await person.keys.createApiKey({ name: "k" });
      await fixture.pool.query("update user_tokens set expires_at = now() where id = $1", [apiKey?.id]);
      return { key, id: apiKey?.id };
    };
    const [expired, revokedKey] = [await expiredKey(), await expiredKey()];
    await fixture.pool.query("update user_tokens set is_revoked = true where id = $1", [revokedKey.id]);
    expect(await refusalOf(fixture.holder(expired.key))).toBe("TOKEN_EXPIRED");
    expect(await refusalOf(fixture.holder(revokedKey.key))).toBe("INVALID_TOKEN");
    expect(await refusalOf(fixture.holder(`${expired.key.slice(0, -4)}0000`))).toBe("INVALID_TOKEN");
    await fixture.pool.query("update users set is_active = false where id = $1", [person.userId]);
    expect(await refusalOf(fixture.holder(expired.key))).toBe("INVALID_TOKEN");
  });
});

describe("signing keys", () => {
  test("rotate: tokens of the old key stay valid, and both keys are published", async () => {
    const admin = await fixture.person({ role: "admin" });
    await fixture.pool.query("update signing_keys set created_at = created_at - interval '11 seconds'");
    const before = (await fixture.anonymous().tokens.getJwks({})).keys;
    const { keyId, keyIds } = await admin.tokens.rotateSigningKey({});
    expect(keyIds).toHaveLength(before.length + 1);
    expect(keyIds[0]).toBe(keyId);
    const kidOf = (token: string) => JSON.parse(Buffer.from(token.split(".")[0] ?? "", "base64url").toString()).kid as string;
    const { accessToken: soon, refreshToken } = await fixture.anonymous().auth.refresh({ refreshToken: admin.refreshToken });
    expect(kidOf(soon)).toBe(kidOf(admin.accessToken));
    await fixture.pool.query("update signing_keys set created_at = created_at - interval '11 seconds'");
    await fixture.bus.publish("auth.signing_keys", "");
    await vi.waitFor(async () => {
      const session = await fixture.anonymous().auth.login({ email: admin.email, password });
      expect(kidOf(session.accessToken)).toBe(keyId);
    });
    await expect(fixture.holder(admin.accessToken)).resolves.toBeDefined();
    await expect(fixture.anonymous().auth.refresh({ refreshToken })).resolves.toBeDefined();
    for (const key of (await fixture.anonymous().tokens.getJwks({})).keys) expect(key).not.toHaveProperty("d");
  });

  test("verify nothing once retired as leaked, and their private halves are deleted", async () => {
    const admin = await fixture.person({ role: "admin" });
    const { keyIds } = await admin.tokens.rotateSigningKey({ retirePrevious: true });
    expect(keyIds).toHaveLength(1);
    expect(await refusalOf(fixture.holder(admin.accessToken))).toBe("INVALID_TOKEN");
    const { accessToken } = await fixture.anonymous().auth.refresh({ refreshToken: admin.refreshToken });
    await expect(fixture.holder(accessToken)).resolves.toBeDefined();
    const { rows } = await fixture.pool.query(
      "select distinct private_jwk::text as jwk from signing_keys where retired_at is not null",
    );
    expect(rows).toEqual([{ jwk: "{}" }]);
  });

  test("are replaced when old, and retired once everything they signed has expired", async () => {
    const own = await startAuthFixture({ JWT_KEY_ROTATION: "1h" });
    try {
      const ids = async () => (await own.anonymous().tokens.listRevocations({ seconds: 1 })).keyIds;
      const [first] = await ids();
      await own.pool.query("update signing_keys set created_at = created_at - interval '2 hours'");
      const { loadSigningKeys } = await import("../signing-keys.ts");
      const { createLogger } = await import("@turnwright/platform/logger");
      const logger = createLogger({ service: "test", level: "silent" });
      const rule = { maxAgeSeconds: 3600, overlapSeconds: 960 };
      const replica = await loadSigningKeys({ pool: own.pool, rule, logger });
      const [second] = replica.publicKeys().keys.map((key) => key.kid);
      expect(replica.publicKeys().keys.map((key) => key.kid)).toEqual([second, first]);
      expect(replica.current().kid).toBe(first);
      await own.pool.query("update signing_keys set created_at = created_at - interval '17 minutes'");
      await replica.refresh();
      expect(replica.publicKeys().keys.map((key) => key.kid)).toEqual([second]);
      expect(replica.current().kid).toBe(second);
    } finally {
      await own.stop();
    }
  });
});

describe("with JWT_SECRET", () => {
  const [present, next] = ["the-present-secret-of-its-tokens", "the-next-secret-of-access-tokens"];

  test("access tokens are HS256, and tokens signed by auth's own keys are refused", async () => {
    const own = await startAuthFixture({ JWT_SECRET: "another-secret-of-32-characters!!" });
    try {
      const { accessToken } = await own.person();
      expect(JSON.parse(Buffer.from(accessToken.split(".")[0] ?? "", "base64url").toString()).alg).toBe("HS256");
      const foreign = await fixture.person();
      expect(await refusalOf(own.holder(foreign.accessToken))).toBe("INVALID_TOKEN");
      expect(await refusalOf(fixture.holder(accessToken))).toBe("INVALID_TOKEN");
    } finally {
      await own.stop();
    }
  });

  test.each([
    ["adds the new one", {}, { JWT_SECRET_ACCEPTED: next }],
    ["signs with the new one", { JWT_SECRET_ACCEPTED: next }, { JWT_SECRET: next, JWT_SECRET_ACCEPTED: present }],
    ["removes the old one", { JWT_SECRET: next, JWT_SECRET_ACCEPTED: present }, { JWT_SECRET: next }],
  ])("two processes accept each other's tokens while one already %s", async (_step, before, after) => {
    const first = await startAuthFixture({ JWT_SECRET: present, ...before });
    const second = await first.replica({ JWT_SECRET: present, ...after });
    try {
      const { email, accessToken } = await first.person();
      expect(await refusalOf(second.holder(accessToken))).toBe("no error");
      const session = await second.anonymous().auth.login({ email, password });
      expect(await refusalOf(first.holder(session.accessToken))).toBe("no error");
    } finally {
      await second.stop();
      await first.stop();
    }
  });

  test("that is no longer listed, tokens are refused", async () => {
    const first = await startAuthFixture({ JWT_SECRET: present, JWT_SECRET_ACCEPTED: next });
    const second = await first.replica({ JWT_SECRET: next });
    try {
      const { accessToken } = await first.person();
      expect(await refusalOf(second.holder(accessToken))).toBe("INVALID_TOKEN");
      expect(await refusalOf(first.holder(accessToken))).toBe("no error");
    } finally {
      await second.stop();
      await first.stop();
    }
  });

  test("that is too short, auth does not start", async () => {
    await expect(startAuthFixture({ JWT_SECRET: "short" })).rejects.toThrow("JWT_SECRET: must have at least 32 characters");
  });
});
