import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type AuthFixture, refusalOf, startAuth } from "../auth-fixture.ts";
import { lapseReservations } from "../store/spend.ts";

let fixture: AuthFixture;
beforeAll(async () => {
  fixture = await startAuth();
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
  it("is never passed, however many reserve at once", async () => {
    const { reserve, spent } = await ceilinged(0.001);
    const answers = await Promise.allSettled(Array.from({ length: 40 }, () => reserve(70)));
    const granted = answers.flatMap((answer) => (answer.status === "fulfilled" ? [Number(answer.value.grantedMicros)] : []));
    expect(granted.reduce((a, b) => a + b, 0)).toBe(1000);
    expect(granted.filter((amount) => amount !== 70)).toEqual([20]);
    expect(await refusalOf(reserve(1))).toBe("SPEND_LIMIT");
    expect(await spent()).toBe(0.001);
  });

  it("gets back what was reserved and not spent, once", async () => {
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

  it("counts a reservation that nobody settled as spent", async () => {
    const { reserve, settle, spent } = await ceilinged(0.001);
    const id = crypto.randomUUID();
    await reserve(400, id);
    await fixture.pool.query("update spend_reservations set expires_at = now() - interval '1 second' where id = $1", [id]);
    await lapseReservations(fixture.pool);
    await settle(id, 1);
    expect(await spent()).toBe(0.0004);
  });

  it("is for keys that have one and have not ended", async () => {
    const person = await fixture.person();
    const { key } = await person.keys.createApiKey({ name: "k" });
    const init = { reservationId: crypto.randomUUID(), amountMicros: 1n, ttlSeconds: 60 };
    expect(await refusalOf((await fixture.holder(key)).spend.reserveSpend(init))).toBe("INVALID_TOKEN");
    const { person: owner, reserve, tokenId } = await ceilinged(1);
    await owner.keys.revokeApiKey({ apiKeyId: tokenId });
    expect(await refusalOf(reserve(1))).toBe("INVALID_TOKEN");
  });
});

describe("usage", () => {
  it("adds up by day, model and token; a key sees its own, a stranger nothing", async () => {
    const { person, holder, reserve, settle, tokenId } = await ceilinged(1);
    const id = crypto.randomUUID();
    await reserve(500, id);
    await settle(id, 120);
    const session = { userId: person.userId, tokenId: person.identity.tokenId };
    const record = { ...used, ...session, model: "large", costMicros: 0n };
    await holder.spend.recordUsage({ records: [record, record, { ...record, userId: crypto.randomUUID() }] });
    const today = new Date().toISOString().slice(0, 10);
    const all = await person.usage.getUsage({});
    expect(all.usage).toMatchObject([
      { day: today, model: "small", tokenId, requests: 1n, promptTokens: 10n, completionTokens: 5n, costUsd: 0.00012 },
      {
        day: today,
        model: "large",
        tokenId: session.tokenId,
        requests: 2n,
        promptTokens: 20n,
        completionTokens: 10n,
        costUsd: 0,
      },
    ]);
    expect(all.total).toMatchObject({ requests: 3n, promptTokens: 30n, completionTokens: 15n, costUsd: 0.00012 });
    expect((await holder.usage.getUsage({})).usage.map((row) => row.model)).toEqual(["small"]);
    expect((await (await fixture.person()).usage.getUsage({})).usage).toEqual([]);
    expect((await person.usage.getUsage({ end: "2020-01-01", start: "2019-01-01" })).usage).toEqual([]);
    expect(await refusalOf(person.usage.getUsage({ start: "2026-02-30" }))).toBe("INVALID_REQUEST");
    expect(await refusalOf(person.usage.getUsage({ start: "yesterday" }))).toBe("INVALID_REQUEST");
  });

  it("is recorded by services only", async () => {
    const { createInProcessTransport } = await import("@turnwright/platform/in-process");
    const { createClient } = await import("@connectrpc/connect");
    const { SpendService } = await import("@turnwright/contract/auth/v1/usage_service");
    const { serverInterceptors } = await import("@turnwright/platform/interceptors");
    const { createInternalTokenVerifier, createServiceTokenVerifier } = await import("@turnwright/platform/tokens");
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
