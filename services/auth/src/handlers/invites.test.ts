import { randomUUID } from "node:crypto";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { idempotencyKeyHeader } from "@turnwright/platform/rpc/idempotency-key";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type AuthFixture, type Person, password, refusalOf, startAuthFixture } from "../../testing/auth.ts";
import { otherTransactions } from "../../testing/transactions.ts";

let fixture: AuthFixture;
let admin: Person;
const first = { ADMIN_EMAIL: "root@example.com", ADMIN_PASSWORD: "a long first password" };
beforeAll(async () => {
  fixture = await startAuthFixture({ REGISTRATION: "invite", ...first });
  admin = await adminOf(fixture);
});
afterAll(() => fixture.stop());
const others = otherTransactions(() => fixture.pool);
afterEach(() => others.rollBack());

/** The admin from the environment, and one more admin for each test in which a caller may lose that role. */
async function adminOf(own: AuthFixture): Promise<Person> {
  const login = { email: first.ADMIN_EMAIL, password: first.ADMIN_PASSWORD };
  const { accessToken, refreshToken, user } = await own.anonymous().auth.login(login);
  const holder = await own.holder(accessToken);
  return { ...holder, userId: user?.id ?? "", email: login.email, accessToken, refreshToken };
}
async function anotherAdmin(): Promise<Person> {
  const email = newEmail();
  const { user } = await admin.users.createUser({ email, password, role: "admin" });
  const { accessToken, refreshToken } = await fixture.anonymous().auth.login({ email, password });
  return { ...(await fixture.holder(accessToken)), userId: user?.id ?? "", email, accessToken, refreshToken };
}

const newEmail = () => `${randomUUID()}@example.com`;
let addresses = 0;
/** Each from its own address, so that passwords are hashed concurrently. */
const register = (init: { invite?: string; email?: string } = {}, from = fixture, options = {}) =>
  from
    .anonymous(`198.51.100.${++addresses % 256}`)
    .auth.register({ email: newEmail(), password, name: "A person", ...init }, options);
const events = async (action: string) => {
  const { rows } = await fixture.pool.query<{ event: string }>("select event from audit_log order by seq");
  return rows.map(({ event }) => JSON.parse(event)).filter((event) => event.action === action);
};

