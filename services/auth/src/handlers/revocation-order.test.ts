import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type AuthFixture, type Person, password, refusalOf, startAuthFixture } from "../../testing/auth.ts";
import { otherTransactions } from "../../testing/transactions.ts";
import { hashToken, newApiKey } from "../opaque-tokens.ts";

let fixture: AuthFixture;
beforeAll(async () => {
  fixture = await startAuthFixture();
});
afterAll(() => fixture.stop());

const others = otherTransactions(() => fixture.pool);
afterEach(() => others.rollBack());

const alone = "select id from users where id = $1 for no key update";
const shared = "select id from users where id = $1 for share";
const revokeSessions =
  "update user_tokens set is_revoked = true where user_id = $1 and token_type = 'refresh' and not is_revoked";
const live = async (userId: string) => {
  const { rows } = await fixture.pool.query<{ name: string }>(
    "select case token_type when 'refresh' then 'session' else name end as name from user_tokens where user_id = " +
      "$1 and not is_revoked order by 1",
    [userId],
  );
  return rows.map(({ name }) => name);
};

describe("while another transaction ends an account's credentials", () => {
  const attempts: Record<string, { make: (person: Person) => Promise<unknown>; refusal: string }> = {
    "a refresh": {
      make: ({ refreshToken }) => fixture.anonymous().auth.refresh({ refreshToken }),
      refusal: "INVALID_REFRESH_TOKEN",
    },
    "a key that is created": { make: ({ keys }) => keys.createApiKey({ name: "late" }), refusal: "INVALID_TOKEN" },
    "a key that is rotated": {
      make: async ({ keys, userId }) => {
        const { rows } = await fixture.pool.query<{ id: string }>(
          "select id from user_tokens where user_id = $1 and name = 'early'",
          [userId],
        );
        return keys.rotateApiKey({ apiKeyId: rows[0]?.id });
      },
      refusal: "INVALID_TOKEN",
    },
    "a change of password": {
      make: ({ auth }) => auth.changePassword({ currentPassword: password, newPassword: "another password" }),
      refusal: "INVALID_TOKEN",
    },
  };
  test.each(Object.entries(attempts))("%s waits, and creates nothing", async (_name, { make, refusal }) => {
    const person = await fixture.person();
    await person.keys.createApiKey({ name: "early" });
    const revoker = await others.begin(alone, [person.userId]);
    const attempt = refusalOf(make(person));
    await others.waits([attempt]);
    await revoker.query(revokeSessions, [person.userId]);
    await revoker.commit();
    expect(await attempt).toBe(refusal);
    expect(await live(person.userId)).toEqual(["early"]);
  });

  test("a login that has shown the old password waits, and creates no session", async () => {
    const { email, userId } = await fixture.person();
    const revoker = await others.begin("update users set password_hash = password_hash || ' ' where id = $1", [userId]);
    const attempt = refusalOf(fixture.anonymous().auth.login({ email, password }));
    await others.waits([attempt]);
    await revoker.query(revokeSessions, [userId]);
    await revoker.commit();
    expect(await attempt).toBe("INVALID_CREDENTIALS");
    expect(await live(userId)).toEqual([]);
  });

  test("a holder of a key's older secret creates nothing afterwards", async () => {
    const person = await fixture.person();
    const { key, apiKey } = await person.keys.createApiKey({ name: "k" });
    const thief = await fixture.holder(key);
    const { key: next } = await person.keys.rotateApiKey({ apiKeyId: apiKey?.id });
    expect(await refusalOf(thief.keys.createApiKey({ name: "child" }))).toBe("INVALID_TOKEN");
    expect(await refusalOf(thief.keys.rotateApiKey({ apiKeyId: apiKey?.id }))).toBe("INVALID_TOKEN");
    const owner = await fixture.holder(next);
    await expect(owner.keys.createApiKey({ name: "child" })).resolves.toBeDefined();
    await person.keys.rotateApiKey({ apiKeyId: apiKey?.id });
    expect(await live(person.userId)).toEqual(["child", "k", "session"]);
    await person.keys.rotateApiKey({ apiKeyId: apiKey?.id, revokeCreated: true });
    expect(await live(person.userId)).toEqual(["k", "session"]);
  });

  test("a key gets the rights that its creator has then, not those at admission", async () => {
    const person = await fixture.person();
    const { key, apiKey } = await person.keys.createApiKey({ name: "wide" });
    const holder = await fixture.holder(key);
    await fixture.pool.query("update user_tokens set allowed_tools = '{calculator}' where id = $1", [apiKey?.id]);
    const { apiKey: child } = await holder.keys.createApiKey({ name: "child" });
    expect(child?.allowedTools).toEqual(["calculator"]);
  });
});

