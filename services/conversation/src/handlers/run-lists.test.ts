import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { TokenType } from "@turnwright/contract/auth/v1/identity";
import { type RunInfo, RunStatus } from "@turnwright/contract/conversation/v1/run";
import { listStart } from "@turnwright/platform/postgres/keyset-cursor";
import { uuidv7 } from "@turnwright/platform/uuid";
import { beforeEach, describe, expect, test } from "vitest";
import { ErrorReason, type Person, reasonFor } from "../../testing/conversation.ts";
import { fixture, useConversation } from "../../testing/use-conversation.ts";
import { listAllRuns } from "../store/all-runs.ts";
import { runListSql } from "../store/run-list.ts";

useConversation({ max: 4 });

let person: Person;
beforeEach(() => {
  person = fixture.person();
});

type Asked = Parameters<Person["conversations"]["listRuns"]>[0];

/** A run of a new conversation, completed by an agent and a model. */
async function answered({ message = "Hello", agent = "general", model = "small", by = person } = {}): Promise<string> {
  const context = await by.begin({ message });
  const messages = [{ id: uuidv7(), role: "assistant", content: "Hi" }];
  await by.commit(context, { status: RunStatus.COMPLETED, agent, model, messages, events: [{ type: "completed", messages: 1 }] });
  return context.run?.id ?? "";
}

async function failed(reason: string): Promise<string> {
  const context = await person.begin();
  const events = [{ type: "failed", payload: JSON.stringify({ reason: `ERROR_REASON_${reason}` }) }];
  await person.commit(context, { status: RunStatus.FAILED, error: "It broke.", events });
  return context.run?.id ?? "";
}

const idsOf = async (asked: Asked) => (await person.conversations.listRuns(asked)).runs.map(({ id }) => id);
const runOf = async (runId: string): Promise<RunInfo> => {
  const { run } = await person.conversations.getRun({ runId });
  if (run === undefined) throw new Error("no run");
  return run;
};

