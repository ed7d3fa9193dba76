import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AuthFixture, password, refusalOf, startAuthFixture } from "../../testing/auth.ts";

let fixture: AuthFixture;
beforeAll(async () => {
  fixture = await startAuthFixture();
});
afterAll(() => fixture.stop());

/** The credentials whose end was broadcast while `work` ran. */
async function announced(work: () => Promise<unknown>): Promise<string[]> {
  const ids: string[] = [];
  const unsubscribe = await fixture.bus.subscribe("auth.revoked", (payload) => ids.push(JSON.parse(payload).token_id));
  await work();
  await new Promise(setImmediate);
  await unsubscribe();
  return ids;
}

describe("refresh tokens", () => {
  test("have one child while processes sign with different secrets of the mesh", async () => {
    const [present, next] = ["the-present-secret-of-this-mesh!", "the-next-secret-of-this-mesh!!!!"];
    const first = await startAuthFixture({ MESH_SECRET: present, MESH_SECRET_ACCEPTED: next });
    const second = await first.replica({ MESH_SECRET: next, MESH_SECRET_ACCEPTED: present });
    try {
      let { refreshToken } = await first.person();
      for (const [one, other] of [
        [first, second],
        [second, first],
      ] as const) {
        const refreshed = await one.anonymous().auth.refresh({ refreshToken });
        const repeated = await other.anonymous().auth.refresh({ refreshToken });
        expect(repeated.refreshToken).toBe(refreshed.refreshToken);
        const both = [first, second, first, second].map((process) =>
          process.anonymous().auth.refresh({ refreshToken: repeated.refreshToken }),
        );
        const [child, ...same] = await Promise.all(both);
        expect(new Set(same.map((answer) => answer.refreshToken))).toEqual(new Set([child?.refreshToken]));
        refreshToken = child?.refreshToken ?? "";
      }
    } finally {
      await second.stop();
      await first.stop();
    }
  });

  test("have one child, no matter how many refreshes come at once", async () => {
    const { refreshToken } = await fixture.person();
    const answers = await Promise.all(Array.from({ length: 50 }, () => fixture.anonymous().auth.refresh({ refreshToken })));
    expect(new Set(answers.map((answer) => answer.refreshToken)).size).toBe(1);
    const child = answers[0]?.refreshToken ?? "";
    expect(child).not.toBe(refreshToken);
    const { rows } = await fixture.pool.query(
      "select count(*)::int as count from user_tokens where family_id = (select family_id from user_tokens where " +
        "parent_id is not null order by created_at desc limit 1)",
    );
    expect(rows).toEqual([{ count: 2 }]);
    await expect(fixture.anonymous().auth.refresh({ refreshToken: child })).resolves.toMatchObject({ tokenType: "Bearer" });
  });

  test("end the whole family when one other than the direct parent is reused", async () => {
    const person = await fixture.person();
    const second = await fixture.anonymous().auth.refresh({ refreshToken: person.refreshToken });
    const third = await fixture.anonymous().auth.refresh({ refreshToken: second.refreshToken });
    const { tokenId } = (await fixture.holder(third.accessToken)).identity;
    let refusal = "";
    const ended = await announced(async () => {
      refusal = await refusalOf(fixture.anonymous().auth.refresh({ refreshToken: person.refreshToken }));
    });
    expect(refusal).toBe("INVALID_REFRESH_TOKEN");
    expect(ended).toEqual([tokenId]);
    expect(await refusalOf(fixture.anonymous().auth.refresh({ refreshToken: third.refreshToken }))).toBe("INVALID_REFRESH_TOKEN");
    expect(await refusalOf(fixture.holder(third.accessToken))).toBe("INVALID_TOKEN");
  });

  test("end the whole family when the direct parent is reused after its grace period", async () => {
    const { refreshToken } = await fixture.person();
    const { refreshToken: child } = await fixture.anonymous().auth.refresh({ refreshToken });
    await fixture.pool.query(
      "update user_tokens set rotated_at = rotated_at - interval '11 seconds' where rotated_at is not null",
    );
    expect(await refusalOf(fixture.anonymous().auth.refresh({ refreshToken }))).toBe("INVALID_REFRESH_TOKEN");
    expect(await refusalOf(fixture.anonymous().auth.refresh({ refreshToken: child }))).toBe("INVALID_REFRESH_TOKEN");
  });

  test("do not become valid again by the grace period after a logout", async () => {
    const person = await fixture.person();
    await fixture.anonymous().auth.refresh({ refreshToken: person.refreshToken });
    await person.auth.logout({});
    expect(await refusalOf(fixture.anonymous().auth.refresh({ refreshToken: person.refreshToken }))).toBe(
      "INVALID_REFRESH_TOKEN",
    );
  });

  test("are no access tokens, and access tokens and API keys are no refresh tokens", async () => {
    const person = await fixture.person();
    const { key } = await person.keys.createApiKey({ name: "k" });
    expect(await refusalOf(fixture.holder(person.refreshToken))).toBe("INVALID_TOKEN");
    expect(await refusalOf(fixture.anonymous().auth.refresh({ refreshToken: person.accessToken }))).toBe("INVALID_REFRESH_TOKEN");
    expect(await refusalOf(fixture.anonymous().auth.refresh({ refreshToken: key }))).toBe("INVALID_REFRESH_TOKEN");
  });
});