describe("a transaction that ends credentials", () => {
  const insertKey = `insert into user_tokens (id, user_id, family_id, parent_id, token_type, token_hash, rate_limit_per_minute, rate_limit_per_day, name)
    values ($1, $2, $1, $3, 'api_key', $4, 1, 1, 'being made')`;
  const revocations: Record<string, (person: Person, keyId: string, admin: Person) => Promise<unknown>> = {
    "by revoking the key": ({ keys }, apiKeyId) => keys.revokeApiKey({ apiKeyId }),
    "by rotating it as a leaked one": ({ keys }, apiKeyId) => keys.rotateApiKey({ apiKeyId, revokeCreated: true }),
    "by disabling the account": ({ userId }, _keyId, admin) => admin.users.updateUser({ userId, isActive: false }),
    "by revoking all that it has": ({ userId }, _keyId, admin) => admin.users.revokeUserCredentials({ userId }),
  };
  test.each(Object.entries(revocations))("waits for a key that is being created, and ends it too, %s", async (_name, revoke) => {
    const [person, admin] = [await fixture.person(), await fixture.person({ role: "admin" })];
    const { apiKey } = await person.keys.createApiKey({ name: "k" });
    const maker = await others.begin(shared, [person.userId]);
    await maker.query(insertKey, [randomUUID(), person.userId, apiKey?.id, hashToken(newApiKey())]);
    const revoked = revoke(person, apiKey?.id ?? "", admin);
    await others.waits([revoked]);
    await maker.commit();
    await revoked;
    expect(await live(person.userId)).not.toContain("being made");
  });

  const ends: Record<string, (person: Person) => Promise<unknown>> = {
    "by a logout": ({ auth }) => auth.logout({}),
    "by ending it from the list": async ({ auth }) => {
      const [session] = (await auth.listSessions({})).sessions;
      return auth.revokeSession({ sessionId: session?.id });
    },
    "by a change of password": ({ auth }) => auth.changePassword({ currentPassword: password, newPassword: "another password" }),
    "by the reuse of a token": async ({ refreshToken }) => {
      const second = await fixture.anonymous().auth.refresh({ refreshToken });
      await fixture.anonymous().auth.refresh({ refreshToken: second.refreshToken });
      return refusalOf(fixture.anonymous().auth.refresh({ refreshToken }));
    },
  };
  test.each(Object.entries(ends))("waits for a session that is being refreshed, and ends it too, %s", async (_name, end) => {
    const person = await fixture.person();
    // The locks of a refresh whose child is not committed yet.
    const maker = await others.begin(shared, [person.userId]);
    const ended = end(person);
    await others.waits([ended]);
    await maker.query(
      `with old as (update user_tokens set is_revoked = true, rotated_at = now()
         where user_id = $1 and token_type = 'refresh' and not is_revoked returning id, family_id)
       insert into user_tokens (id, user_id, family_id, parent_id, token_type, token_hash, expires_at, rate_limit_per_minute, rate_limit_per_day)
       select gen_random_uuid(), $1, family_id, id, 'refresh', $2, now() + interval '1 hour', 1, 1 from old`,
      [person.userId, hashToken(newApiKey())],
    );
    await maker.commit();
    await ended;
    expect(await live(person.userId)).toEqual([]);
  });
});

describe("a key that an operator's SQL statement ends", () => {
  test.each(["update user_tokens set is_revoked = true where id = $1", "delete from user_tokens where id = $1"])(
    "takes its descendants along: %s",
    async (sql) => {
      const person = await fixture.person();
      const { key, apiKey } = await person.keys.createApiKey({ name: "k" });
      const { key: childKey } = await (await fixture.holder(key)).keys.createApiKey({ name: "child" });
      await (await fixture.holder(childKey)).keys.createApiKey({ name: "grandchild" });
      await fixture.pool.query(sql, [apiKey?.id]);
      expect(await live(person.userId)).toEqual(["session"]);
    },
  );
});
