import { randomUUID } from "node:crypto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { BeginRunRequestSchema, CommitRunRequestSchema } from "@turnwright/contract/conversation/v1/journal_service";
import { type RunContext, RunStatus } from "@turnwright/contract/conversation/v1/run";
import { reasonOf } from "@turnwright/platform/errors";
import { createLogger } from "@turnwright/platform/logger";
import { createPool, transaction } from "@turnwright/platform/postgres/pool";
import { openServiceDatabase } from "@turnwright/platform/postgres/service-database";
import { uuidv7 } from "@turnwright/platform/uuid";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import { type FaultProxy, faultProxy } from "@turnwright/testing/fault-proxy";
import type pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { ErrorReason } from "../../testing/conversation.ts";
import { createBeginRun } from "./begin-run/begin-run.ts";
import { createCommitRun } from "./commit-run/commit-run.ts";
import { connectionSettings } from "./connection-settings.ts";
import { groupLimits } from "./group-commit.ts";

const logger = createLogger({ service: "test", level: "silent" });
let testDatabase: TestDatabase;
let proxy: FaultProxy;
/** A pool under the owner's login, which sees the statements of other connections. */
let owner: pg.Pool;
/** Connected to the server without the proxy. */
let database: ReturnType<typeof open>;
let pool: pg.Pool;
/** Names of the statements that were run on `pool`, in order. */
const statements: string[] = [];
const open = (url: string) => {
  const opened = openServiceDatabase({ url, schema: "conversation", max: 10, logger });
  return { ...opened.withSettings(connectionSettings({ approvalExpiryMs: 0 })), end: () => opened.end() };
};
beforeAll(async () => {
  testDatabase = await createTestDatabase({ services: ["conversation"] });
  proxy = await faultProxy(new URL(testDatabase.url));
  owner = createPool({ url: testDatabase.url, schema: "conversation", max: 2, applicationName: "test", logger });
  database = open(testDatabase.url);
  pool = database.pool;
  const query = pool.query.bind(pool) as (...args: unknown[]) => unknown;
  pool.query = ((...args: unknown[]) => {
    statements.push((args[0] as { name?: string }).name ?? "");
    return query(...args);
  }) as typeof pool.query;
});
beforeEach(() => void statements.splice(0));
afterAll(async () => {
  await database.end();
  await owner.end();
  proxy.close();
  await testDatabase.drop();
});

type BeginInit = MessageInitShape<typeof BeginRunRequestSchema>;
type CommitInit = MessageInitShape<typeof CommitRunRequestSchema>;

const workerId = uuidv7();

function journalOf(on: pg.Pool, limits = groupLimits) {
  const [begin, commit] = [createBeginRun(on, limits), createCommitRun(on, limits)];
  return {
    begin: (userId: string, init: BeginInit = {}) =>
      begin({
        request: create(BeginRunRequestSchema, { runId: uuidv7(), message: "Hello", workerId, ...init }),
        userId,
        tokenId: "",
        familyId: "",
        owner: workerId,
      }),
    commit: (userId: string, context: RunContext, init: CommitInit = {}) =>
      commit(
        userId,
        create(CommitRunRequestSchema, {
          runId: context.run?.id,
          epoch: 1,
          seq: 0,
          status: RunStatus.COMPLETED,
          messages: [{ id: uuidv7(), role: "assistant", content: "Hi" }],
          events: [{ type: "completed", messages: 1 }],
          ...init,
        }),
      ),
  };
}

type Journal = ReturnType<typeof journalOf>;

async function begun(journal: Journal, userId: string, init?: BeginInit): Promise<RunContext> {
  const { context } = await journal.begin(userId, init);
  if (context === undefined) throw new Error("no context");
  return context;
}

/** Undefined for a success, else the reason; INTERNAL for an error without one. */
async function outcomes(calls: readonly Promise<unknown>[]): Promise<(ErrorReason | undefined)[]> {
  const settled = await Promise.allSettled(calls);
  return settled.map((one) => (one.status === "fulfilled" ? undefined : (reasonOf(one.reason) ?? ErrorReason.INTERNAL)));
}

const approval = { callId: "c", toolName: "t", arguments: "{}" };

