import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { RunContext } from "@turnwright/contract/conversation/v1/run";
import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import { detailOf } from "@turnwright/platform/errors";
import { uuidv7 } from "@turnwright/platform/uuid";
import { describe, expect, test } from "vitest";
import { ErrorReason, reasonFor, startConversationFixture } from "../testing/conversation.ts";
import { fixture, person, useConversation } from "../testing/use-conversation.ts";
import { rejectExpiredApprovals } from "./store/expired-approvals.ts";

const dayMs = 86_400_000;
useConversation({ approvalExpiryMs: dayMs });

async function parked(...callIds: string[]): Promise<{ context: RunContext; runId: string; conversationId: string }> {
  const context = await person.begin({ message: "Send it", workerId: uuidv7() });
  await person.park(context, callIds);
  return { context, runId: context.run?.id ?? "", conversationId: context.conversation?.id ?? "" };
}

/** Moves the run's times back by so long. */
async function waited(runId: string, interval: string): Promise<void> {
  await fixture.pool.query("update approvals set expires_at = expires_at - $2::interval where run_id = $1", [runId, interval]);
}

const sweep = () => rejectExpiredApprovals(fixture.database.pool);
const approvalOf = async (runId: string) =>
  (await person.conversations.listApprovals({ limit: 100 })).approvals.find((approval) => approval.runId === runId);

describe("an approval", () => {
  test("shows its expiry, a day after its creation", async () => {
    const { runId } = await parked("c1");
    const approval = await approvalOf(runId);
    if (approval?.createdAt === undefined || approval.expiresAt === undefined) throw new Error("no times");
    expect(timestampMs(approval.expiresAt) - timestampMs(approval.createdAt)).toBe(dayMs);
  });

  test("can be decided until it expires, and in no way afterwards", async () => {
    const { runId, conversationId } = await parked("c1", "c2");
    await waited(runId, "23 hours 59 minutes");
    expect(await sweep()).toBe(0);
    await person.journal.decideApprovals({ conversationId, calls: [{ callId: "c1", approved: true }] });
    await waited(runId, "2 minutes");
    const refusal = async (work: Promise<unknown>) => detailOf(await work.catch((error: unknown) => error));
    const late = { reason: ErrorReason.APPROVAL_EXPIRED, param: "approved" };
    expect(await refusal(person.journal.decideApprovals({ conversationId, approved: true }))).toMatchObject(late);
    const approvalId = (await approvalOf(runId))?.id ?? "";
    const calls = [{ callId: "c2", approved: false, approvalId }];
    const named = () => refusal(person.journal.decideApprovals({ conversationId, calls }));
    expect(await named()).toMatchObject({ ...late, param: "calls[0].call_id" });
    expect(await sweep()).toBe(1);
    expect(await named()).toMatchObject({ ...late, param: "calls" });
    const { approval } = await person.conversations.getApproval({ approvalId });
    expect(approval).toMatchObject({ status: "rejected", reason: "expired", decidedBy: "" });
  });

  test("waits forever where no expiry is set", async () => {
    const patient = await startConversationFixture();
    try {
      const own = patient.person();
      await own.park(await own.begin(), ["c1"]);
      const { approvals } = await own.conversations.listApprovals({});
      expect(approvals.map(({ expiresAt }) => expiresAt)).toEqual([undefined]);
      expect(await rejectExpiredApprovals(patient.database.pool)).toBe(0);
    } finally {
      await patient.stop();
    }
  });
});

