import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AuthFixture, refusalOf, startAuthFixture } from "../../testing/auth.ts";

let fixture: AuthFixture;
beforeAll(async () => {
  fixture = await startAuthFixture();
});
afterAll(() => fixture.stop());

type NewKey = Parameters<Awaited<ReturnType<AuthFixture["person"]>>["keys"]["createApiKey"]>[0];

/** A key created with these clients, and the rights that it has itself. */
async function keyOf(maker: { keys: Awaited<ReturnType<AuthFixture["holder"]>>["keys"] }, init: NewKey = {}) {
  const { key, apiKey } = await maker.keys.createApiKey({ name: "k", ...init });
  return { ...(await fixture.holder(key)), key, id: apiKey?.id ?? "", apiKey };
}

/** A key and a line of `depth` descendants, each created by the one before. */
async function lineage(depth: number, init: NewKey = {}) {
  const person = await fixture.person();
  const keys = [await keyOf(person, init)];
  for (let level = 0; level < depth; level++) keys.push(await keyOf(keys.at(-1) as (typeof keys)[0]));
  return { person, keys };
}

const revocationsOf = async (ids: readonly string[]) => {
  const { rows } = await fixture.pool.query("select distinct token_id from revocations where token_id = any ($1)", [ids]);
  return rows.map((row) => row.token_id).sort();
};

describe("a key's scopes", () => {
  test("are part of its identity, survive a rotation, and are listed", async () => {
    const person = await fixture.person();
    const scopes = ["conversations:read", "keys"];
    const { id, identity, apiKey } = await keyOf(person, { scopes });
    expect(identity).toMatchObject({ scopes, mayApprove: false });
    expect(apiKey).toMatchObject({ scopes, mayApprove: false });
    const { key, apiKey: rotated } = await person.keys.rotateApiKey({ apiKeyId: id });
    expect(rotated?.scopes).toEqual(scopes);
    expect((await fixture.holder(key)).identity.scopes).toEqual(scopes);
    expect((await person.keys.listApiKeys({})).apiKeys).toMatchObject([{ id, scopes }]);
  });

  test("are all when none is listed, as for keys older than scopes", async () => {
    const person = await fixture.person();
    expect((await keyOf(person)).identity).toMatchObject({ scopes: [], mayApprove: false });
  });

  test("never exceed those of the key that creates it", async () => {
    const person = await fixture.person();
    const maker = await keyOf(person, { scopes: ["keys", "runs"] });
    for (const scopes of [["usage"], ["runs", "usage"], ["runs", "webhooks"]]) {
      expect(await refusalOf(maker.keys.createApiKey({ name: "c", scopes }))).toBe("PERMISSION_DENIED");
    }
    expect((await keyOf(maker)).identity.scopes).toEqual(["keys", "runs"]);
    const child = await keyOf(maker, { scopes: ["runs"] });
    expect(child.identity.scopes).toEqual(["runs"]);
    expect(await refusalOf(child.keys.createApiKey({ name: "c" }))).toBe("PERMISSION_DENIED");
    expect(await refusalOf(child.keys.listApiKeys({}))).toBe("PERMISSION_DENIED");
  });

  test.each(["", "*", "Runs", "runs ", "runs,usage", "conversations", "conversations:*", "admin"])(
    "do not include %j",
    async (scope) => {
      const person = await fixture.person();
      expect(await refusalOf(person.keys.createApiKey({ name: "k", scopes: [scope] }))).toBe("INVALID_REQUEST");
    },
  );

  test("apply to cached identities too when an operator changes them", async () => {
    const { id } = await keyOf(await fixture.person());
    await fixture.pool.query("update user_tokens set scopes = '{runs}' where id = $1", [id]);
    expect(await revocationsOf([id])).toEqual([id]);
  });
});

describe("may_approve", () => {
  test("can be given by a login, and handed on by a key that has it", async () => {
    const person = await fixture.person();
    const maker = await keyOf(person, { mayApprove: true });
    expect(maker.identity.mayApprove).toBe(true);
    expect((await keyOf(maker, { mayApprove: true })).identity.mayApprove).toBe(true);
    // Not handed on unless asked for.
    const child = await keyOf(maker);
    expect(child.identity.mayApprove).toBe(false);
    expect(await refusalOf(child.keys.createApiKey({ name: "c", mayApprove: true }))).toBe("PERMISSION_DENIED");
    expect(await refusalOf((await keyOf(person)).keys.createApiKey({ name: "c", mayApprove: true }))).toBe("PERMISSION_DENIED");
  });
});

