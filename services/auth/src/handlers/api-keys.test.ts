import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type AuthFixture, refusalOf, startAuth } from "../auth-fixture.ts";

let fixture: AuthFixture;
beforeAll(async () => {
  fixture = await startAuth();
});
afterAll(() => fixture.stop());

describe("an API key", () => {
  it("stands nowhere but in the answer that creates it", async () => {
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

  it("with a typing error is refused by its checksum", async () => {
    const person = await fixture.person();
    const { key } = await person.keys.createApiKey({ name: "ci" });
    const wrong = `${key.slice(0, 20)}${key[20] === "a" ? "b" : "a"}${key.slice(21)}`;
    expect(await refusalOf(fixture.holder(wrong))).toBe("INVALID_TOKEN");
    await expect(fixture.holder(key)).resolves.toBeDefined();
  });

  it("carries its own limits", async () => {
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

  it("ends when its time is over", async () => {
    const person = await fixture.person();
    const { key, apiKey } = await person.keys.createApiKey({ name: "ci" });
    await fixture.pool.query("update user_tokens set expires_at = now() - interval '1 second' where id = $1", [apiKey?.id]);
    expect(await refusalOf(fixture.holder(key))).toBe("INVALID_TOKEN");
  });

  it("works no more once it is revoked, and its old secret not once it is rotated", async () => {
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

  it("of another user is not found", async () => {
    const [person, stranger] = [await fixture.person(), await fixture.person()];
    const { key, apiKey } = await person.keys.createApiKey({ name: "ci" });
    expect(await refusalOf(stranger.keys.rotateApiKey({ apiKeyId: apiKey?.id }))).toBe("NOT_FOUND");
    expect(await refusalOf(stranger.keys.revokeApiKey({ apiKeyId: apiKey?.id }))).toBe("NOT_FOUND");
    await expect(fixture.holder(key)).resolves.toBeDefined();
  });

  it("of an admin is no admin", async () => {
    const admin = await fixture.person({ role: "admin" });
    await expect(admin.users.listUsers({})).resolves.toBeDefined();
    const { key } = await admin.keys.createApiKey({ name: "ci" });
    expect(await refusalOf((await fixture.holder(key)).users.listUsers({}))).toBe("PERMISSION_DENIED");
  });

  it("cannot be made by an account with the role agent", async () => {
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

  it("gives away no more than it has", async () => {
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

  it("sees, rotates and revokes only itself and what it created", async () => {
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

  it("takes them and theirs along when it is revoked", async () => {
    const { person, parent, parentId } = await limited();
    const { key: childKey } = await parent.keys.createApiKey({ name: "child" });
    const { key: grandchildKey } = await (await fixture.holder(childKey)).keys.createApiKey({ name: "grandchild" });
    await person.keys.revokeApiKey({ apiKeyId: parentId });
    expect(await refusalOf(fixture.holder(childKey))).toBe("INVALID_TOKEN");
    expect(await refusalOf(fixture.holder(grandchildKey))).toBe("INVALID_TOKEN");
  });

  it("cannot when it has a spend ceiling or a limit of concurrent requests", async () => {
    const person = await fixture.person();
    for (const init of [{ spendLimitUsd: 1 }, { maxConcurrent: 2 }]) {
      const { key } = await person.keys.createApiKey({ name: "k", ...init });
      expect(await refusalOf((await fixture.holder(key)).keys.createApiKey({ name: "child" }))).toBe("PERMISSION_DENIED");
    }
  });
});