describe("a run that waited too long", () => {
  test("continues with the next heartbeat of a worker, with earlier decisions and the rest rejected", async () => {
    const { context, runId, conversationId } = await parked("c1", "c2");
    await person.journal.decideApprovals({ conversationId, calls: [{ callId: "c1", approved: true }] });
    await waited(runId, "2 days");
    expect(await sweep()).toBe(1);
    expect(await sweep()).toBe(0);
    expect((await person.conversations.getConversation({ conversationId })).conversation?.status).toBe("active");
    expect(await reasonFor(person.answer(context))).toBe(ErrorReason.STALE_EPOCH);
    const { claimed } = await person.journal.beat({ workerId: uuidv7(), claimLimit: 100, driving: [] });
    const mine = claimed.find(({ run }) => run?.id === runId);
    expect(mine?.decisions).toMatchObject([
      { callId: "c1", approved: true, grant: expect.stringMatching(/./) },
      { callId: "c2", approved: false, reason: "expired", grant: "" },
    ]);
    if (mine !== undefined) await person.answer(mine, "Then not.");
    const { rows } = await fixture.pool.query("select status, attempt from runs where run_id = $1", [runId]);
    expect(rows).toEqual([{ status: "completed", attempt: 0 }]);
  });

  test("is recorded in its log and in the audit log, without a decider", async () => {
    const { runId } = await parked("c1");
    await waited(runId, "2 days");
    await sweep();
    const events = await fixture.pool.query("select type, payload from run_events where run_id = $1 order by seq", [runId]);
    expect(events.rows).toEqual([{ type: "resumed", payload: { expired: true, calls: [{ call_id: "c1", approved: false }] } }]);
    const { rows } = await fixture.pool.query<{ event: string }>("select event from audit_log order by seq desc limit 1");
    expect(JSON.parse(rows[0]?.event ?? "")).toMatchObject({
      action: "approval.expired",
      actor_id: "",
      details: { run_id: runId, call_id: "c1", tool: "http_request", approved: false },
    });
  });

  test("is resumed once by concurrent sweeps, and never both decided and expired", async () => {
    const runs = await Promise.all(Array.from({ length: 10 }, () => parked("c1")));
    // Half of the calls expire at the moment of their decision.
    await Promise.all(runs.map(({ runId }) => waited(runId, "23:59:59.95")));
    const decided = runs.map(({ conversationId }) =>
      reasonFor(person.journal.decideApprovals({ conversationId, approved: true })).then((reason) => reason === undefined),
    );
    const swept = Promise.all(Array.from({ length: 20 }, async () => sweep()));
    const won = await Promise.all(decided);
    await swept;
    await expect
      .poll(async () => {
        await sweep();
        const { rows } = await fixture.pool.query("select from runs where run_id = any ($1) and status = 'waiting'", [
          runs.map(({ runId }) => runId),
        ]);
        return rows.length;
      })
      .toBe(0);
    for (const [index, { runId }] of runs.entries()) {
      const { rows } = await fixture.pool.query(
        `select a.status, a.decided_by is null as nobody, r.epoch from approvals a join runs r using (run_id) where run_id = $1`,
        [runId],
      );
      expect(rows).toEqual([
        won[index] ? { status: "approved", nobody: false, epoch: 2 } : { status: "rejected", nobody: true, epoch: 1 },
      ]);
    }
  });

  test("is found by the running service by itself", async () => {
    const { runId, context } = await parked("c1");
    await waited(runId, "2 days");
    const statusOf = async () => (await fixture.pool.query("select status from runs where run_id = $1", [runId])).rows[0]?.status;
    await expect.poll(statusOf, { timeout: 10_000, interval: 200 }).toBe("queued");
    expect(context.run?.status).toBe(RunStatus.RUNNING);
  });
});

test("a run that cannot be swept holds up no other, and is left out from then on", async () => {
  const before = await parked("c1");
  const bad = await parked("c1");
  const after = await parked("c1");
  for (const { runId } of [before, bad, after]) await waited(runId, "25 hours");
  const { pool } = fixture;
  await pool.query(`
    create function refuse_bad_run() returns trigger language plpgsql as $$ begin
      if new.run_id = '${bad.runId}' then raise exception 'bad run' using errcode = '22023'; end if;
      return new;
    end $$;
    create trigger refuse_bad_run before update on approvals for each row execute function refuse_bad_run()`);
  const added: string[] = [];
  const unsweepable = { runIds: new Set<string>(), onAdded: (runId: string) => void added.push(runId) };
  try {
    expect(await rejectExpiredApprovals(fixture.database.pool, unsweepable)).toBe(2);
    expect(added).toEqual([bad.runId]);
    for (const { runId } of [before, after]) {
      expect((await person.conversations.getRun({ runId })).run).toMatchObject({ status: "queued" });
    }
    expect(await rejectExpiredApprovals(fixture.database.pool, unsweepable)).toBe(0);
    expect(added).toHaveLength(1);
  } finally {
    await pool.query("drop trigger refuse_bad_run on approvals; drop function refuse_bad_run");
  }
  expect(await rejectExpiredApprovals(fixture.database.pool)).toBe(1);
});