describe("a family of keys", () => {
  test("is named after its first key, at any depth, and differs for each key created by a login", async () => {
    const { person, keys } = await lineage(3);
    expect(keys.map(({ identity }) => identity.familyId)).toEqual(keys.map(() => keys[0]?.id));
    const other = await keyOf(person);
    expect(other.identity.familyId).toBe(other.id);
    expect(person.identity.familyId).toBe(person.identity.tokenId);
  });

  const ends: Readonly<Record<string, (id: string) => Promise<unknown>>> = {
    "is revoked by a statement": (id) => fixture.pool.query("update user_tokens set is_revoked = true where id = $1", [id]),
    "is deleted by a statement": (id) => fixture.pool.query("delete from user_tokens where id = $1", [id]),
    "ends earlier by a statement": (id) =>
      fixture.pool.query("update user_tokens set expires_at = now() - interval '1 second' where id = $1", [id]),
  };
  test.each(Object.entries(ends))("ends below a key that %s, and every process is notified", async (what, end) => {
    const { person, keys } = await lineage(4);
    const [first, second, ...below] = keys as [(typeof keys)[0], (typeof keys)[0], ...typeof keys];
    await end(second.id);
    await expect(fixture.holder(first.key)).resolves.toBeDefined();
    const refusal = what === "ends earlier by a statement" ? "TOKEN_EXPIRED" : "INVALID_TOKEN";
    for (const { key } of [second, ...below]) expect(await refusalOf(fixture.holder(key))).toBe(refusal);
    const ids = [second, ...below].map((one) => one.id);
    expect(await revocationsOf(ids)).toEqual([...ids].sort());
    const { apiKeys } = await fixture.checkApiKeys([...ids, first.id]);
    expect(apiKeys.map(({ id }) => id)).toEqual([first.id]);
    // The account's other credentials stay valid.
    await expect(person.auth.getCurrentUser({})).resolves.toBeDefined();
  });

  test("ends with its account's keys when all of them are deleted at once", async () => {
    const { person, keys } = await lineage(3);
    await fixture.pool.query("delete from user_tokens where user_id = $1 and token_type = 'api_key'", [person.userId]);
    const ids = keys.map(({ id }) => id);
    expect(await revocationsOf(ids)).toEqual([...ids].sort());
  });

  test("of a thousand, each created by the one before, ends in one statement", async () => {
    const { keys } = await lineage(0);
    const [first] = keys as [(typeof keys)[0]];
    const ids = await fixture.pool.query<{ id: string }>(
      `with recursive made as (
         select $1::uuid as parent_id, gen_random_uuid() as id, 1 as depth
         union all
         select id, gen_random_uuid(), depth + 1 from made where depth < 1000
       )
       insert into user_tokens (id, parent_id, user_id, family_id, token_type, token_hash, rate_limit_per_minute, rate_limit_per_day)
       select made.id, made.parent_id, t.user_id, made.id, 'api_key', sha256(made.id::text::bytea), 1, 1
       from made, user_tokens t where t.id = $1 order by depth returning id`,
      [first.id],
    );
    await fixture.pool.query("update user_tokens set is_revoked = true where id = $1", [first.id]);
    const left = await fixture.pool.query(
      "select count(*)::integer as live from user_tokens where id = any ($1) and not is_revoked",
      [ids.rows.map(({ id }) => id)],
    );
    expect(left.rows).toEqual([{ live: 0 }]);
  });
});

describe("the check of API keys", () => {
  test("reports valid keys only, with their expiry, and only those of active accounts", async () => {
    const person = await fixture.person();
    const expiresAt = timestampFromDate(new Date(Date.now() + 3_600_000));
    const [lasting, ending, revoked] = [await keyOf(person), await keyOf(person, { expiresAt }), await keyOf(person)];
    await person.keys.revokeApiKey({ apiKeyId: revoked.id });
    const ids = [lasting.id, ending.id, revoked.id, person.identity.tokenId, crypto.randomUUID()];
    const { apiKeys } = await fixture.checkApiKeys(ids);
    expect(apiKeys.map(({ id }) => id).sort()).toEqual([lasting.id, ending.id].sort());
    expect(apiKeys.find(({ id }) => id === ending.id)?.expiresAt?.seconds).toBe(expiresAt.seconds);
    await fixture.pool.query("update users set is_active = false where id = $1", [person.userId]);
    expect((await fixture.checkApiKeys(ids)).apiKeys).toEqual([]);
  });

  const closings: Readonly<
    Record<string, { close: (id: string) => Promise<unknown>; reopen?: (id: string) => Promise<unknown> }>
  > = {
    "is disabled by an admin": {
      close: async (userId) => (await fixture.person({ role: "admin" })).users.updateUser({ userId, isActive: false }),
      reopen: async (userId) => (await fixture.person({ role: "admin" })).users.updateUser({ userId, isActive: true }),
    },
    "is disabled by a statement": {
      close: (id) => fixture.pool.query("update users set is_active = false where id = $1", [id]),
      reopen: (id) => fixture.pool.query("update users set is_active = true where id = $1", [id]),
    },
    "is deleted by a statement": { close: (id) => fixture.pool.query("delete from users where id = $1", [id]) },
  };
  test.each(Object.entries(closings))("reports an account that %s, and every process is notified", async (_what, one) => {
    const [person, other] = [await fixture.person(), await fixture.person()];
    await person.auth.logout({});
    const closed = async () => (await fixture.checkApiKeys([], [person.userId, other.userId])).closedUserIds;
    expect([await closed(), await revocationsOf([person.userId])]).toEqual([[], []]);
    // No credential is left that could be revoked.
    await one.close(person.userId);
    expect([await closed(), await revocationsOf([person.userId])]).toEqual([[person.userId], [person.userId]]);
    if (one.reopen === undefined) return;
    await one.reopen(person.userId);
    expect([await closed(), await revocationsOf([person.userId])]).toEqual([[], [person.userId]]);
  });
});
