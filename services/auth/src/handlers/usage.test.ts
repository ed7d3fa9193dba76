import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AuthFixture, type Caller, refusalOf, startAuthFixture } from "../../testing/auth.ts";
import { lapseReservations } from "../store/spend.ts";

let fixture: AuthFixture;
beforeAll(async () => {
  fixture = await startAuthFixture();
});
afterAll(() => fixture.stop());

const used = { model: "small", requests: 1n, promptTokens: 10n, completionTokens: 5n };

async function ceilinged(spendLimitUsd: number) {
  const person = await fixture.person();
  const { key, apiKey } = await person.keys.createApiKey({ name: "k", spendLimitUsd });
  const holder = await fixture.holder(key);
  const { userId, tokenId } = holder.identity;
  const reserve = (amount: number, reservationId = crypto.randomUUID()) =>
    holder.spend.reserveSpend({ reservationId, amountMicros: BigInt(amount), ttlSeconds: 60 });
  const settle = (reservationId: string, cost: number) =>
    holder.spend.settleSpend({ reservationId, usage: { ...used, userId, tokenId, costMicros: BigInt(cost) } });
  const spent = async () => (await person.keys.listApiKeys({})).apiKeys.find((one) => one.id === apiKey?.id)?.spentUsd;
  return { person, holder, tokenId, reserve, settle, spent };
}

describe("a spend ceiling", () => {
  test("is never passed, no matter how many reserve at once", async () => {
    const { reserve, spent } = await ceilinged(0.001);
    const answers = await Promise.allSettled(Array.from({ length: 40 }, () => reserve(70)));
    const granted = answers.flatMap((answer) => (answer.status === "fulfilled" ? [Number(answer.value.grantedMicros)] : []));
    expect(granted.reduce((a, b) => a + b, 0)).toBe(1000);
    expect(granted.filter((amount) => amount !== 70)).toEqual([20]);
    expect(await refusalOf(reserve(1))).toBe("SPEND_LIMIT");
    expect(await spent()).toBe(0.001);
  });

  test("is credited once with money reserved and not spent", async () => {
    const { reserve, settle, spent } = await ceilinged(0.001);
    const id = crypto.randomUUID();
    await reserve(600, id);
    await reserve(300, id);
    expect(await spent()).toBe(0.0009);
    await settle(id, 250);
    await settle(id, 250);
    expect(await spent()).toBe(0.00025);
    await expect(reserve(1000)).resolves.toMatchObject({ grantedMicros: 750n });
  });

  test("counts a reservation that nobody settled as spent", async () => {
    const { reserve, settle, spent } = await ceilinged(0.001);
    const id = crypto.randomUUID();
    await reserve(400, id);
    await fixture.pool.query("update spend_reservations set expires_at = now() - interval '1 second' where id = $1", [id]);
    await lapseReservations(fixture.pool);
    await settle(id, 1);
    expect(await spent()).toBe(0.0004);
  });

  test("needs a valid key with a ceiling", async () => {
    const person = await fixture.person();
    const { key } = await person.keys.createApiKey({ name: "k" });
    const init = { reservationId: crypto.randomUUID(), amountMicros: 1n, ttlSeconds: 60 };
    expect(await refusalOf((await fixture.holder(key)).spend.reserveSpend(init))).toBe("INVALID_TOKEN");
    const { person: owner, reserve, tokenId } = await ceilinged(1);
    await owner.keys.revokeApiKey({ apiKeyId: tokenId });
    expect(await refusalOf(reserve(1))).toBe("INVALID_TOKEN");
  });
});