describe("commits that arrive together", () => {
  test("each get what they would have got alone", async () => {
    const userId = randomUUID();
    const kinds: Record<string, { init: CommitInit; as?: string; outcome: ErrorReason | undefined }> = {
      good: { init: {}, outcome: undefined },
      "stale epoch": { init: { epoch: 7 }, outcome: ErrorReason.STALE_EPOCH },
      "other position": { init: { seq: 3 }, outcome: ErrorReason.STALE_EPOCH },
      "another's": { init: {}, as: randomUUID(), outcome: ErrorReason.NOT_FOUND },
      unknown: { init: { runId: uuidv7() }, outcome: ErrorReason.NOT_FOUND },
      "bad state": { init: { state: "{" }, outcome: ErrorReason.INVALID_REQUEST },
      "bad payload": { init: { events: [{ type: "x", payload: "no" }] }, outcome: ErrorReason.INVALID_REQUEST },
      parks: { init: { status: RunStatus.WAITING, approvals: [approval] }, outcome: undefined },
      "goes on": { init: { status: RunStatus.RUNNING, state: '{"a":  1}' }, outcome: undefined },
      waits: { init: { status: RunStatus.QUEUED, wakeInMs: 60_000 }, outcome: undefined },
    };
    const stored: unknown[] = [];
    for (const limits of [groupLimits, { maxRows: 1, inFlight: Number.POSITIVE_INFINITY }]) {
      const journal = journalOf(pool, limits);
      const contexts = await Promise.all(Object.keys(kinds).map(() => begun(journal, userId)));
      const calls = Object.values(kinds).map(({ init, as = userId }, index) =>
        journal.commit(as, contexts[index] as RunContext, init),
      );
      expect(await outcomes(calls)).toEqual(Object.values(kinds).map(({ outcome }) => outcome));
      const { rows } = await pool.query(
        `select r.status, r.seq, r.epoch, r.state::text, r.wake_at is not null as wakes, r.deadline_at is not null as ends, r.owner = '' as free,
           c.message_count, c.status as standing, c.active_run_id = r.run_id as live,
           (select json_agg(m.content order by m.sequence_number) from messages m where m.conversation_id = c.id) as messages,
           (select count(*) from approvals a where a.run_id = r.run_id) as approvals
         from unnest($1::uuid[]) with ordinality as i(run_id, n) join runs r using (run_id) join conversations c on c.id = r.conversation_id
         order by i.n`,
        [contexts.map(({ run }) => run?.id)],
      );
      stored.push(rows);
    }
    expect(stored[0]).toEqual(stored[1]);
  });

  test("are one statement, and a bad one among them costs the others one statement each", async () => {
    const userId = randomUUID();
    const journal = journalOf(pool);
    const contexts = await Promise.all(Array.from({ length: 12 }, () => begun(journal, userId)));
    statements.splice(0);
    await Promise.all(contexts.slice(0, 6).map((context) => journal.commit(userId, context)));
    expect(statements).toEqual(["run-commit-many"]);
    statements.splice(0);
    const calls = contexts.slice(6).map((context, index) => journal.commit(userId, context, index === 3 ? { state: "{" } : {}));
    expect(await outcomes(calls)).toEqual([undefined, undefined, undefined, ErrorReason.INVALID_REQUEST, undefined, undefined]);
    expect(statements).toEqual(["run-commit-many", ...Array(6).fill("run-commit-one")]);
  });

  test("of the same run are serial, and a repeated one gets its first response again", async () => {
    const userId = randomUUID();
    const journal = journalOf(pool);
    const [context, other] = [await begun(journal, userId), await begun(journal, userId)];
    const again = { messages: [{ id: uuidv7(), role: "assistant", content: "Hi" }] };
    const [first, , second] = await Promise.all([
      journal.commit(userId, context, again),
      journal.commit(userId, other),
      journal.commit(userId, context, again),
    ]);
    expect(second).toEqual(first);
    const { rows } = await pool.query("select message_count from conversations where id = $1", [context.conversation?.id]);
    expect(rows).toEqual([{ message_count: 2 }]);
  });

  test("do not wait for one whose run is locked", async () => {
    const userId = randomUUID();
    const journal = journalOf(pool);
    const contexts = await Promise.all(Array.from({ length: 5 }, () => begun(journal, userId)));
    const held = await transaction(pool, async (tx) => {
      await tx.query("select from runs where run_id = $1 for update", [contexts[2]?.run?.id]);
      const calls = contexts.map((context) => journal.commit(userId, context));
      await Promise.all(calls.filter((_, index) => index !== 2));
      return { call: calls[2] };
    });
    expect(await held.call).toMatchObject({ seq: 1 });
  });
});

