import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AuthFixture, type Person, refusalOf, startAuthFixture } from "../../testing/auth.ts";

let fixture: AuthFixture;
let admin: Person;
let people: Person[];
const tokens = ["00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"];

/** Three people use two models with two credentials on three days: 36 rows of 1, 2, … requests at 10 micros each. */
beforeAll(async () => {
  fixture = await startAuthFixture();
  admin = await fixture.person({ role: "admin" });
  people = [await fixture.person(), await fixture.person(), await fixture.person()];
  let n = 0;
  for (const { userId } of people)
    for (const day of ["2026-01-01", "2026-01-02", "2026-02-01"])
      for (const model of ["Groß", "mini"])
        for (const tokenId of tokens) {
          n += 1;
          await fixture.pool.query(
            `insert into usage (user_id, token_id, day, model, requests, prompt_tokens, completion_tokens, cost_micros, estimated_tokens)
             values ($1, $2, $3, $4, $5, $6, $7, $8, 1)`,
            [userId, tokenId, day, model, n, n * 2, n * 3, n * 10],
          );
        }
});
afterAll(() => fixture.stop());

const january = { start: "2026-01-01", end: "2026-01-31" };
const all = { start: "2026-01-01", end: "2026-02-28" };

/** All pages of a report, and the requests of its total on each page. */
async function pagesOf(request: Parameters<Person["usage"]["listAllUsage"]>[0]) {
  const rows: object[] = [];
  const totals = new Set<bigint | undefined>();
  const sizes: number[] = [];
  let cursor = "";
  do {
    const page = await admin.usage.listAllUsage({ ...request, cursor });
    rows.push(...page.usage.map(({ day, userId, model, tokenId, requests }) => ({ day, userId, model, tokenId, requests })));
    totals.add(page.total?.requests);
    sizes.push(page.usage.length);
    cursor = page.nextCursor;
  } while (cursor !== "");
  return { rows, totals: [...totals], sizes };
}

