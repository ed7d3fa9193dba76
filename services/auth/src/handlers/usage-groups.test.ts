import { afterAll, beforeAll, expect, test } from "vitest";
import { type AuthFixture, type Person, refusalOf, startAuthFixture } from "../../testing/auth.ts";

let fixture: AuthFixture;
let person: Person;
let admin: Person;
let keyId: string;
let key: Awaited<ReturnType<AuthFixture["holder"]>>;

/** Two models, the large one without a price, called by a login and by its key on two days. */
beforeAll(async () => {
  fixture = await startAuthFixture();
  person = await fixture.person();
  admin = await fixture.person({ role: "admin" });
  const made = await person.keys.createApiKey({ name: "=ci" });
  keyId = made.apiKey?.id ?? "";
  key = await fixture.holder(made.key);
  const record = { userId: person.userId, requests: 1n, promptTokens: 10n };
  await person.spend.recordUsage({
    records: [
      { ...record, tokenId: person.identity.tokenId, model: "small", costMicros: 5n },
      { ...record, tokenId: keyId, model: "small", costMicros: 5n },
      { ...record, tokenId: keyId, model: "large", unpricedRequests: 1n },
    ],
  });
  await fixture.pool.query("update usage set day = day - 1 where model = 'large'");
  await person.spend.recordUsage({
    records: [{ ...record, tokenId: keyId, model: "large", requests: 2n, unpricedRequests: 2n }],
  });
});
afterAll(() => fixture.stop());

test("usage is told by day, model and credential, with the key's name and whether its models have prices", async () => {
  const { usage, total } = await person.usage.getUsage({});
  expect(usage).toHaveLength(4);
  const cells = usage.map(({ model, tokenId, keyName, requests, priced }) => [model, tokenId, keyName, requests, priced]);
  expect(cells).toContainEqual(["small", person.identity.tokenId, "", 1n, true]);
  expect(cells).toContainEqual(["small", keyId, "=ci", 1n, true]);
  expect(cells.filter(([, , , , priced]) => priced === false)).toEqual([
    ["large", keyId, "=ci", 2n, false],
    ["large", keyId, "=ci", 1n, false],
  ]);
  expect(total).toMatchObject({ requests: 5n, priced: false, costUsd: 0.00001 });
  expect((await key.usage.getUsage({ groupBy: ["credential"] })).usage).toMatchObject([{ tokenId: keyId, requests: 4n }]);
});

test.each([
  [["day"], [{ requests: 4n, model: "", tokenId: "", keyName: "", priced: false }, { requests: 1n }]],
  [
    ["model"],
    [
      { model: "small", day: "", requests: 2n, priced: true, costUsd: 0.00001 },
      { model: "large", requests: 3n, priced: false },
    ],
  ],
  [["credential"], [{ requests: 1n }, { requests: 4n, keyName: "=ci", model: "", day: "" }]],
  [
    ["model", "day"],
    [{ model: "small" }, { model: "large", requests: 2n }, { model: "large", requests: 1n }],
  ],
])("usage is summed by %j", async (groupBy, rows) => {
  const { usage, total } = await person.usage.getUsage({ groupBy });
  const order = (list: readonly { requests?: bigint }[]) => list.toSorted((a, b) => Number(a.requests) - Number(b.requests));
  expect(groupBy.includes("credential") ? order(usage) : usage).toMatchObject(rows);
  expect(total?.requests).toBe(5n);
});

test("the names of API keys are told to other services, those of sessions are not, nor of keys that there are none", async () => {
  const tokenIds = [keyId, person.identity.tokenId, crypto.randomUUID()];
  expect((await person.keyNames.nameCredentials({ tokenIds })).apiKeys).toMatchObject([{ id: keyId, name: "=ci" }]);
  expect((await person.keyNames.nameCredentials({})).apiKeys).toEqual([]);
});

test("groups that usage of one user does not have are refused", async () => {
  for (const groupBy of [["user"], ["day", "day"], ["cost_micros"]])
    expect([groupBy, await refusalOf(person.usage.getUsage({ groupBy }))]).toEqual([groupBy, "INVALID_REQUEST"]);
});

test("admins see the names of keys and whether models have prices, in groups by credential", async () => {
  const { userId } = person;
  const { usage, total } = await admin.usage.listAllUsage({ userId, groupBy: ["credential"] });
  const cells = usage.map(({ tokenId, keyName, priced }) => [tokenId, keyName, priced]);
  expect(cells).toHaveLength(2);
  expect(cells).toContainEqual([keyId, "=ci", false]);
  expect(cells).toContainEqual([person.identity.tokenId, "", true]);
  expect(total?.priced).toBe(false);
  const [byModel] = (await admin.usage.listAllUsage({ userId, groupBy: ["model"] })).usage;
  expect(byModel).toMatchObject({ keyName: "", model: "small", priced: true });
});