describe("ceilings above a key", () => {
  /** A family under one ceiling: a parent, and children with the same ceiling or none of their own. */
  async function family(ceilings: readonly (number | undefined)[], parentUsd = 0.001) {
    const person = await fixture.person();
    const { key, apiKey } = await person.keys.createApiKey({ name: "parent", spendLimitUsd: parentUsd });
    const parent = await fixture.holder(key);
    const members = await Promise.all(
      ceilings.map(async (spendLimitUsd) => {
        const created = await parent.keys.createApiKey({ name: "child", spendLimitUsd });
        return { ...(await fixture.holder(created.key)), id: created.apiKey?.id ?? "" };
      }),
    );
    const spentBy = async () =>
      Object.fromEntries((await person.keys.listApiKeys({})).apiKeys.map((one) => [one.id, Math.round(one.spentUsd * 1e6)]));
    return { person, parent, parentId: apiKey?.id ?? "", members, spentBy };
  }

  const reserve = ({ spend }: Caller, amount: number, reservationId: string = crypto.randomUUID()) =>
    spend.reserveSpend({ reservationId, amountMicros: BigInt(amount), ttlSeconds: 60 });

  test("apply to all its descendants together, no matter how many reserve at once", async () => {
    const { parent, parentId, members, spentBy } = await family([undefined, 0.001, 0.001, 0.0002]);
    const answers = await Promise.allSettled(
      Array.from({ length: 60 }, (_, i) => reserve([...members, parent][i % 5] as Caller, 70)),
    );
    const granted = answers.flatMap((answer) => (answer.status === "fulfilled" ? [Number(answer.value.grantedMicros)] : []));
    expect(granted.reduce((a, b) => a + b, 0)).toBe(1000);
    for (const answer of answers) if (answer.status === "rejected") expect(String(answer.reason)).toContain("is reached");
    const spent = await spentBy();
    expect(spent[parentId]).toBe(1000);
    expect(spent[members[3]?.id ?? ""]).toBeLessThanOrEqual(200);
    for (const member of [...members, parent]) expect(await refusalOf(reserve(member, 1))).toBe("SPEND_LIMIT");
  });

  test("are each credited once with unspent money, and charged with overspending", async () => {
    const { person, parentId, members, spentBy } = await family([0.0005]);
    const [child] = members as [(typeof members)[0]];
    const { key } = await child.keys.createApiKey({ name: "grandchild" });
    const grandchild = await fixture.holder(key);
    const { userId, tokenId } = grandchild.identity;
    const settle = (reservationId: string, cost: number) =>
      grandchild.spend.settleSpend({ reservationId, usage: { ...used, userId, tokenId, costMicros: BigInt(cost) } });
    const [first, second] = [crypto.randomUUID(), crypto.randomUUID()];
    expect(await reserve(grandchild, 300, first)).toMatchObject({ grantedMicros: 300n });
    expect(await reserve(grandchild, 300, first)).toMatchObject({ grantedMicros: 200n });
    await Promise.all([settle(first, 100), settle(first, 100), settle(first, 100)]);
    expect(await spentBy()).toEqual({ [parentId]: 100, [child.id]: 100, [tokenId]: 0 });
    await reserve(grandchild, 50, second);
    await settle(second, 90);
    expect(await spentBy()).toEqual({ [parentId]: 190, [child.id]: 190, [tokenId]: 0 });
    const usage = [expect.objectContaining({ tokenId, requests: 2n, costUsd: 0.00019 })];
    for (const member of [person, child, grandchild]) expect((await member.usage.getUsage({})).usage).toEqual(usage);
    const { key: sibling } = await person.keys.createApiKey({ name: "sibling" });
    expect((await (await fixture.holder(sibling)).usage.getUsage({})).usage).toEqual([]);
  });

  test("of an account apply to its sessions and keys together; admins set and see them", async () => {
    const admin = await fixture.person({ role: "admin" });
    const person = await fixture.person();
    const { key } = await person.keys.createApiKey({ name: "k", spendLimitUsd: 1 });
    const { userId } = person;
    const { user } = await admin.users.updateUser({ userId, limits: { spendLimitUsd: 0.001, rateLimitPerMinute: 9 } });
    expect(user?.limits).toMatchObject({ spendLimitUsd: 0.001, rateLimitPerMinute: 9 });
    expect(user?.limits?.rateLimitPerDay).toBeUndefined();
    const { identity } = await fixture.holder(person.accessToken);
    expect(identity).toMatchObject({ spendLimitMicros: 1000n, sharedLimits: [{ rateLimitPerMinute: 9 }] });
    const holders = [await fixture.holder(key), person, await fixture.holder(key)];
    const id = crypto.randomUUID();
    await reserve(person, 100, id);
    const answers = await Promise.allSettled(Array.from({ length: 40 }, (_, i) => reserve(holders[i % 3] as Caller, 70)));
    const granted = answers.flatMap((answer) => (answer.status === "fulfilled" ? [Number(answer.value.grantedMicros)] : []));
    expect(granted.reduce((a, b) => a + b, 0)).toBe(900);
    const { tokenId } = person.identity;
    await person.spend.settleSpend({ reservationId: id, usage: { ...used, userId, tokenId, costMicros: 40n } });
    expect((await admin.users.getUser({ userId })).user?.spentUsd).toBe(0.00094);
    // New limits replace all previous ones; an account without a ceiling has none to reserve under.
    const { user: after } = await admin.users.updateUser({ userId, limits: {} });
    expect(after?.limits).toBeUndefined();
    expect(await refusalOf(reserve(person, 1))).toBe("INVALID_TOKEN");
    await admin.users.updateUser({ userId, name: "Another" });
    for (const limits of [{ rateLimitPerMinute: -1 }, { spendLimitUsd: Number.NaN }, { maxConcurrent: 1e6 }]) {
      expect(await refusalOf(admin.users.updateUser({ userId, limits }))).toBe("INVALID_REQUEST");
    }
  });

  test("are locked in one order, so reservations and revocations do not deadlock", async () => {
    const { person, parentId, members } = await family(new Array(6).fill(0.001), 1);
    const ids = members.map(() => crypto.randomUUID());
    const rounds = members.map(async (member, i) => {
      const { userId, tokenId } = member.identity;
      for (let round = 0; round < 15; round += 1) {
        const id = round === 0 ? (ids[i] as string) : crypto.randomUUID();
        await reserve(member, 5, id);
        await member.spend.settleSpend({ reservationId: id, usage: { ...used, userId, tokenId, costMicros: 1n } });
      }
    });
    await Promise.all(rounds);
    const { apiKeys } = await person.keys.listApiKeys({});
    expect(apiKeys.find(({ id }) => id === parentId)?.spentUsd).toBe(0.00009);
  });
});

