import { idempotencyKeyHeader } from "@turnwright/platform/rpc/idempotency-key";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AuthFixture, type Person, password, refusalOf, startAuthFixture } from "../../testing/auth.ts";

let fixture: AuthFixture;
let admin: Person;
beforeAll(async () => {
  fixture = await startAuthFixture();
  admin = await fixture.person({ role: "admin" });
});
afterAll(() => fixture.stop());

const login = (email: string, secret: string) => fixture.anonymous().auth.login({ email, password: secret });
const lastEvent = async () => {
  const { rows } = await fixture.pool.query<{ event: string }>("select event from audit_log order by seq desc limit 1");
  return rows[0]?.event ?? "";
};

describe("a password that an admin resets", () => {
  test("is a random one, shown once, and ends the sessions but not the API keys", async () => {
    const person = await fixture.person();
    const { key } = await person.keys.createApiKey({ name: "k" });
    const reset = await admin.users.resetUserPassword({ userId: person.userId });
    expect(reset).toMatchObject({ password: expect.stringMatching(/^[0-9A-Za-z]{24}$/), sessions: 1, apiKeys: 0 });
    expect(await refusalOf(fixture.holder(person.accessToken))).toBe("INVALID_TOKEN");
    expect(await refusalOf(fixture.anonymous().auth.refresh({ refreshToken: person.refreshToken }))).toBe(
      "INVALID_REFRESH_TOKEN",
    );
    expect(await refusalOf(login(person.email, password))).toBe("INVALID_CREDENTIALS");
    expect((await login(person.email, reset.password)).user?.id).toBe(person.userId);
    await expect(fixture.holder(key)).resolves.toBeDefined();
    expect((await admin.users.resetUserPassword({ userId: person.userId })).password).not.toBe(reset.password);
  });

  test("is announced to the other parts, and read by them from the database within the second", async () => {
    const person = await fixture.person();
    const announced: string[] = [];
    const stop = await fixture.bus.subscribe("auth.revoked", (text) => announced.push(JSON.parse(text).token_id));
    await admin.users.resetUserPassword({ userId: person.userId });
    await stop();
    const { revocations } = await fixture.anonymous().tokens.listRevocations({ seconds: 30 });
    expect(announced).toEqual([person.identity.tokenId]);
    expect(revocations.map(({ tokenId }) => tokenId)).toContain(person.identity.tokenId);
  });

  test("is the given one, which the response does not repeat and which obeys the rules of passwords", async () => {
    const person = await fixture.person();
    const { userId } = person;
    await expect(admin.users.resetUserPassword({ userId, newPassword: "AnotherPass456" })).resolves.toMatchObject({
      password: "",
    });
    await login(person.email, "AnotherPass456");
    for (const newPassword of ["", "short", "x".repeat(129)]) {
      expect(await refusalOf(admin.users.resetUserPassword({ userId, newPassword }))).toBe("INVALID_REQUEST");
    }
    await login(person.email, "AnotherPass456");
  });

  test("ends API keys and open invites where that is asked for", async () => {
    const other = await fixture.person({ role: "admin" });
    const { key } = await other.keys.createApiKey({ name: "k" });
    const { invite } = await other.invites.createInvite({});
    const reset = await admin.users.resetUserPassword({ userId: other.userId, revokeApiKeys: true });
    expect(reset).toMatchObject({ sessions: 1, apiKeys: 1 });
    expect(await refusalOf(fixture.holder(key))).toBe("INVALID_TOKEN");
    const { invites } = await admin.invites.listInvites({});
    expect(invites.find(({ id }) => id === invite?.id)?.revokedAt).toBeDefined();
  });

  test("is in the audit log with both accounts and without the password", async () => {
    const person = await fixture.person();
    const { password: made } = await admin.users.resetUserPassword({ userId: person.userId });
    const event = await lastEvent();
    expect(JSON.parse(event)).toMatchObject({
      action: "password.reset",
      outcome: "success",
      actor_id: admin.userId,
      subject: person.userId,
      details: { sessions: 1, api_keys: 0, invites: 0 },
    });
    expect(event).not.toContain(made);
  });

  test("is never that of the caller, nor of an account that does not exist", async () => {
    const answers = await Promise.all([
      refusalOf(admin.users.resetUserPassword({ userId: admin.userId })),
      refusalOf(admin.users.resetUserPassword({ userId: crypto.randomUUID() })),
    ]);
    expect(answers).toEqual(["PERMISSION_DENIED", "NOT_FOUND"]);
    await login(admin.email, password);
  });

  test("leaves a deactivated account deactivated", async () => {
    const person = await fixture.person();
    await admin.users.updateUser({ userId: person.userId, isActive: false });
    const reset = await admin.users.resetUserPassword({ userId: person.userId });
    expect(await refusalOf(login(person.email, reset.password))).toBe("INVALID_CREDENTIALS");
  });

  test("is the same for a request repeated under its key, which ends no later session", async () => {
    const person = await fixture.person();
    const options = { headers: { [idempotencyKeyHeader]: crypto.randomUUID() } };
    const first = await admin.users.resetUserPassword({ userId: person.userId }, options);
    const { accessToken } = await login(person.email, first.password);
    const second = await admin.users.resetUserPassword({ userId: person.userId }, options);
    expect(second).toEqual(first);
    await expect(fixture.holder(accessToken)).resolves.toBeDefined();
  });

  test("is refused to admins who have lost the role since", async () => {
    const former = await fixture.person({ role: "admin" });
    const person = await fixture.person();
    await fixture.pool.query("update users set role = 'user' where id = $1", [former.userId]);
    expect(await refusalOf(former.users.resetUserPassword({ userId: person.userId }))).toBe("INVALID_TOKEN");
    await login(person.email, password);
  });
});