describe("begins that arrive together", () => {
  test("each get what they would have got alone", async () => {
    const userId = randomUUID();
    const journal = journalOf(pool);
    const ended = async () => {
      const context = await begun(journal, userId);
      await journal.commit(userId, context);
      return context.conversation?.id;
    };
    const busy = (await begun(journal, userId)).conversation?.id;
    const parked = await begun(journal, userId);
    await journal.commit(userId, parked, { status: RunStatus.WAITING, approvals: [approval] });
    const [free, others, deleted] = [await ended(), await ended(), await ended()];
    await pool.query("update conversations set deleted_at = now() where id = $1", [deleted]);
    const taken = (await begun(journal, userId)).run?.id;
    const opened = [
      journal.begin(userId, { conversationId: free, message: "again" }),
      journal.begin(randomUUID(), { conversationId: others }),
      journal.begin(userId, { conversationId: deleted }),
      journal.begin(userId, { conversationId: busy, concurrency: "reject" }),
      journal.begin(userId, { conversationId: parked.conversation?.id }),
      journal.begin(userId, { runId: taken, workerId: "" }),
      journal.begin(userId, { state: "{" }),
      journal.begin(userId),
      journal.begin(userId, { background: true }),
      journal.begin(userId, { conversationId: uuidv7() }),
    ];
    const refused = [
      ErrorReason.NOT_FOUND,
      ErrorReason.NOT_FOUND,
      ErrorReason.CONVERSATION_BUSY,
      ErrorReason.PENDING_APPROVAL,
      ErrorReason.CONFLICT,
      ErrorReason.INTERNAL,
    ];
    expect(await outcomes(opened)).toEqual([undefined, ...refused, undefined, undefined, ErrorReason.NOT_FOUND]);
    expect((await opened[0])?.context?.messages.map(({ content }) => content)).toEqual(["Hello", "Hi", "again"]);
    expect((await opened[8])?.run?.status).toBe(RunStatus.QUEUED);
  });

  test("count each user's conversations, and one key opens one run", async () => {
    const [one, two] = [randomUUID(), randomUUID()];
    const journal = journalOf(pool);
    const key = { idempotencyKey: "k", requestHash: new Uint8Array([1]) };
    const opened = await Promise.all([
      ...Array.from({ length: 5 }, () => journal.begin(one)),
      ...Array.from({ length: 3 }, () => journal.begin(two, key)),
    ]);
    expect(opened.slice(5).map(({ replayed }) => replayed)).toEqual([false, true, true]);
    const { rows } = await pool.query("select conversations from user_totals where user_id = any ($1) order by conversations", [
      [one, two],
    ]);
    expect(rows).toEqual([{ conversations: 1 }, { conversations: 5 }]);
  });
});

test("groups of several processes on the same conversations end without a deadlock, each run once", async () => {
  const userId = randomUUID();
  const others = [open(testDatabase.url), open(testDatabase.url)];
  const journals = [pool, ...others.map((one) => one.pool)].map((on) => journalOf(on, { maxRows: 128, inFlight: 2 }));
  const setUp = journalOf(pool);
  const ids = await Promise.all(
    Array.from({ length: 12 }, async () => {
      const context = await begun(setUp, userId);
      await setUp.commit(userId, context);
      return context.conversation?.id ?? "";
    }),
  );
  const deadlocks = async () =>
    (await owner.query("select deadlocks, pg_stat_clear_snapshot() from pg_stat_database where datname = current_database()"))
      .rows[0].deadlocks;
  const before = await deadlocks();
  let turns = 0;
  await Promise.all(
    journals.flatMap((journal, seed) =>
      Array.from({ length: 16 }, async (_, client) => {
        for (let round = 0; round < 8; round += 1) {
          const conversationId = ids[(client * (seed + 1) + round * 5) % ids.length] as string;
          const opened = await journal.begin(userId, { conversationId, concurrency: "reject" }).catch((error: unknown) => {
            if (reasonOf(error) !== ErrorReason.CONVERSATION_BUSY) throw error;
          });
          if (opened?.context === undefined) continue;
          await journal.commit(userId, opened.context);
          turns += 1;
        }
      }),
    ),
  );
  expect(turns).toBeGreaterThan(0);
  const { rows } = await pool.query<{ id: string; message_count: number; messages: number; last: number }>(
    `select c.id, c.message_count, count(*) as messages, max(m.sequence_number) as last
     from conversations c join messages m on m.conversation_id = c.id where c.id = any ($1) group by c.id`,
    [ids],
  );
  for (const row of rows) expect([row.messages, row.last]).toEqual([row.message_count, row.message_count]);
  expect(rows.reduce((sum, row) => sum + row.message_count, 0)).toBe((ids.length + turns) * 2);
  expect(await deadlocks()).toBe(before);
  for (const one of others) await one.end();
});

test("each member of a group whose connection is lost gets DATABASE_UNAVAILABLE and can be repeated", async () => {
  const userId = randomUUID();
  const through = open(proxy.url);
  const journal = journalOf(through.pool);
  const contexts = await Promise.all(Array.from({ length: 4 }, () => begun(journal, userId)));
  const again = contexts.map(() => ({ messages: [{ id: uuidv7(), role: "assistant", content: "Hi" }] }));
  const commits = () => contexts.map((context, index) => journal.commit(userId, context, again[index]));
  // The statement arrives, its response does not: a lock holds it until its connection is cut.
  const lost = await transaction(owner, async (tx) => {
    await tx.query("lock table messages in share mode");
    const calls = commits();
    const settled = outcomes(calls);
    let waiting = 0;
    while (waiting === 0) {
      await tx.query("select pg_stat_clear_snapshot()");
      const asked =
        "select from pg_stat_activity where wait_event_type = 'Lock' and query like '%held%' and datname = current_database()";
      waiting = (await tx.query(asked)).rowCount ?? 0;
    }
    proxy.cut();
    return settled;
  });
  expect(lost).toEqual(Array(4).fill(ErrorReason.DATABASE_UNAVAILABLE));
  expect(await outcomes(commits())).toEqual(Array(4).fill(undefined));
  const { rows } = await pool.query("select message_count from conversations where id = any ($1)", [
    contexts.map(({ conversation }) => conversation?.id),
  ]);
  expect(rows).toEqual(Array(4).fill({ message_count: 2 }));
  await through.end();
});
