import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AuthFixture, refusalOf, startAuthFixture } from "../../testing/auth.ts";

let fixture: AuthFixture;
beforeAll(async () => {
  fixture = await startAuthFixture();
});
afterAll(() => fixture.stop());

describe("a change of an API key", () => {
  test("replaces what it names and keeps the rest, and a repeated one changes nothing more", async () => {
    const { keys } = await fixture.person();
    const made = await keys.createApiKey({ name: "ci", allowedTools: ["calculator"], rateLimitPerMinute: 5, spendLimitUsd: 2.5 });
    const apiKeyId = made.apiKey?.id ?? "";
    for (let round = 0; round < 2; round += 1) {
      const { apiKey } = await keys.updateApiKey({ apiKeyId, name: "nightly", scopes: ["completions"] });
      expect(apiKey).toMatchObject({ name: "nightly", allowedTools: ["calculator"], rateLimitPerMinute: 5, spendLimitUsd: 2.5 });
      expect(apiKey?.scopes).toEqual(["completions"]);
    }
    const { apiKey } = await keys.updateApiKey({ apiKeyId, allowedTools: ["*"], spendLimitUsd: 0, scopes: ["*"] });
    expect(apiKey).toMatchObject({ name: "nightly", allowedTools: [], scopes: [] });
    expect(apiKey?.spendLimitUsd).toBeUndefined();
    expect((await keys.getApiKey({ apiKeyId })).apiKey).toEqual(apiKey);
  });

  test("of its rights is announced, so that nothing known of the key elsewhere stays; one of its name is not", async () => {
    const { keys } = await fixture.person();
    const apiKeyId = (await keys.createApiKey({ name: "ci" })).apiKey?.id ?? "";
    const told: string[] = [];
    const unsubscribe = await fixture.bus.subscribe("auth.revoked", (text) => void told.push(text));
    await keys.updateApiKey({ apiKeyId, name: "renamed" });
    expect(told.filter((text) => text.includes(apiKeyId))).toEqual([]);
    await keys.updateApiKey({ apiKeyId, allowedTools: ["calculator"] });
    await expect.poll(() => told.filter((text) => text.includes(apiKeyId)).length).toBe(1);
    const { rows } = await fixture.pool.query("select from revocations where token_id = $1", [apiKeyId]);
    expect(rows).toHaveLength(1);
    await unsubscribe();
  });

  test("takes a new expiry, or none", async () => {
    const { keys } = await fixture.person();
    const end = timestampFromDate(new Date(Date.now() + 3_600_000));
    const apiKeyId = (await keys.createApiKey({ name: "ci" })).apiKey?.id ?? "";
    const { apiKey } = await keys.updateApiKey({ apiKeyId, expiresAt: end });
    expect(apiKey?.expiresAt && timestampDate(apiKey.expiresAt)).toEqual(timestampDate(end));
    expect((await keys.updateApiKey({ apiKeyId, neverExpires: true })).apiKey?.expiresAt).toBeUndefined();
    expect(await refusalOf(keys.updateApiKey({ apiKeyId, neverExpires: true, expiresAt: end }))).toBe("INVALID_REQUEST");
  });

  test("exceeds neither the calling key nor the key's creator, and goes not below the keys that the key created", async () => {
    const person = await fixture.person();
    const parent = await person.keys.createApiKey({
      name: "parent",
      allowedTools: ["a", "b"],
      scopes: ["keys", "tools"],
      maxConcurrent: 5,
    });
    const parentId = parent.apiKey?.id ?? "";
    const asParent = await fixture.holder(parent.key);
    const child = await asParent.keys.createApiKey({ name: "child", allowedTools: ["a"], scopes: ["tools"] });
    const childId = child.apiKey?.id ?? "";
    expect(child.apiKey?.parentId).toBe(parentId);
    for (const caller of [asParent, person]) {
      expect(await refusalOf(caller.keys.updateApiKey({ apiKeyId: childId, allowedTools: ["c"] }))).toBe("PERMISSION_DENIED");
      expect(await refusalOf(caller.keys.updateApiKey({ apiKeyId: childId, mayApprove: true }))).toBe("PERMISSION_DENIED");
      expect(await refusalOf(caller.keys.updateApiKey({ apiKeyId: childId, scopes: ["models"] }))).toBe("PERMISSION_DENIED");
    }
    expect((await person.keys.updateApiKey({ apiKeyId: childId, allowedTools: ["*"] })).apiKey?.allowedTools).toEqual(["a", "b"]);
    expect(await refusalOf(person.keys.updateApiKey({ apiKeyId: parentId, allowedTools: ["a"] }))).toBe("CONFLICT");
    // A key cannot give itself more.
    expect(await refusalOf(asParent.keys.updateApiKey({ apiKeyId: parentId, allowedTools: ["a", "b", "c"] }))).toBe(
      "PERMISSION_DENIED",
    );
    expect((await asParent.keys.updateApiKey({ apiKeyId: parentId, maxConcurrent: 50 })).apiKey?.maxConcurrent).toBe(5);
    await person.keys.revokeApiKey({ apiKeyId: childId });
    expect((await person.keys.updateApiKey({ apiKeyId: parentId, allowedTools: ["a"] })).apiKey?.allowedTools).toEqual(["a"]);
  });

  test("and a look at one reach only the keys of the caller", async () => {
    const [owner, other] = [await fixture.person(), await fixture.person()];
    const { apiKey, key } = await owner.keys.createApiKey({ name: "ci" });
    const apiKeyId = apiKey?.id ?? "";
    const sibling = (await owner.keys.createApiKey({ name: "sibling" })).apiKey?.id ?? "";
    const asKey = await fixture.holder(key);
    for (const [caller, id] of [
      [other, apiKeyId],
      [asKey, sibling],
    ] as const) {
      expect(await refusalOf(caller.keys.getApiKey({ apiKeyId: id }))).toBe("NOT_FOUND");
      expect(await refusalOf(caller.keys.updateApiKey({ apiKeyId: id, name: "x" }))).toBe("NOT_FOUND");
    }
    await owner.keys.revokeApiKey({ apiKeyId });
    expect(await refusalOf(owner.keys.updateApiKey({ apiKeyId, name: "x" }))).toBe("NOT_FOUND");
    expect((await owner.keys.getApiKey({ apiKeyId })).apiKey?.revokedAt).toBeDefined();
  });
});