describe("money reserved before a migration", () => {
  test("is settled under its key afterwards", async () => {
    const own = await startAuthFixture();
    try {
      const person = await own.person();
      const { key, apiKey } = await person.keys.createApiKey({ name: "k", spendLimitUsd: 0.001 });
      const holder = await own.holder(key);
      const { userId, tokenId } = holder.identity;
      const reservationId = crypto.randomUUID();
      await holder.spend.reserveSpend({ reservationId, amountMicros: 600n, ttlSeconds: 60 });
      for (const direction of ["down", "up"]) {
        const file = new URL(`../../../../migrations/auth/000006_account_limits.${direction}.sql`, import.meta.url);
        await own.pool.query(readFileSync(file, "utf8"));
      }
      await holder.spend.settleSpend({ reservationId, usage: { ...used, userId, tokenId, costMicros: 150n } });
      const { apiKeys } = await person.keys.listApiKeys({});
      expect(apiKeys.find(({ id }) => id === apiKey?.id)?.spentUsd).toBe(0.00015);
    } finally {
      await own.stop();
    }
  });
});

describe("usage", () => {
  test("is summed by day, model and token; a key sees its own, another user nothing", async () => {
    const { person, holder, reserve, settle, tokenId } = await ceilinged(1);
    const id = crypto.randomUUID();
    await reserve(500, id);
    await settle(id, 120);
    const session = { userId: person.userId, tokenId: person.identity.tokenId };
    const record = { ...used, ...session, model: "large", costMicros: 0n, estimatedTokens: 4n };
    await holder.spend.recordUsage({ records: [record, record, { ...record, userId: crypto.randomUUID() }] });
    const today = new Date().toISOString().slice(0, 10);
    const all = await person.usage.getUsage({});
    expect(all.usage).toMatchObject([
      {
        day: today,
        model: "small",
        tokenId,
        requests: 1n,
        promptTokens: 10n,
        completionTokens: 5n,
        estimatedTokens: 0n,
        costUsd: 0.00012,
      },
      {
        day: today,
        model: "large",
        tokenId: session.tokenId,
        requests: 2n,
        promptTokens: 20n,
        completionTokens: 10n,
        estimatedTokens: 8n,
        costUsd: 0,
      },
    ]);
    expect(all.total).toMatchObject({
      requests: 3n,
      promptTokens: 30n,
      completionTokens: 15n,
      estimatedTokens: 8n,
      costUsd: 0.00012,
    });
    expect((await holder.usage.getUsage({})).usage.map((row) => row.model)).toEqual(["small"]);
    expect((await (await fixture.person()).usage.getUsage({})).usage).toEqual([]);
    expect((await person.usage.getUsage({ end: "2020-01-01", start: "2019-01-01" })).usage).toEqual([]);
    expect(await refusalOf(person.usage.getUsage({ start: "2026-02-30" }))).toBe("INVALID_REQUEST");
    expect(await refusalOf(person.usage.getUsage({ start: "yesterday" }))).toBe("INVALID_REQUEST");
  });

  test("is recorded by services only", async () => {
    const { createInProcessTransport } = await import("@turnwright/platform/rpc/in-process");
    const { createClient } = await import("@connectrpc/connect");
    const { SpendService } = await import("@turnwright/contract/auth/v1/usage_service");
    const { serverInterceptors } = await import("@turnwright/platform/rpc/interceptors");
    const { createInternalTokenVerifier } = await import("@turnwright/platform/identity/internal-token");
    const { createServiceTokenVerifier } = await import("@turnwright/platform/identity/service-token");
    const { createLogger } = await import("@turnwright/platform/logger");
    const interceptors = serverInterceptors({
      logger: createLogger({ service: "test", level: "silent" }),
      internalTokens: createInternalTokenVerifier(fixture.auth.keySource),
      serviceTokens: createServiceTokenVerifier("a-secret-of-32-characters-for-tests"),
    });
    const outside = createClient(SpendService, createInProcessTransport({ mounts: fixture.auth.mounts, interceptors }));
    expect(await refusalOf(outside.recordUsage({ records: [] }))).toBe("PERMISSION_DENIED");
  });
});

test("a count that no sum can hold makes neither the account nor its batch unreadable", async () => {
  const [person, other] = [await fixture.person(), await fixture.person()];
  const [odd, fine] = [await fixture.holder(person.accessToken), await fixture.holder(other.accessToken)];
  const record = ({ identity: { userId, tokenId } }: typeof odd, promptTokens: bigint) => ({
    ...used,
    userId,
    tokenId,
    promptTokens,
    costMicros: 0n,
  });
  const most = 9_223_372_036_854_775_807n;
  for (let times = 0; times < 12; times += 1) {
    await odd.spend.recordUsage({ records: [...Array.from({ length: 900 }, () => record(odd, most)), record(fine, 10n)] });
  }
  expect((await odd.usage.getUsage({})).usage).toMatchObject([{ promptTokens: 9_007_199_254_740_991n, requests: 10_800n }]);
  expect((await fine.usage.getUsage({})).usage).toMatchObject([{ promptTokens: 120n }]);
  expect(await refusalOf(odd.spend.recordUsage({ records: [record(odd, -1n)] }))).toBe("INVALID_REQUEST");
});