describe("a list of runs", () => {
  test("has those that fit each field, and those alone that fit all of them", async () => {
    const general = await answered();
    const research = await answered({ agent: "research", model: "large" });
    const broken = await failed("MODEL_FAILED");
    const late = await failed("DEADLINE_EXCEEDED");
    const live = (await person.begin()).run?.id ?? "";
    const key = fixture.through(person, {});
    const ofKey = await answered({ by: key, agent: "research" });
    expect(await idsOf({})).toEqual([ofKey, live, late, broken, research, general]);
    expect(await idsOf({ status: "failed" })).toEqual([late, broken]);
    expect(await idsOf({ status: "failed", statuses: ["running", "failed"] })).toEqual([live, late, broken]);
    expect(await idsOf({ statuses: ["waiting", "queued"] })).toEqual([]);
    expect(await idsOf({ agentType: "research" })).toEqual([ofKey, research]);
    expect(await idsOf({ model: "large" })).toEqual([research]);
    expect(await idsOf({ tokenId: key.tokenId })).toEqual([ofKey]);
    expect(await idsOf({ reason: "MODEL_FAILED" })).toEqual([broken]);
    expect(await idsOf({ reason: "MODEL" })).toEqual([]);
    expect(await idsOf({ q: broken.toUpperCase() })).toEqual([broken]);
    expect(await idsOf({ agentType: "research", tokenId: person.tokenId, statuses: ["completed"] })).toEqual([research]);
    expect(await idsOf({ agentType: "research", status: "failed" })).toEqual([]);
    const at = (await runOf(late)).createdAt ?? expect.fail();
    const [from, to] = [at, timestampFromDate(new Date(timestampDate(at).getTime() + 1))];
    expect(await idsOf({ from, to })).toContain(late);
    expect(await idsOf({ from: to })).not.toContain(late);
    expect(await idsOf({ to: from })).not.toContain(late);
    // Of others nothing is found, by whatever field.
    person = fixture.person();
    for (const asked of [{}, { q: broken }, { reason: "MODEL_FAILED" }, { tokenId: key.tokenId }, { agentType: "research" }])
      expect(await idsOf(asked)).toEqual([]);
  });

  test("is searched by words of the title; signs that patterns know are letters like others", async () => {
    const order = await answered({ message: "Refund of order 1187, 100% of it" });
    const other = await answered({ message: "What is 100 times a_b \\ c'?" });
    expect(await idsOf({ q: "order refund" })).toEqual([order]);
    expect(await idsOf({ q: " 100 " })).toEqual([other, order]);
    expect(await idsOf({ q: "100%" })).toEqual([order]);
    expect(await idsOf({ q: "a_b" })).toEqual([other]);
    expect(await idsOf({ q: "_" })).toEqual([other]);
    expect(await idsOf({ q: "\\ c'" })).toEqual([other]);
    expect(await idsOf({ q: "refund x" })).toEqual([]);
    expect(await idsOf({ q: "  " })).toEqual([other, order]);
    expect((await runOf(order)).title).toBe("Refund of order 1187, 100% of it");
    const refused: Asked[] = [
      { q: "a\0b" },
      { q: "a ".repeat(11) },
      { q: "x".repeat(201) },
      { agentType: "a\0b" },
      { model: "x".repeat(201) },
      { tokenId: "me" },
      { reason: "' or true" },
      { statuses: ["failed", "failed"] },
      { statuses: ["lost"] },
      { from: { seconds: 10n ** 15n } },
    ];
    for (const asked of refused) expect([asked, await reasonFor(idsOf(asked))]).toEqual([asked, ErrorReason.INVALID_REQUEST]);
  });

  test("has every run that fits once, whatever the size of its pages", async () => {
    const fitting: string[] = [];
    for (let n = 0; n < 9; n += 1) {
      const id = await answered({ agent: n % 3 === 0 ? "research" : "general" });
      if (n % 3 === 0) fitting.unshift(id);
    }
    const found: string[] = [];
    let cursor = "";
    do {
      const page = await person.conversations.listRuns({ agentType: "research", limit: 1, cursor });
      found.push(...page.runs.map(({ id }) => id));
      cursor = page.nextCursor;
    } while (cursor !== "");
    expect(found).toEqual(fitting);
  });

  test("begins with the newest runs, and reads no more of 4,000 conversations than of 60", async () => {
    const many = fixture.person();
    const few = fixture.person();
    for (const [{ userId }, count] of [[few, 60] as const, [many, 4_000] as const]) {
      await fixture.pool.query(
        `with made as (
           insert into conversations (id, user_id, created_at)
           select gen_random_uuid(), $1, now() - n * interval '1 minute' from generate_series(1, $2) n returning *
         )
         insert into runs (run_id, conversation_id, user_id, status, created_at)
         select gen_random_uuid(), id, user_id, 'completed', created_at from made`,
        [userId, count],
      );
    }
    await fixture.pool.query("vacuum analyze conversations, runs");
    const blocksOf = async ({ userId }: Person) => {
      const explain = `explain (analyze, buffers, format json) ${runListSql(false)}`;
      const values = [userId, null, listStart.createdUs, listStart.id, 51];
      const { rows } = await fixture.database.users.as(userId, (db) => db.query(explain, values));
      const plan = rows[0]["QUERY PLAN"][0].Plan;
      expect(JSON.stringify(plan)).not.toMatch(/Seq Scan|conversations_by_user/);
      return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"];
    };
    expect(await blocksOf(many)).toBeLessThanOrEqual((await blocksOf(few)) * 1.3 + 20);
  });
});

describe("a run tells", () => {
  test("when it was taken and when it ended, also when it waited in the queue or was never taken", async () => {
    const atOnce = await runOf(await answered());
    expect(atOnce.startedAt).toEqual(atOnce.createdAt);
    expect(timestampDate(atOnce.endedAt ?? expect.fail()).getTime()).toBeGreaterThanOrEqual(
      timestampDate(atOnce.createdAt ?? expect.fail()).getTime(),
    );
    const ids = [uuidv7(), uuidv7()];
    for (const runId of ids) await person.journal.beginRun({ runId, message: "Hello", background: true });
    const [taken = "", never = ""] = ids;
    const { startedAt, endedAt } = await runOf(taken);
    expect([startedAt, endedAt]).toEqual([undefined, undefined]);
    await fixture.pool.query("update runs set created_at = created_at - interval '1 minute' where run_id = any ($1)", [ids]);
    await person.journal.claimRun({ runId: taken, workerId: uuidv7(), graphVersion: 1 });
    const waited = await runOf(taken);
    expect(waited.endedAt).toBeUndefined();
    expect(Number(waited.startedAt?.seconds) - Number(waited.createdAt?.seconds)).toBeGreaterThanOrEqual(59);
    for (const runId of ids) await person.journal.cancelRun({ runId });
    const unseen = await runOf(never);
    expect([unseen.startedAt, unseen.endedAt?.seconds !== undefined]).toEqual([undefined, true]);
    const cancelled = await runOf(taken);
    expect(cancelled.startedAt).toEqual(waited.startedAt);
    expect(cancelled.endedAt).toBeDefined();
    // A later change of the row leaves the end where it was.
    await fixture.pool.query("update runs set updated_at = now() + interval '1 hour' where run_id = $1", [taken]);
    expect((await runOf(taken)).endedAt).toEqual(cancelled.endedAt);
  });

  test.each([
    ['{"priced":true}', 0, true],
    ['{"priced":false}', 2, false],
    ['{"priced":"no"}', 0, false],
    ["{}", 0, false],
    ["{}", 1, true],
  ])("whether its models have prices: state %s and a cost of %d", async (state, cost, priced) => {
    const context = await person.begin();
    expect((await runOf(context.run?.id ?? "")).priced).toBe(true);
    await person.commit(context, { status: RunStatus.RUNNING, state, cost, usage: { promptTokens: 3 } });
    expect((await runOf(context.run?.id ?? "")).priced).toBe(priced);
  });

  test("the name of the key that started it, which is asked for once, and goes without it while auth is away", async () => {
    const key = fixture.through(person, { tokenType: TokenType.API_KEY });
    fixture.keys.names = new Map([[key.tokenId, "ci"]]);
    await answered({ by: key });
    await answered({ by: key });
    await answered();
    const from = fixture.keys.askedNames.length;
    const named = async () => (await person.conversations.listRuns({})).runs.map(({ keyName }) => keyName);
    expect(await named()).toEqual(["", "ci", "ci"]);
    expect(await named()).toEqual(["", "ci", "ci"]);
    expect(fixture.keys.askedNames.slice(from)).toEqual([[person.tokenId, key.tokenId]]);
    fixture.keys.names = undefined;
    const fresh = fixture.through(person, {});
    await answered({ by: fresh });
    expect(await named()).toEqual(["", "", "ci", "ci"]);
    fixture.keys.names = new Map();
  });
});