describe("the usage of all users", () => {
  test("is for admins' logins only", async () => {
    expect(await refusalOf(people[0]?.usage.listAllUsage({}) ?? Promise.resolve())).toBe("PERMISSION_DENIED");
    const { key } = await admin.keys.createApiKey({ name: "k" });
    const holder = await fixture.holder(key);
    expect(await refusalOf(holder.usage.listAllUsage({}))).toBe("PERMISSION_DENIED");
  });

  test("is summed by day, user and model unless asked otherwise", async () => {
    const { usage, total, nextCursor } = await admin.usage.listAllUsage(all);
    expect(usage).toHaveLength(18);
    expect(usage.map(({ day }) => day)).toEqual(
      usage
        .map(({ day }) => day)
        .toSorted()
        .toReversed(),
    );
    expect(usage.every(({ tokenId, userId, model }) => tokenId === "" && userId !== "" && model !== "")).toBe(true);
    const first = usage.find(
      ({ userId, day, model }) => userId === people[0]?.userId && day === "2026-01-01" && model === "Groß",
    );
    expect(first).toMatchObject({ requests: 3n, promptTokens: 6n, completionTokens: 9n, costUsd: 0.00003, estimatedTokens: 2n });
    // 1 + 2 + … + 36
    expect(total).toMatchObject({
      requests: 666n,
      promptTokens: 1332n,
      completionTokens: 1998n,
      costUsd: 0.00666,
      estimatedTokens: 36n,
    });
    expect(nextCursor).toBe("");
  });

  test.each([
    [["day"], 3],
    [["user"], 3],
    [["model"], 2],
    [["credential"], 2],
    [["user", "model"], 6],
    [["model", "day"], 6],
    [["day", "user", "model", "credential"], 36],
  ])("in groups by %j has each row once, whatever the size of pages", async (groupBy, count) => {
    const whole = await admin.usage.listAllUsage({ ...all, groupBy, limit: 1000 });
    expect(whole.usage).toHaveLength(count);
    expect(whole.usage.reduce((sum, { requests }) => sum + requests, 0n)).toBe(666n);
    for (const limit of [1, 5]) {
      const { rows, totals, sizes } = await pagesOf({ ...all, groupBy, limit });
      expect(rows).toEqual(
        whole.usage.map(({ day, userId, model, tokenId, requests }) => ({ day, userId, model, tokenId, requests })),
      );
      expect(totals).toEqual([666n]);
      expect(sizes.slice(0, -1).every((size) => size === limit)).toBe(true);
    }
  });

  test("is of the days and the user that were asked for", async () => {
    const days = await admin.usage.listAllUsage({ ...january, groupBy: ["day"] });
    expect(days.usage.map(({ day }) => day)).toEqual(["2026-01-02", "2026-01-01"]);
    const { userId = "" } = people[1] ?? {};
    const one = await admin.usage.listAllUsage({ ...all, userId, groupBy: ["user"] });
    expect(one.usage).toMatchObject([{ userId, day: "", model: "", tokenId: "" }]);
    // 13 + … + 24
    expect(one.total?.requests).toBe(222n);
    const nobody = await admin.usage.listAllUsage({ ...all, userId: crypto.randomUUID() });
    expect(nobody).toMatchObject({ usage: [], total: { requests: 0n, costUsd: 0 }, nextCursor: "" });
  });

  test("of the last 31 days is reported when no days are named", async () => {
    await admin.spend.recordUsage({
      records: [{ userId: admin.userId, tokenId: tokens[0], model: "today", requests: 7n }],
    });
    const { usage, total } = await admin.usage.listAllUsage({});
    expect(usage).toMatchObject([{ model: "today", userId: admin.userId, requests: 7n }]);
    expect(total?.requests).toBe(7n);
  });

  test("is read back when sums are larger than what a number holds", async () => {
    const { userId } = await fixture.person();
    for (const tokenId of tokens) {
      await fixture.pool.query(
        `insert into usage (user_id, token_id, day, model, requests, prompt_tokens, completion_tokens, cost_micros)
         values ($1, $2, '2020-01-01', 'm', 9007199254740991, 1, 1, 1)`,
        [userId, tokenId],
      );
    }
    const days = { start: "2020-01-01", end: "2020-01-01" };
    const { usage, total } = await admin.usage.listAllUsage(days);
    expect([usage[0]?.requests, total?.requests]).toEqual([9007199254740991n, 9007199254740991n]);
  });

  test("is refused for days that do not exist or are too many, unknown groups and foreign cursors", async () => {
    const refused: [object, string][] = [
      [{ start: "2026-02-30" }, "no such day"],
      [{ end: "0000-01-01" }, "no year 0"],
      [{ start: "2025-01-01", end: "2026-01-02" }, "367 days"],
      [{ groupBy: ["email"] }, "unknown group"],
      [{ groupBy: ["day", "day"] }, "twice"],
      [{ limit: 0 }, "no rows"],
      [{ limit: 1001 }, "too many rows"],
      [{ userId: "me" }, "no id"],
    ];
    for (const [request, why] of refused) {
      expect([why, await refusalOf(admin.usage.listAllUsage(request))]).toEqual([why, "INVALID_REQUEST"]);
    }
    await expect(admin.usage.listAllUsage({ start: "2025-01-01", end: "2026-01-01" })).resolves.toBeDefined();
    const { nextCursor } = await admin.usage.listAllUsage({ ...all, limit: 1, groupBy: ["day"] });
    const cursorOf = (content: unknown) => Buffer.from(JSON.stringify(content)).toString("base64url");
    const [id] = tokens;
    const cursors = [
      "nonsense",
      "bnVsbA",
      cursorOf(["day,user,model", "2026-02-30", id, "", id]),
      cursorOf(["day,user,model", "0000-01-01", id, "", id]),
    ];
    for (const cursor of [nextCursor, ...cursors, cursorOf(["day,user,model", "2026-01-01", id, "\0", id])]) {
      expect(await refusalOf(admin.usage.listAllUsage({ ...all, cursor }))).toBe("INVALID_REQUEST");
    }
  });
});