describe("sessions", () => {
  test("are listed, with the caller's own marked, and can be ended one by one", async () => {
    const person = await fixture.person();
    const other = await fixture.anonymous().auth.login({ email: person.email, password });
    const { sessions } = await person.auth.listSessions({});
    expect(sessions.map((session) => session.isCurrent).sort()).toEqual([false, true]);
    const otherId = sessions.find((session) => !session.isCurrent)?.id ?? "";
    expect(await announced(() => person.auth.revokeSession({ sessionId: otherId }))).toEqual([otherId]);
    expect(await refusalOf(fixture.holder(other.accessToken))).toBe("INVALID_TOKEN");
    expect(await refusalOf(fixture.anonymous().auth.refresh({ refreshToken: other.refreshToken }))).toBe("INVALID_REFRESH_TOKEN");
    expect((await person.auth.listSessions({})).sessions).toHaveLength(1);
    await expect(person.auth.revokeSession({ sessionId: otherId })).resolves.toBeDefined();
  });

  test("of another user are not found", async () => {
    const [person, stranger] = [await fixture.person(), await fixture.person()];
    const [session] = (await person.auth.listSessions({})).sessions;
    expect(await refusalOf(stranger.auth.revokeSession({ sessionId: session?.id }))).toBe("NOT_FOUND");
    expect((await person.auth.listSessions({})).sessions).toHaveLength(1);
  });

  test("cannot be managed with an API key", async () => {
    const person = await fixture.person();
    const { key } = await person.keys.createApiKey({ name: "k" });
    const holder = await fixture.holder(key);
    const newPassword = "another password";
    expect(await refusalOf(holder.auth.listSessions({}))).toBe("PERMISSION_DENIED");
    expect(await refusalOf(holder.auth.logout({}))).toBe("PERMISSION_DENIED");
    expect(await refusalOf(holder.auth.changePassword({ currentPassword: password, newPassword }))).toBe("PERMISSION_DENIED");
  });
});

