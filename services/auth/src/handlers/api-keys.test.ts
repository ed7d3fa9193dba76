import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AuthFixture, refusalOf, startAuthFixture } from "../../testing/auth.ts";

let fixture: AuthFixture;
beforeAll(async () => {
  fixture = await startAuthFixture();
});
afterAll(() => fixture.stop());

describe("an API key", () => {
  test("appears only in the response that creates it", async () => {
    const person = await fixture.person();
    const { key, apiKey } = await person.keys.createApiKey({ name: "ci" });
    expect(key).toMatch(/^sk-[0-9A-Za-z]{49}$/);
    expect(JSON.stringify(await person.keys.listApiKeys({}), (_k, v) => (typeof v === "bigint" ? String(v) : v))).not.toContain(
      key,
    );
    const { rows } = await fixture.pool.query<{ row: string }>("select t::text as row from user_tokens t where id = $1", [
      apiKey?.id,
    ]);
    expect(rows[0]?.row).not.toContain(key.slice(10));
    const { rows: events } = await fixture.pool.query<{ event: string }>("select event from audit_log");
    expect(events.some(({ event }) => event.includes(key.slice(10)))).toBe(false);
  });

  test("with a typing error is refused by its checksum", async () => {
    const person = await fixture.person();
    const { key } = await person.keys.createApiKey({ name: "ci" });
    const wrong = `${key.slice(0, 20)}${key[20] === "a" ? "b" : "a"}${key.slice(21)}`;
    expect(await refusalOf(fixture.holder(wrong))).toBe("INVALID_TOKEN");
    await expect(fixture.holder(key)).resolves.toBeDefined();
  });

  test("carries its own limits", async () => {
    const person = await fixture.person();
    const end = timestampFromDate(new Date(Date.now() + 3_600_000));
    const { key } = await person.keys.createApiKey({
      name: "ci",
      allowedTools: ["calculator"],
      allowedModels: ["small"],
      rateLimitPerMinute: 5,
      rateLimitPerDay: 50,
      maxConcurrent: 3,
      spendLimitUsd: 1.25,
      expiresAt: end,
    });
    expect((await fixture.holder(key)).identity).toMatchObject({
      allowedTools: ["calculator"],
      allowedModels: ["small"],
      rateLimitPerMinute: 5,
      rateLimitPerDay: 50,
      maxConcurrent: 3,
      spendLimitMicros: 1_250_000n,
    });
  });

  test("ends when it expires", async () => {
    const person = await fixture.person();
    const { key, apiKey } = await person.keys.createApiKey({ name: "ci" });
    await fixture.pool.query("update user_tokens set expires_at = now() - interval '1 second' where id = $1", [apiKey?.id]);
    expect(await refusalOf(fixture.holder(key))).toBe("TOKEN_EXPIRED");
  });

  test("is invalid once revoked, and so is its old secret once rotated", async () => {
    const person = await fixture.person();
    const { key, apiKey } = await person.keys.createApiKey({ name: "ci" });
    const { key: next } = await person.keys.rotateApiKey({ apiKeyId: apiKey?.id });
    expect(await refusalOf(fixture.holder(key))).toBe("INVALID_TOKEN");
    await expect(fixture.holder(next)).resolves.toBeDefined();
    await person.keys.revokeApiKey({ apiKeyId: apiKey?.id });
    expect(await refusalOf(fixture.holder(next))).toBe("INVALID_TOKEN");
    await expect(person.keys.revokeApiKey({ apiKeyId: apiKey?.id })).resolves.toMatchObject({ apiKey: { isRevoked: true } });
    expect(await refusalOf(person.keys.rotateApiKey({ apiKeyId: apiKey?.id }))).toBe("NOT_FOUND");
  });

  test("of another user is not found", async () => {
    const [person, stranger] = [await fixture.person(), await fixture.person()];
    const { key, apiKey } = await person.keys.createApiKey({ name: "ci" });
    expect(await refusalOf(stranger.keys.rotateApiKey({ apiKeyId: apiKey?.id }))).toBe("NOT_FOUND");
    expect(await refusalOf(stranger.keys.revokeApiKey({ apiKeyId: apiKey?.id }))).toBe("NOT_FOUND");
    await expect(fixture.holder(key)).resolves.toBeDefined();
  });

  test("of an admin is no admin", async () => {
    const admin = await fixture.person({ role: "admin" });
    await expect(admin.users.listUsers({})).resolves.toBeDefined();
    const { key } = await admin.keys.createApiKey({ name: "ci" });
    expect(await refusalOf((await fixture.holder(key)).users.listUsers({}))).toBe("PERMISSION_DENIED");
  });

  test("cannot be made by an account with the role agent", async () => {
    const agent = await fixture.person({ role: "agent" });
    expect(await refusalOf(agent.keys.createApiKey({ name: "ci" }))).toBe("PERMISSION_DENIED");
  });
});

