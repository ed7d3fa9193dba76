import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AuthFixture, password, refusalOf, startAuthFixture } from "../../testing/auth.ts";

let fixture: AuthFixture;
beforeAll(async () => {
  fixture = await startAuthFixture();
});
afterAll(() => fixture.stop());

describe("accounts", () => {
  test("are for admins only", async () => {
    const person = await fixture.person();
    const answers = await Promise.all(
      [
        person.users.listUsers({}),
        person.users.getUser({ userId: person.userId }),
        person.users.updateUser({ userId: person.userId, role: "admin" }),
        person.users.revokeUserCredentials({ userId: person.userId }),
        person.users.resetUserPassword({ userId: person.userId }),
        person.tokens.rotateSigningKey({}),
      ].map(refusalOf),
    );
    expect(new Set(answers)).toEqual(new Set(["PERMISSION_DENIED"]));
  });

  test("are listed newest first, page by page, each once", async () => {
    const admin = await fixture.person({ role: "admin" });
    const made = [await fixture.person(), await fixture.person(), await fixture.person()].map((one) => one.userId);
    const seen: string[] = [];
    let cursor = "";
    do {
      const page = await admin.users.listUsers({ limit: 2, cursor });
      seen.push(...page.users.map((user) => user.id));
      cursor = page.nextCursor;
    } while (cursor !== "");
    expect(seen.slice(0, 3)).toEqual(made.reverse());
    expect(new Set(seen).size).toBe(seen.length);
    expect(await refusalOf(admin.users.listUsers({ cursor: "nonsense" }))).toBe("INVALID_REQUEST");
  });

  test("that are deactivated lose sessions and keys and cannot log in", async () => {
    const admin = await fixture.person({ role: "admin" });
    const person = await fixture.person();
    const { key } = await person.keys.createApiKey({ name: "k" });
    await admin.users.updateUser({ userId: person.userId, isActive: false });
    expect(await refusalOf(fixture.holder(key))).toBe("INVALID_TOKEN");
    expect(await refusalOf(fixture.holder(person.accessToken))).toBe("INVALID_TOKEN");
    expect(await refusalOf(fixture.anonymous().auth.refresh({ refreshToken: person.refreshToken }))).toBe(
      "INVALID_REFRESH_TOKEN",
    );
    expect(await refusalOf(fixture.anonymous().auth.login({ email: person.email, password }))).toBe("INVALID_CREDENTIALS");
    await admin.users.updateUser({ userId: person.userId, isActive: true });
    expect(await refusalOf(fixture.holder(key))).toBe("INVALID_TOKEN");
  });

  test("that get another role lose their sessions", async () => {
    const admin = await fixture.person({ role: "admin" });
    const person = await fixture.person();
    await expect(admin.users.updateUser({ userId: person.userId, role: "agent" })).resolves.toMatchObject({
      user: { role: "agent" },
    });
    expect(await refusalOf(fixture.holder(person.accessToken))).toBe("INVALID_TOKEN");
    expect(await refusalOf(admin.users.updateUser({ userId: person.userId, role: "root" }))).toBe("INVALID_REQUEST");
  });

  test("keep one admin, even when two remove each other's role at once", async () => {
    await fixture.pool.query("update users set role = 'user'");
    const [a, b] = [await fixture.person({ role: "admin" }), await fixture.person({ role: "admin" })];
    const answers = await Promise.all([
      refusalOf(a.users.updateUser({ userId: b.userId, role: "user" })),
      refusalOf(b.users.updateUser({ userId: a.userId, isActive: false })),
    ]);
    // The second is no longer an admin.
    expect(answers.toSorted()).toEqual(["INVALID_TOKEN", "no error"]);
    const last = answers[0] === "no error" ? a : b;
    expect(await refusalOf(last.users.updateUser({ userId: last.userId, isActive: false }))).toBe("CONFLICT");
  });

  test("lose all credentials by one call, which returns how many", async () => {
    await fixture.pool.query("update users set role = 'user'");
    const admin = await fixture.person({ role: "admin" });
    const person = await fixture.person();
    const { key } = await person.keys.createApiKey({ name: "k" });
    await expect(admin.users.revokeUserCredentials({ userId: person.userId })).resolves.toMatchObject({
      sessions: 1,
      apiKeys: 1,
    });
    expect(await refusalOf(fixture.holder(key))).toBe("INVALID_TOKEN");
    expect(await refusalOf(admin.users.revokeUserCredentials({ userId: crypto.randomUUID() }))).toBe("NOT_FOUND");
  });
});