describe("registration by invite", () => {
  test("is refused without an invite, and with one that does not exist", async () => {
    expect(await refusalOf(register())).toBe("REGISTRATION_CLOSED");
    expect(await refusalOf(register({ invite: "inv-nonsense" }))).toBe("INVALID_INVITE");
  });

  test("uses an invite once, no matter how many try at once", async () => {
    const { secret, invite } = await admin.invites.createInvite({});
    const answers = await Promise.all(Array.from({ length: 12 }, () => refusalOf(register({ invite: secret }))));
    expect(answers.toSorted()).toEqual([...Array.from({ length: 11 }, () => "INVALID_INVITE"), "no error"]);
    expect(await refusalOf(register({ invite: secret }))).toBe("INVALID_INVITE");
    const { invites } = await admin.invites.listInvites({});
    const used = invites.find(({ id }) => id === invite?.id);
    expect(used).toMatchObject({ createdBy: admin.userId, usedAt: expect.anything() });
    const [event] = (await events("user.registered")).slice(-1);
    expect(event).toMatchObject({ subject: used?.usedBy, details: { invite: invite?.id } });
  });

  test("returns the same response to a repetition under its key, and uses the invite once", async () => {
    const { secret } = await admin.invites.createInvite({});
    const request = { email: newEmail(), invite: secret };
    const under = { headers: { [idempotencyKeyHeader]: randomUUID() } };
    const answers = await Promise.all(Array.from({ length: 5 }, () => register(request, fixture, under)));
    answers.push(await register(request, fixture, under));
    expect(new Set(answers.map(({ user }) => user?.id)).size).toBe(1);
  });

  test("keeps the invite when the account cannot be created", async () => {
    const { secret } = await admin.invites.createInvite({});
    expect(await refusalOf(register({ invite: secret, email: admin.email }))).toBe("EMAIL_TAKEN");
    await expect(register({ invite: secret })).resolves.toBeDefined();
  });

  test("accepts an invite for an address from that address only, in upper or lower case", async () => {
    const email = newEmail();
    const { secret } = await admin.invites.createInvite({ email: email.toUpperCase().replace("EXAMPLE.COM", "example.com") });
    expect(await refusalOf(register({ invite: secret }))).toBe("INVALID_INVITE");
    await expect(register({ invite: secret, email })).resolves.toMatchObject({ user: { email } });
  });

  test("accepts no revoked or expired invite", async () => {
    const { secret, invite } = await admin.invites.createInvite({});
    await expect(admin.invites.revokeInvite({ inviteId: invite?.id })).resolves.toMatchObject({
      invite: { revokedAt: expect.anything() },
    });
    await expect(admin.invites.revokeInvite({ inviteId: invite?.id })).resolves.toBeDefined();
    expect(await refusalOf(register({ invite: secret }))).toBe("INVALID_INVITE");
    expect(await events("invite.revoked")).toHaveLength(1);
    const { secret: late, invite: ended } = await admin.invites.createInvite({});
    await fixture.pool.query("update invites set expires_at = now() - interval '1 second' where id = $1", [ended?.id]);
    expect(await refusalOf(register({ invite: late }))).toBe("INVALID_INVITE");
  });

  test("accepts no invite of a former admin", async () => {
    for (const change of [{ role: "user" }, { isActive: false }, undefined] as const) {
      const maker = await anotherAdmin();
      const { secret } = await maker.invites.createInvite({});
      if (change) await admin.users.updateUser({ userId: maker.userId, ...change });
      else await admin.users.revokeUserCredentials({ userId: maker.userId });
      expect(await refusalOf(register({ invite: secret }))).toBe("INVALID_INVITE");
      // Regaining the role does not make the invite valid again.
      await admin.users.updateUser({ userId: maker.userId, role: "admin", isActive: true });
      expect(await refusalOf(register({ invite: secret }))).toBe("INVALID_INVITE");
    }
    const maker = await anotherAdmin();
    const { secret } = await maker.invites.createInvite({});
    await fixture.pool.query("update users set is_active = false where id = $1", [maker.userId]);
    expect(await refusalOf(register({ invite: secret }))).toBe("INVALID_INVITE");
  });

  test("uses an invite once even when all have found it unused", async () => {
    const { secret } = await admin.invites.createInvite({});
    const holder = await others.begin("select id from users where id = $1 for no key update", [admin.userId]);
    const attempts = Array.from({ length: 3 }, () => refusalOf(register({ invite: secret })));
    await others.waits(attempts);
    await holder.commit();
    expect((await Promise.all(attempts)).toSorted()).toEqual(["INVALID_INVITE", "INVALID_INVITE", "no error"]);
  });

  test("waits for an admin who is losing the power, and accepts none of their invites", async () => {
    const maker = await anotherAdmin();
    const { secret } = await maker.invites.createInvite({});
    const change = await others.begin("update users set role = 'user' where id = $1", [maker.userId]);
    const attempt = refusalOf(register({ invite: secret }));
    await others.waits([attempt]);
    await change.commit();
    expect(await attempt).toBe("INVALID_INVITE");
  });

  test("creates one account or none when the invite is revoked, or its creator loses the power, at the same time", async () => {
    for (let round = 0; round < 20; round++) {
      const maker = await anotherAdmin();
      const { secret, invite } = await maker.invites.createInvite({});
      const revoke =
        round % 2 === 0
          ? admin.invites.revokeInvite({ inviteId: invite?.id })
          : admin.users.updateUser({ userId: maker.userId, role: "user" });
      const [answer] = await Promise.all([refusalOf(register({ invite: secret })), revoke]);
      const { rows } = await fixture.pool.query("select used_at is not null as used from invites where id = $1", [invite?.id]);
      expect(rows).toEqual([{ used: answer === "no error" }]);
    }
  });
});

