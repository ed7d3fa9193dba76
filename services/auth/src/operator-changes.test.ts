import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AuthFixture, password, refusalOf, startAuthFixture } from "../testing/auth.ts";
import { demoteByOperator, promoteByOperator, resetByOperator } from "./operator-changes.ts";

let fixture: AuthFixture;
beforeAll(async () => {
  fixture = await startAuthFixture();
});
afterAll(() => fixture.stop());

const events = async () => {
  const { rows } = await fixture.pool.query<{ count: number }>("select count(*)::int as count from audit_log");
  return rows[0]?.count;
};

describe("changes by an operator", () => {
  test("activate a deactivated account only on demand", async () => {
    const { email, userId } = await fixture.person();
    await fixture.pool.query("update users set is_active = false where id = $1", [userId]);
    expect(await refusalOf(promoteByOperator(fixture.pool, { email, activate: false }))).toBe("CONFLICT");
    expect(await refusalOf(fixture.anonymous().auth.login({ email, password }))).toBe("INVALID_CREDENTIALS");
    await promoteByOperator(fixture.pool, { email, activate: true });
    await expect(fixture.anonymous().auth.login({ email, password })).resolves.toMatchObject({ user: { role: "admin" } });
  });

  test("that change nothing end no session and leave the log as it is", async () => {
    const admin = await fixture.person({ role: "admin" });
    const agent = await fixture.person({ role: "agent" });
    const before = await events();
    const promoted = await promoteByOperator(fixture.pool, { email: admin.email, activate: false });
    const demoted = await demoteByOperator(fixture.pool, { email: agent.email });
    expect([promoted.changed, demoted.changed, demoted.user.role]).toEqual([false, false, "agent"]);
    expect(await events()).toBe(before);
    await expect(fixture.holder(admin.accessToken)).resolves.toBeDefined();
  });

  test("demote one of several admins, whose invites end", async () => {
    const [former] = [await fixture.person({ role: "admin" }), await fixture.person({ role: "admin" })];
    const { invite } = await former.invites.createInvite({});
    await demoteByOperator(fixture.pool, { email: former.email });
    expect(await refusalOf(fixture.holder(former.accessToken))).toBe("INVALID_TOKEN");
    expect(
      await refusalOf(fixture.anonymous().auth.register({ email: "x@example.com", password, invite: invite?.id ?? "" })),
    ).toBe("INVALID_INVITE");
  });

  test("revoke API keys with a reset where that is asked for, and leave nothing of a reset that fails", async () => {
    const person = await fixture.person();
    const { key } = await person.keys.createApiKey({ name: "k" });
    await expect(resetByOperator(fixture.pool, { email: person.email, revokeApiKeys: true })).resolves.toMatchObject({
      sessions: 1,
      apiKeys: 1,
    });
    expect(await refusalOf(fixture.holder(key))).toBe("INVALID_TOKEN");
    expect(await refusalOf(resetByOperator(fixture.pool, { email: "no@example.com", revokeApiKeys: true }))).toBe("NOT_FOUND");
  });

  test("of two admins at once leave one of them", async () => {
    await fixture.pool.query("update users set role = 'user'");
    const both = [await fixture.person({ role: "admin" }), await fixture.person({ role: "admin" })];
    const answers = await Promise.all(both.map(({ email }) => refusalOf(demoteByOperator(fixture.pool, { email }))));
    expect(answers.toSorted()).toEqual(["CONFLICT", "no error"]);
  });
});