describe("a change of password", () => {
  test("ends all sessions and leaves API keys", async () => {
    const person = await fixture.person();
    const other = await fixture.anonymous().auth.login({ email: person.email, password });
    const { key } = await person.keys.createApiKey({ name: "k" });
    const ended = await announced(() =>
      person.auth.changePassword({ currentPassword: password, newPassword: "another password" }),
    );
    expect(ended).toHaveLength(2);
    expect(await refusalOf(fixture.holder(person.accessToken))).toBe("INVALID_TOKEN");
    expect(await refusalOf(fixture.anonymous().auth.refresh({ refreshToken: other.refreshToken }))).toBe("INVALID_REFRESH_TOKEN");
    await expect(fixture.holder(key)).resolves.toBeDefined();
    expect(await refusalOf(fixture.anonymous().auth.login({ email: person.email, password }))).toBe("INVALID_CREDENTIALS");
    await expect(fixture.anonymous().auth.login({ email: person.email, password: "another password" })).resolves.toBeDefined();
  });

  test("needs the old password and a different new one", async () => {
    const person = await fixture.person();
    const wrong = person.auth.changePassword({ currentPassword: "not this one", newPassword: "another password" });
    expect(await refusalOf(wrong)).toBe("INVALID_CREDENTIALS");
    expect(await refusalOf(person.auth.changePassword({ currentPassword: password, newPassword: password }))).toBe(
      "INVALID_REQUEST",
    );
    await expect(person.auth.getCurrentUser({})).resolves.toBeDefined();
  });
});

describe("failed logins", () => {
  const wrong = (email: string, address: string): Promise<string> =>
    refusalOf(fixture.anonymous(address).auth.login({ email, password: "not this one" }));

  test("are limited to ten per account and address, also when concurrent; then the right password fails too", async () => {
    const { email } = await fixture.person();
    const answers = await Promise.all(Array.from({ length: 15 }, () => wrong(email, "198.51.100.1")));
    expect(answers.filter((answer) => answer === "INVALID_CREDENTIALS")).toHaveLength(10);
    expect(answers.filter((answer) => answer === "RATE_LIMITED")).toHaveLength(5);
    expect(await refusalOf(fixture.anonymous("198.51.100.1").auth.login({ email, password }))).toBe("RATE_LIMITED");
    await expect(fixture.anonymous("198.51.100.2").auth.login({ email, password })).resolves.toBeDefined();
  });

  test("count alike for accounts that do not exist", async () => {
    const email = "nobody@example.com";
    for (let i = 0; i < 10; i++) expect(await wrong(email, "198.51.100.3")).toBe("INVALID_CREDENTIALS");
    expect(await wrong(email, "198.51.100.3")).toBe("RATE_LIMITED");
  });

  test("are forgotten after 15 minutes, and after a successful login", async () => {
    const { email } = await fixture.person();
    const login = () => fixture.anonymous("198.51.100.4").auth.login({ email, password });
    for (let i = 0; i < 9; i++) await wrong(email, "198.51.100.4");
    await login();
    for (let i = 0; i < 10; i++) expect(await wrong(email, "198.51.100.4")).toBe("INVALID_CREDENTIALS");
    expect(await refusalOf(login())).toBe("RATE_LIMITED");
    await fixture.pool.query("update login_attempts set window_start = window_start - interval '16 minutes'");
    await expect(login()).resolves.toBeDefined();
  });

  test("do not lock others out of an account, but stop a distributed attack on it", async () => {
    const { email } = await fixture.person();
    const answers: string[] = [];
    for (let i = 0; i < 11; i++) {
      answers.push(...(await Promise.all(Array.from({ length: 10 }, (_, j) => wrong(email, `203.0.113.${i * 10 + j}`)))));
    }
    expect(answers.filter((answer) => answer === "INVALID_CREDENTIALS")).toHaveLength(100);
  });
});

describe("start-up", () => {
  test("creates the first admin once and never changes an existing account", async () => {
    const env = { ADMIN_EMAIL: "Root@Example.com", ADMIN_PASSWORD: "a long first password" };
    const own = await startAuthFixture(env);
    try {
      const { accessToken } = await own.anonymous().auth.login({ email: "root@example.com", password: env.ADMIN_PASSWORD });
      const admin = await own.holder(accessToken);
      await expect(admin.users.listUsers({})).resolves.toMatchObject({ users: [{ role: "admin" }] });
    } finally {
      await own.stop();
    }
  });

  test("requires both of the admin's variables", async () => {
    await expect(startAuthFixture({ ADMIN_EMAIL: "root@example.com" })).rejects.toThrow("ADMIN_PASSWORD");
  });
});