describe("an invite", () => {
  test("appears only in the response that creates it", async () => {
    const { secret, invite } = await admin.invites.createInvite({});
    expect(secret).toMatch(/^inv-[\w-]{43}$/);
    const { rows } = await fixture.pool.query<{ row: string }>(
      "select i::text as row from invites i union all select event from audit_log",
    );
    expect(rows.length).toBeGreaterThan(1);
    expect(rows.some(({ row }) => row.includes(secret.slice(4)))).toBe(false);
    expect((await events("invite.created")).at(-1)).toMatchObject({ subject: invite?.id, details: { is_bound: false } });
  });

  test("expires within a year, in seven days by default", async () => {
    const days = (count: number) => timestampFromDate(new Date(Date.now() + count * 86_400_000));
    expect(await refusalOf(admin.invites.createInvite({ expiresAt: days(400) }))).toBe("INVALID_REQUEST");
    expect(await refusalOf(admin.invites.createInvite({ expiresAt: { seconds: 250_000_000_000n, nanos: 0 } }))).toBe(
      "INVALID_REQUEST",
    );
    expect(await refusalOf(admin.invites.createInvite({ expiresAt: days(-1) }))).toBe("INVALID_REQUEST");
    const { invite } = await admin.invites.createInvite({});
    const left = Number(invite?.expiresAt?.seconds) * 1000 - Date.now();
    expect(left / 86_400_000).toBeCloseTo(7, 1);
  });

  test("is listed once, newest first, page by page; an unknown one is not found", async () => {
    const made = [];
    for (let i = 0; i < 3; i++) made.push((await admin.invites.createInvite({})).invite?.id);
    const seen: (string | undefined)[] = [];
    let cursor = "";
    do {
      const page = await admin.invites.listInvites({ limit: 2, cursor });
      seen.push(...page.invites.map(({ id }) => id));
      cursor = page.nextCursor;
    } while (cursor !== "");
    expect(seen.slice(0, 3)).toEqual(made.toReversed());
    expect(new Set(seen).size).toBe(seen.length);
    expect(await refusalOf(admin.invites.revokeInvite({ inviteId: randomUUID() }))).toBe("NOT_FOUND");
  });

  test("can be created by an admin, but not by one who was an admin a moment ago", async () => {
    const maker = await anotherAdmin();
    const email = newEmail();
    await admin.users.createUser({ email, password });
    const { accessToken } = await fixture.anonymous().auth.login({ email, password });
    expect(await refusalOf((await fixture.holder(accessToken)).invites.createInvite({}))).toBe("PERMISSION_DENIED");
    const theirs = newEmail();
    for (const change of [{ role: "user" }, { role: "admin" }]) {
      await fixture.pool.query("update users set role = $2 where id = $1", [maker.userId, change.role]);
      const answers = [
        maker.invites.createInvite({}),
        maker.users.createUser({ email: theirs, password }),
        maker.users.updateUser({ userId: maker.userId, role: "admin" }),
      ].map(refusalOf);
      const expected = change.role === "admin" ? "no error" : "INVALID_TOKEN";
      expect(await Promise.all(answers)).toEqual(answers.map(() => expected));
    }
    await admin.users.revokeUserCredentials({ userId: maker.userId });
    expect(await refusalOf(maker.invites.createInvite({}))).toBe("INVALID_TOKEN");
  });
});

describe("registration that is closed", () => {
  test("is refused even with an invite, and no invite is created; admins create accounts", async () => {
    const own = await startAuthFixture({ REGISTRATION: "closed", ...first });
    try {
      const root = await adminOf(own);
      expect(await refusalOf(register({}, own))).toBe("REGISTRATION_CLOSED");
      expect(await refusalOf(register({ invite: "inv-any" }, own))).toBe("REGISTRATION_CLOSED");
      expect(await refusalOf(root.invites.createInvite({}))).toBe("REGISTRATION_CLOSED");
      const email = newEmail();
      await expect(root.users.createUser({ email, password, name: "N", role: "agent" })).resolves.toMatchObject({
        user: { email, name: "N", role: "agent", isActive: true },
      });
      await expect(own.anonymous().auth.login({ email, password })).resolves.toMatchObject({ user: { role: "agent" } });
      expect(await refusalOf(root.users.createUser({ email, password }))).toBe("EMAIL_TAKEN");
    } finally {
      await own.stop();
    }
  });
});

describe("registration that is open", () => {
  test("needs no invite, but refuses an invalid one", async () => {
    const own = await startAuthFixture({ ...first });
    try {
      await expect(register({}, own)).resolves.toBeDefined();
      expect(await refusalOf(register({ invite: "inv-any" }, own))).toBe("INVALID_INVITE");
      const { secret } = await (await adminOf(own)).invites.createInvite({});
      await expect(register({ invite: secret }, own)).resolves.toBeDefined();
      expect(await refusalOf(register({ invite: secret }, own))).toBe("INVALID_INVITE");
    } finally {
      await own.stop();
    }
  });

  test("is enabled by no other value of the setting", async () => {
    await expect(startAuthFixture({ REGISTRATION: "private" })).rejects.toThrow("REGISTRATION");
  });
});