describe("an API key that creates keys", () => {
  const limited = async () => {
    const person = await fixture.person();
    const expiresAt = timestampFromDate(new Date(Date.now() + 3_600_000));
    const { key, apiKey } = await person.keys.createApiKey({
      name: "parent",
      allowedTools: ["calculator"],
      allowedModels: ["small"],
      rateLimitPerMinute: 5,
      rateLimitPerDay: 50,
      expiresAt,
    });
    return { person, parentId: apiKey?.id ?? "", parent: await fixture.holder(key), expiresAt };
  };

  test("grants no more than it has", async () => {
    const { parent, expiresAt } = await limited();
    expect(await refusalOf(parent.keys.createApiKey({ name: "c", allowedTools: ["fetch_url"] }))).toBe("PERMISSION_DENIED");
    expect(await refusalOf(parent.keys.createApiKey({ name: "c", allowedModels: ["large"] }))).toBe("PERMISSION_DENIED");
    const later = timestampFromDate(new Date(Date.now() + 7_200_000));
    const asked = { name: "c", allowedTools: ["*"], rateLimitPerMinute: 1000, rateLimitPerDay: 1000, expiresAt: later };
    for (const init of [asked, { name: "d" }]) {
      const { key } = await parent.keys.createApiKey(init);
      const { identity } = await fixture.holder(key);
      expect(identity).toMatchObject({
        allowedTools: ["calculator"],
        allowedModels: ["small"],
        rateLimitPerMinute: 5,
        rateLimitPerDay: 50,
      });
      expect(identity.expiresAt && timestampDate(identity.expiresAt).getTime()).toBe(timestampDate(expiresAt).getTime());
    }
  });

  test("sees, rotates and revokes only itself and what it created", async () => {
    const { person, parent, parentId } = await limited();
    const { apiKey: full, key: fullKey } = await person.keys.createApiKey({ name: "full" });
    const { apiKey: child } = await parent.keys.createApiKey({ name: "child" });
    const { apiKeys } = await parent.keys.listApiKeys({});
    expect(apiKeys.map((one) => one.id).sort()).toEqual([parentId, child?.id].sort());
    expect(await refusalOf(parent.keys.rotateApiKey({ apiKeyId: full?.id }))).toBe("NOT_FOUND");
    expect(await refusalOf(parent.keys.revokeApiKey({ apiKeyId: full?.id }))).toBe("NOT_FOUND");
    await expect(fixture.holder(fullKey)).resolves.toBeDefined();
    await expect(parent.keys.rotateApiKey({ apiKeyId: child?.id })).resolves.toBeDefined();
    expect((await person.keys.listApiKeys({})).apiKeys).toHaveLength(3);
  });

  test("is listed in pages, each key once, and a page ends where its lists of models are long", async () => {
    const { person } = await limited();
    const allowedModels = Array.from({ length: 100 }, (_, index) => `${index}`.padEnd(200, "€"));
    const ids: (string | undefined)[] = [];
    for (let count = 0; count < 3; count += 1)
      ids.unshift((await person.keys.createApiKey({ name: "many", allowedModels })).apiKey?.id);
    await fixture.pool.query(
      "update user_tokens set allowed_models = array(select repeat('€', 600000) || n from generate_series(1, 2) " +
        "n) where id = any($1)",
      [ids],
    );
    const seen: string[] = [];
    let pages = 0;
    for (let cursor = "", isLast = false; !isLast; pages += 1) {
      const page = await person.keys.listApiKeys({ cursor });
      seen.push(...page.apiKeys.map(({ id }) => id));
      cursor = page.nextCursor;
      isLast = cursor === "";
    }
    expect(seen.slice(0, 3)).toEqual(ids);
    expect(seen).toHaveLength(4);
    expect(pages).toBe(3);
    expect((await person.keys.listApiKeys({ limit: 1 })).apiKeys).toHaveLength(1);
  });

  test("ends all its descendants when it is revoked", async () => {
    const { person, parent, parentId } = await limited();
    const { key: childKey } = await parent.keys.createApiKey({ name: "child" });
    const { key: grandchildKey } = await (await fixture.holder(childKey)).keys.createApiKey({ name: "grandchild" });
    await person.keys.revokeApiKey({ apiKeyId: parentId });
    expect(await refusalOf(fixture.holder(childKey))).toBe("INVALID_TOKEN");
    expect(await refusalOf(fixture.holder(grandchildKey))).toBe("INVALID_TOKEN");
  });

  test("hands on the chain of shared limits, its account's last", async () => {
    const { person, parent, parentId } = await limited();
    expect(parent.identity.sharedLimits).toEqual([]);
    const { key, apiKey } = await parent.keys.createApiKey({ name: "child", rateLimitPerMinute: 2, maxConcurrent: 3 });
    const child = await fixture.holder(key);
    const { key: grandchildKey } = await child.keys.createApiKey({ name: "grandchild", maxConcurrent: 9, spendLimitUsd: 2 });
    const { identity } = await fixture.holder(grandchildKey);
    expect(identity).toMatchObject({
      rateLimitPerMinute: 2,
      rateLimitPerDay: 50,
      maxConcurrent: 3,
      spendLimitMicros: 2_000_000n,
    });
    const chain = [
      { owner: { case: "apiKeyId", value: apiKey?.id }, rateLimitPerMinute: 2, rateLimitPerDay: 50, maxConcurrent: 3 },
      { owner: { case: "apiKeyId", value: parentId }, rateLimitPerMinute: 5, rateLimitPerDay: 50, maxConcurrent: 0 },
    ];
    expect(identity.sharedLimits).toMatchObject(chain);
    await fixture.pool.query("update users set rate_limit_per_day = 7, max_concurrent = 4 where id = $1", [person.userId]);
    const account = {
      owner: { case: "userId", value: person.userId },
      rateLimitPerMinute: 0,
      rateLimitPerDay: 7,
      maxConcurrent: 4,
    };
    expect((await fixture.holder(grandchildKey)).identity.sharedLimits).toMatchObject([...chain, account]);
    expect((await fixture.holder(person.accessToken)).identity.sharedLimits).toMatchObject([account]);
  });

  test("keeps the limits when a secret is replaced, and hides them where nothing is counted", async () => {
    const { parent } = await limited();
    const { key, apiKey } = await parent.keys.createApiKey({ name: "child" });
    const before = (await fixture.holder(key)).identity;
    const { key: next } = await parent.keys.rotateApiKey({ apiKeyId: apiKey?.id });
    const { identity, internalToken } = await fixture.anonymous().tokens.exchangeToken({ token: next });
    expect(identity).toEqual({ ...before, secretVersion: 2 });
    expect(Buffer.from(internalToken.split(".")[1] ?? "", "base64url").toString()).not.toContain("sharedLimits");
  });

  test("gives each descendant the lowest ceiling above it", async () => {
    const person = await fixture.person();
    const { key } = await person.keys.createApiKey({ name: "k", spendLimitUsd: 1, maxConcurrent: 2 });
    const parent = await fixture.holder(key);
    for (const [asked, own] of [
      [undefined, undefined],
      [0.25, 0.25],
      [5, 1],
    ] as const) {
      const { apiKey, key: childKey } = await parent.keys.createApiKey({ name: "child", spendLimitUsd: asked });
      expect(apiKey?.spendLimitUsd).toBe(own);
      expect((await fixture.holder(childKey)).identity).toMatchObject({
        spendLimitMicros: BigInt((own ?? 1) * 1e6),
        maxConcurrent: 2,
      });
    }
  });

  test("is at most the seventh of its line", async () => {
    const person = await fixture.person();
    let { key } = await person.keys.createApiKey({ name: "1" });
    for (let place = 2; place <= 8; place += 1)
      ({ key } = await (await fixture.holder(key)).keys.createApiKey({ name: `${place}` }));
    const last = await fixture.holder(key);
    expect(last.identity.sharedLimits).toHaveLength(7);
    await expect(last.keys.createApiKey({ name: "9" })).rejects.toThrow("This key is the 8th of its line and cannot create keys");
    expect(await refusalOf(last.keys.createApiKey({ name: "9" }))).toBe("PERMISSION_DENIED");
  });

  test("invalidates its descendants' cached identities when an operator changes its limits", async () => {
    const { parent, parentId } = await limited();
    const { key, apiKey } = await parent.keys.createApiKey({ name: "child" });
    const { apiKey: grandchild } = await (await fixture.holder(key)).keys.createApiKey({ name: "grandchild" });
    await fixture.pool.query("update user_tokens set rate_limit_per_minute = 1 where id = $1", [parentId]);
    const { revocations } = await fixture.anonymous().tokens.listRevocations({ seconds: 60 });
    const noted = revocations.map(({ tokenId }) => tokenId);
    expect(noted).toEqual(expect.arrayContaining([parentId, apiKey?.id, grandchild?.id]));
  });
});
