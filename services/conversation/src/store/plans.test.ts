import { listStart } from "@turnwright/platform/postgres/keyset-cursor";
import { transaction } from "@turnwright/platform/postgres/pool";
import { uuidv7 } from "@turnwright/platform/uuid";
import pg from "pg";
import { expect, test } from "vitest";
import { ErrorReason, type Person, reasonFor, startConversationFixture } from "../../testing/conversation.ts";
import { fixture, person, useConversation } from "../../testing/use-conversation.ts";
import { openNewSql } from "./begin-run/open-new.ts";
import { openFreeSql, openNextSql } from "./begin-run/open-next.ts";
import { changedSql } from "./changed-runs.ts";
import { commitSql } from "./commit-run/commit-statement.ts";
import { listSql, listValues } from "./conversation-list.ts";

useConversation({ max: 4 });

/** A conversation with ended runs and so many messages. */
async function conversationOf(messageCount: number): Promise<string> {
  const context = await person.begin();
  await person.answer(context);
  const conversationId = context.conversation?.id ?? "";
  await fixture.pool.query(
    `insert into messages (conversation_id, id, sequence_number, role, content)
     select $1, gen_random_uuid(), n, case n % 2 when 1 then 'user' else 'assistant' end, repeat('word ', 20)
     from generate_series(3, $2) n`,
    [conversationId, messageCount],
  );
  await fixture.pool.query("update conversations set message_count = $2 where id = $1", [conversationId, messageCount]);
  return conversationId;
}

interface PlanNode {
  readonly "Node Type": string;
  readonly "Index Cond"?: string;
  readonly "Index Name"?: string;
  readonly "Relation Name"?: string;
  readonly "Shared Hit Blocks": number;
  readonly "Shared Read Blocks": number;
  readonly Plans?: readonly PlanNode[];
}

function nodeTypes(node: PlanNode): string[] {
  return [node["Node Type"], ...(node.Plans ?? []).flatMap(nodeTypes)];
}

test("a begin reads by index only, as much at 20,000 messages as at 20, with a plan made on tables of one page", async () => {
  await person.answer(await person.begin());
  await fixture.pool.query("analyze");
  const plans = await transaction(fixture.database.pool, async (tx) => {
    // The generic plan of a prepared statement, made when the planner has every reason to read whole tables.
    await tx.query("set local plan_cache_mode = force_generic_plan");
    await tx.query(`prepare begin_run as ${openNextSql}`);
    const explain = async (conversationId: string): Promise<PlanNode> => {
      const values = [conversationId, person.userId, uuidv7(), "Hello", uuidv7(), person.tokenId, "test"].map(pg.escapeLiteral);
      const { rows } = await tx.query(
        `explain (analyze, buffers, format json) execute begin_run(${values.join(", ")}, 1, 600, 20, null, ` +
          `'enqueue', false, null, null, 1, ${pg.escapeLiteral(person.tokenId)}, null)`,
      );
      return rows[0]["QUERY PLAN"][0].Plan;
    };
    await explain(uuidv7());
    const conversations = [await conversationOf(20), await conversationOf(20_000)];
    const plans: PlanNode[] = [];
    for (const id of conversations) plans.push(await explain(id));
    return plans;
  });
  const [small, large] = plans.map((plan) => plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]);
  expect(plans.flatMap(nodeTypes)).not.toContain("Seq Scan");
  expect(plans.flatMap(nodeTypes).some((type) => /^(Index|Bitmap Index)/.test(type))).toBe(true);
  expect(large).toBeLessThanOrEqual((small ?? 0) * 1.2);
});

/** Tables and indexes that a plan reads from end to end. */
function wholeReads(node: PlanNode): string[] {
  const type = node["Node Type"];
  const isWhole = type === "Seq Scan" || (/^(Index|Bitmap Index)/.test(type) && node["Index Cond"] === undefined);
  return [...(isWhole ? [node["Index Name"] ?? node["Relation Name"] ?? type] : []), ...(node.Plans ?? []).flatMap(wholeReads)];
}

test("group statements find each row by its key, with plans made on tables of no, one and thousands of rows", async () => {
  const { database, pool, stop } = await startConversationFixture({ max: 2 });
  const texts = [commitSql("many", true), commitSql("one", true), openFreeSql, openNewSql("many"), openNewSql("one")];
  const fill = `with made as (
      insert into conversations (id, user_id) select gen_random_uuid(), gen_random_uuid() from generate_series(1, $1) returning id, user_id
    )
    insert into runs (run_id, conversation_id, user_id, status) select gen_random_uuid(), id, user_id, 'completed' from made`;
  for (const rows of [0, 1, 5_000]) {
    await database.pool.query(fill, [rows]);
    await pool.query("analyze");
    for (const [index, text] of texts.entries()) {
      const whole = await transaction(database.pool, async (tx) => {
        await tx.query("set local plan_cache_mode = force_generic_plan");
        await tx.query(`prepare many_${rows}_${index} as ${text}`);
        const count = new Set(text.match(/\$\d+/g)).size;
        const { rows: plans } = await tx.query(
          `explain (format json) execute many_${rows}_${index}(${Array(count).fill("null").join(", ")})`,
        );
        return wholeReads(plans[0]["QUERY PLAN"][0].Plan);
      });
      expect({ rows, index, whole }).toEqual({ rows, index, whole: [] });
    }
  }
  await stop();
});