describe("the list of all runs", () => {
  test("has runs of every account, or of one, without a word of their users, models or tools", async () => {
    const other = fixture.person();
    const secret = "Something private";
    const mine = await answered({ message: secret });
    const broken = await failed("MODEL_FAILED");
    const { runId: queued = "" } = { runId: uuidv7() };
    await other.journal.beginRun({ runId: queued, message: secret, background: true });
    const { runs } = await person.allRuns.listAllRuns({ limit: 3 });
    expect(runs.map(({ userId, run }) => [userId, run?.id])).toEqual([
      [other.userId, queued],
      [person.userId, broken],
      [person.userId, mine],
    ]);
    expect(
      JSON.stringify(runs.map(({ run }) => ({ ...run, createdAt: null, updatedAt: null, startedAt: null, endedAt: null }))),
    ).not.toContain("private");
    expect(runs[1]?.run).toMatchObject({ error: "It broke.", errorReason: "MODEL_FAILED", title: "", response: "" });
    const idsOfAll = async (asked: Parameters<Person["allRuns"]["listAllRuns"]>[0]) =>
      (await person.allRuns.listAllRuns(asked)).runs.map(({ run }) => run?.id);
    const { userId } = person;
    expect(await idsOfAll({ userId })).toEqual([broken, mine]);
    expect(await idsOfAll({ userId, statuses: ["completed"] })).toEqual([mine]);
    expect(await idsOfAll({ userId, reason: "MODEL_FAILED" })).toEqual([broken]);
    expect(await idsOfAll({ tokenId: other.tokenId })).toEqual([queued]);
    expect(await idsOfAll({ runId: mine })).toEqual([mine]);
    expect(await idsOfAll({ userId: uuidv7() })).toEqual([]);
    const conversationId = (await runOf(mine)).conversationId;
    await person.conversations.deleteConversation({ conversationId });
    expect(await idsOfAll({ userId })).toEqual([broken]);
    expect(await reasonFor(person.allRuns.listAllRuns({ userId: "me" }))).toBe(ErrorReason.INVALID_REQUEST);
    expect(await reasonFor(person.allRuns.listAllRuns({ cursor: "x" }))).toBe(ErrorReason.INVALID_REQUEST);
  });

  test("looks at so many runs for a page, goes on behind them, and has each that fits once", async () => {
    const fitting: string[] = [];
    for (let n = 0; n < 8; n += 1) {
      const id = await answered({ agent: n === 1 || n === 6 ? "research" : "general" });
      if (n === 1 || n === 6) fitting.unshift(id);
    }
    const none = { statuses: [], agent: "research", model: "", tokenId: "", runId: "", reason: "", words: [] };
    const pages: string[][] = [];
    let after: typeof listStart | undefined = listStart;
    while (after !== undefined) {
      const asked = { userId: person.userId, filter: none, after, limit: 5, seen: 3 };
      const page: Awaited<ReturnType<typeof listAllRuns>> = await listAllRuns(fixture.database.pool, asked);
      pages.push(page.runs.map(({ run }) => run.id));
      after = page.next;
    }
    expect(pages).toEqual([[fitting[0]], [], [fitting[1]]]);
  });
});