test("a page of a list reads as little when its owner has 20,000 conversations", async () => {
  const many = fixture.person();
  const few = fixture.person();
  for (const [{ userId }, count] of [
    [few, 60],
    [many, 20_000],
  ] as const) {
    await fixture.pool.query(
      "insert into conversations (id, user_id, created_at) select gen_random_uuid(), $1, now() - n * interval '1 " +
        "minute' from generate_series(1, $2) n",
      [userId, count],
    );
  }
  const blocksOf = async ({ userId }: Person) => {
    const explain = `explain (analyze, buffers, format json) ${listSql(false)}`;
    // Read under the user's role, as in the service, because its policies are part of the plan.
    const everything = { words: [], agent: "", status: "", archived: false };
    const values = listValues({ userId, after: listStart, limit: 50 }, everything);
    const { rows } = await fixture.database.users.as(userId, (db) => db.query(explain, values));
    const plan: PlanNode = rows[0]["QUERY PLAN"][0].Plan;
    expect(nodeTypes(plan)).not.toContain("Seq Scan");
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"];
  };
  await fixture.pool.query("vacuum analyze conversations");
  expect(await blocksOf(many)).toBeLessThanOrEqual((await blocksOf(few)) * 1.2 + 2);
});

test("64 concurrent conversations share four connections", async () => {
  const turns = Array.from({ length: 64 }, async () => {
    const first = await person.begin();
    await person.answer(first);
    const second = await person.begin({ conversationId: first.conversation?.id });
    await person.park(second, ["c1"]);
    const { context } = await person.journal.decideApprovals({ conversationId: first.conversation?.id, approved: true });
    if (context !== undefined) await person.answer(context);
    return context?.conversation?.messageCount;
  });
  expect(await Promise.all(turns)).toEqual(Array(64).fill(4));
});

test("begins, ends, overdue runs, decisions and deletions of the same conversations never deadlock", async () => {
  const contexts = await Promise.all(Array.from({ length: 4 }, () => person.begin()));
  const reasons = new Set<ErrorReason | undefined>();
  const turns = contexts.flatMap(({ conversation }) => {
    const conversationId = conversation?.id ?? "";
    return Array.from({ length: 16 }, async (_, index) => {
      for (let round = 0; round < 6; round += 1) {
        const expire = fixture.pool.query(
          "update runs set deadline_at = now() where conversation_id = $1 and status = 'running'",
          [conversationId],
        );
        const runId = uuidv7();
        const concurrency = ["enqueue", "reject", "interrupt"][index % 3];
        const begun = person.journal.beginRun({ runId, conversationId, message: "Hello", concurrency });
        reasons.add(await reasonFor(begun));
        await expire;
        const opened = await begun.catch(() => undefined);
        if (concurrency === "interrupt" && opened?.liveRunId)
          reasons.add(await reasonFor(person.journal.cancelRun({ runId: opened.liveRunId })));
        const context =
          opened?.context ?? (await person.journal.claimRun({ runId, workerId: uuidv7(), graphVersion: 1 })).context;
        if (context === undefined) {
          if (round % 2 === 0) reasons.add(await reasonFor(person.journal.cancelRun({ runId })));
          continue;
        }
        reasons.add(await reasonFor(index % 2 === 0 ? person.answer(context) : person.park(context, ["c1"])));
        reasons.add(await reasonFor(person.journal.decideApprovals({ conversationId, approved: index % 4 === 0 })));
        if (index === 15 && round === 5)
          reasons.add(await reasonFor(person.conversations.deleteConversation({ conversationId })));
      }
    });
  });
  await Promise.all(turns);
  const expected: (ErrorReason | undefined)[] = [
    undefined,
    ErrorReason.CONVERSATION_BUSY,
    ErrorReason.PENDING_APPROVAL,
    ErrorReason.NOTHING_TO_APPROVE,
    ErrorReason.STALE_EPOCH,
    ErrorReason.NOT_FOUND,
    ErrorReason.RUN_ENDED,
  ];
  expect([...reasons].filter((reason) => !expected.includes(reason))).toEqual([]);
  const { rows } = await fixture.pool.query(
    `select c.id from conversations c left join messages m on m.conversation_id = c.id
     where c.id = any($1) group by c.id
     having max(m.sequence_number) <> c.message_count or count(*) <> c.message_count`,
    [contexts.map(({ conversation }) => conversation?.id)],
  );
  expect(rows).toEqual([]);
});

test("watched runs are compared by primary keys alone, and named when they have grown or are gone", async () => {
  const contexts = [await person.begin(), await person.begin(), await person.begin()];
  const ids = contexts.map(({ run }) => run?.id ?? "");
  const seqs = contexts.map(({ run }) => run?.seq ?? -1);
  await person.answer(contexts[1] as (typeof contexts)[number]);
  await fixture.pool.query("update conversations set deleted_at = now() where id = $1", [contexts[2]?.conversation?.id]);
  const bytes = (runIds: readonly string[]) => Buffer.from(runIds.join("").replaceAll("-", ""), "hex");
  const asked = { runIds: bytes([...ids, uuidv7()]), seqs: [...seqs, 0] };
  expect((await person.journal.listChangedRuns(asked)).changed).toEqual([1, 2, 3]);
  expect((await person.journal.listChangedRuns({})).changed).toEqual([]);
  expect(await reasonFor(person.journal.listChangedRuns({ ...asked, seqs }))).toBe(ErrorReason.INVALID_REQUEST);

  const plan = await transaction(fixture.database.pool, async (tx) => {
    await tx.query("set local plan_cache_mode = force_generic_plan");
    await tx.query(`prepare changed_runs as ${changedSql}`);
    const values = [`{${ids.join(",")}}`, `{${seqs.join(",")}}`].map(pg.escapeLiteral);
    const { rows } = await tx.query(`explain (format json) execute changed_runs(${values.join(", ")})`);
    return rows[0]["QUERY PLAN"][0].Plan as PlanNode;
  });
  expect(nodeTypes(plan).filter((type) => /Seq Scan/.test(type))).toEqual([]);
});
