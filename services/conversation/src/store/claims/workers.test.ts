import { randomUUID } from "node:crypto";
import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import { hashArguments, verifyGrant } from "@turnwright/platform/identity/grant";
import { uuidv7 } from "@turnwright/platform/uuid";
import { describe, expect, test } from "vitest";
import { ErrorReason, meshSecret, reasonFor, toolCall } from "../../../testing/conversation.ts";
import { fixture, person, useConversation } from "../../../testing/use-conversation.ts";

useConversation();

const beat = async (workerId: string, driving: string[] = [], claimLimit = 100) =>
  (await person.journal.beat({ workerId, claimLimit, graphVersion: 9, driving })).claimed;

/** Moves the times back by so many seconds. */
async function later(seconds: number): Promise<void> {
  await fixture.pool.query("update journal_pulse set since = since - make_interval(secs => $1)", [seconds]);
  await fixture.pool.query(
    "update workers set seen_at = seen_at - make_interval(secs => $1), back_at = back_at - make_interval(secs => $1)",
    [seconds],
  );
  await fixture.pool.query("update runs set updated_at = updated_at - make_interval(secs => $1)", [seconds]);
}

/** Simulates an outage of the database of so many seconds. */
async function outage(seconds: number): Promise<void> {
  await later(seconds);
  await fixture.pool.query("update journal_pulse set seen_at = seen_at - make_interval(secs => $1)", [seconds]);
}

/** Resolves when the journal has recorded that workers can reach it again. */
async function nextPulse(): Promise<void> {
  const isBack = async () =>
    (await fixture.pool.query("select since > now() - interval '1 minute' as back from journal_pulse")).rows[0];
  await expect.poll(isBack, { interval: 20 }).toEqual({ back: true });
}

async function begun(workerId: string, message = "Hello") {
  const context = await person.begin({ message, workerId, state: '{"agent":"coder"}' });
  return { context, runId: context.run?.id ?? "" };
}

describe("runs", () => {
  test("of a live worker stay its own, no matter how long they take", async () => {
    const [worker, other] = [randomUUID(), randomUUID()];
    await beat(worker);
    const { runId } = await begun(worker);
    await later(60);
    const { lost } = await person.journal.beat({ workerId: worker, claimLimit: 8, graphVersion: 9, driving: [runId] });
    expect(lost).toEqual([]);
    expect(await beat(other)).toEqual([]);
  });

  test("of a worker that misses heartbeats for three seconds go to one other, with state, context and a new epoch", async () => {
    const [worker, ...others] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()];
    await beat(worker);
    const { context, runId } = await begun(worker, "Take me over");
    await later(2);
    expect((await beat(randomUUID())).map((one) => one.run?.id)).not.toContain(runId);
    await later(2);
    const claims = (await Promise.all(others.map((other) => beat(other)))).flat().filter((one) => one.run?.id === runId);
    expect(claims).toHaveLength(1);
    expect(claims[0]?.run).toMatchObject({
      epoch: 2,
      userId: person.userId,
      tokenId: person.tokenId,
      state: '{"agent":"coder"}',
    });
    expect(claims[0]?.messages.map(({ content }) => content)).toEqual(["Take me over"]);
    // The worker that was only slow has lost the run, and learns so.
    expect((await person.journal.beat({ workerId: worker, claimLimit: 0, driving: [runId] })).lost).toEqual([runId]);
    const late = person.commit(context, { status: RunStatus.COMPLETED, node: "respond" });
    expect(await reasonFor(late)).toBe(ErrorReason.STALE_EPOCH);
  });

  test("of workers that the journal could not hear stay their own, for as long as any worker has to come back", async () => {
    const [worker, other] = [randomUUID(), randomUUID()];
    await beat(worker);
    const { runId } = await begun(worker);
    await outage(60);
    expect((await beat(other)).map((one) => one.run?.id)).not.toContain(runId);
    await nextPulse();
    await later(2);
    expect((await beat(other)).map((one) => one.run?.id)).not.toContain(runId);
    await beat(worker, [runId]);
    await later(2);
    expect((await beat(other)).map((one) => one.run?.id)).not.toContain(runId);
    await later(2);
    expect((await beat(other)).map((one) => one.run?.id)).toContain(runId);
  });

  test("of others are not claimed for a while by a worker that was cut off itself", async () => {
    const [worker, other] = [randomUUID(), randomUUID()];
    await beat(other);
    const { runId } = await begun(worker);
    await later(60);
    expect((await beat(other)).map((one) => one.run?.id)).not.toContain(runId);
    await later(7);
    await beat(other);
    await later(2);
    expect((await beat(other)).map((one) => one.run?.id)).not.toContain(runId);
    await later(2);
    expect((await beat(other)).map((one) => one.run?.id)).toContain(runId);
  });

  test("of a worker that leaves are free at once after an outage too", async () => {
    const worker = randomUUID();
    await beat(worker);
    const { runId } = await begun(worker);
    await outage(60);
    await person.journal.beat({ workerId: worker, leaving: true });
    expect((await beat(randomUUID())).map((one) => one.run?.id)).toContain(runId);
    await nextPulse();
  });

  test("of a worker that never sent a heartbeat, likewise", async () => {
    const { runId } = await begun(randomUUID());
    await later(4);
    expect((await beat(randomUUID())).map((one) => one.run?.id)).toContain(runId);
  });

  test("whose begin a worker did not learn of come back to it", async () => {
    const worker = randomUUID();
    await beat(worker);
    const { runId } = await begun(worker);
    expect((await beat(worker, [])).map((one) => one.run?.id)).not.toContain(runId);
    await later(4);
    expect((await beat(worker, [])).map((one) => one.run?.id)).toContain(runId);
  });

  test("that wait for a person, or are of a newer graph version, are not claimed", async () => {
    const waiting = await person.begin({ message: "Send it", workerId: randomUUID() });
    await person.park(waiting, ["c1"]);
    const newer = await person.begin({ message: "Hello", workerId: randomUUID(), graphVersion: 10 });
    await later(60);
    const ids = (await beat(randomUUID(), [], 100)).map((one) => one.run?.id);
    expect(ids).not.toContain(waiting.run?.id);
    expect(ids).not.toContain(newer.run?.id);
  });

  test("of a worker that leaves are free at once, even without a heartbeat before, and that is no attempt", async () => {
    const [worker, other] = [randomUUID(), randomUUID()];
    await beat(worker);
    const { runId } = await begun(worker, "Go on without me");
    expect((await beat(other)).map((one) => one.run?.id)).not.toContain(runId);
    expect(await person.journal.beat({ workerId: worker, leaving: true })).toMatchObject({ claimed: [], lost: [] });
    const claimed = (await beat(other)).find((one) => one.run?.id === runId);
    expect(claimed?.messages.map(({ content }) => content)).toEqual(["Go on without me"]);
    const { rows } = await fixture.pool.query("select epoch, attempt from runs where run_id = $1", [runId]);
    expect(rows).toEqual([{ epoch: 2, attempt: 0 }]);
    const unheard = randomUUID();
    const second = await begun(unheard);
    await person.journal.beat({ workerId: unheard, leaving: true });
    expect((await beat(other, [runId])).map((one) => one.run?.id)).toContain(second.runId);
  });

  test("that were decided before their worker died continue with the decisions and their grants", async () => {
    const context = await person.begin({ message: "Send it", workerId: randomUUID() });
    await person.park(context, ["c1", "c2"]);
    const conversationId = context.conversation?.id ?? "";
    const calls = [{ callId: "c2", approved: false, reason: "no" }];
    await person.journal.decideApprovals({ conversationId, approved: true, calls, workerId: randomUUID() });
    await later(4);
    const claimed = (await beat(randomUUID())).find((one) => one.run?.id === context.run?.id);
    expect(claimed?.decisions).toMatchObject([
      { callId: "c1", approved: true },
      { callId: "c2", approved: false, reason: "no", grant: "" },
    ]);
    const { tokenId } = person;
    const claims = { runId: context.run?.id ?? "", epoch: 3, callId: "c1", tool: "http_request", toolVersion: "3", tokenId };
    const argumentsHash = hashArguments(toolCall("c1").function.arguments);
    expect(await verifyGrant(meshSecret, claimed?.decisions[0]?.grant ?? "", { ...claims, argumentsHash })).toBe(true);
  });

  test("in a later round get no decision of an earlier one with the same call ids", async () => {
    const context = await person.begin({ message: "Send it", workerId: randomUUID() });
    await person.park(context, ["c1"]);
    const conversationId = context.conversation?.id ?? "";
    const decided = await person.journal.decideApprovals({ conversationId, approved: true, workerId: randomUUID() });
    if (decided.context === undefined) throw new Error("not resumed");
    await person.commit(decided.context, {
      status: RunStatus.RUNNING,
      messages: [
        { role: "tool", toolCallId: "c1", content: "sent" },
        { role: "assistant", toolCalls: [toolCall("c1")] },
      ],
    });
    await later(4);
    const claimed = (await beat(randomUUID())).find((one) => one.run?.id === context.run?.id);
    expect(claimed?.decisions).toEqual([]);
  });

  test("that end every worker fail after five, and free their conversation", async () => {
    const { context, runId } = await begun(randomUUID());
    for (let attempt = 1; attempt <= 5; attempt++) {
      await later(4);
      expect((await beat(randomUUID())).map((one) => one.run?.id)).toContain(runId);
    }
    await later(4);
    expect((await beat(randomUUID())).map((one) => one.run?.id)).not.toContain(runId);
    const { rows } = await fixture.pool.query("select status, error from runs where run_id = $1", [runId]);
    expect(rows).toEqual([{ status: "failed", error: "The run was taken over 5 times without making a step, and is given up." }]);
    const { rows: log } = await fixture.pool.query(
      "select payload ->> 'reason' as reason from run_events where run_id = $1 and type = 'failed'",
      [runId],
    );
    expect(log).toEqual([{ reason: "ERROR_REASON_RUN_ABANDONED" }]);
    await expect(person.begin({ conversationId: context.conversation?.id, message: "Again" })).resolves.toBeDefined();
  });

  test("that a worker claims again and again wait twice as long each time, and end after a minute and a half", async () => {
    const { context, runId } = await begun(randomUUID());
    const worker = randomUUID();
    const claimed = async () => (await beat(worker)).map((one) => one.run?.id).includes(runId);
    await later(4);
    expect(await claimed()).toBe(true);
    // Neither driven nor committed: the response was lost, or the run fails in a way that the worker cannot store.
    for (const waits of [6, 12, 24, 48]) {
      await later(waits - 2);
      expect(await claimed()).toBe(false);
      await later(3);
      expect(await claimed()).toBe(true);
    }
    await later(100);
    expect(await claimed()).toBe(false);
    const { rows } = await fixture.pool.query("select status, attempt from runs where run_id = $1", [runId]);
    expect(rows).toEqual([{ status: "failed", attempt: 6 }]);
    await expect(person.begin({ conversationId: context.conversation?.id, message: "Again" })).resolves.toBeDefined();
  });

  test("that a worker claims again after a step start anew", async () => {
    const { context, runId } = await begun(randomUUID());
    const worker = randomUUID();
    let [claim] = [context];
    for (let claims = 1; claims <= 7; claims++) {
      await later(4);
      claim = (await beat(worker)).find((one) => one.run?.id === runId) ?? context;
      await person.commit(claim, { status: RunStatus.RUNNING, node: "act" });
    }
    expect(claim.run?.epoch).toBe(8);
  });

  test("that cannot begin end with that cause, and do not hold up the heartbeat", async () => {
    const { conversation, run } = await begun(randomUUID()).then(({ context }) => context);
    const queued = await person.journal.beginRun({ runId: uuidv7(), conversationId: conversation?.id, message: "Next" });
    // The number of the next message is taken, which no worker can change.
    await fixture.pool.query("update conversations set message_count = 0 where id = $1", [conversation?.id]);
    await person.journal.cancelRun({ runId: run?.id });
    await person.journal.beat({ workerId: randomUUID(), claimLimit: 100, graphVersion: 9 });
    const ended = await person.conversations.getRun({ runId: queued.run?.id });
    expect(ended.run).toMatchObject({ status: "failed", error: expect.stringContaining("cannot begin") });
  });

  test("whose context cannot be read end with that cause, and do not hold up the others", async () => {
    const other = await begun(randomUUID());
    const { context, runId } = await begun(randomUUID());
    const conversationId = context.conversation?.id;
    const odd = "update messages set tool_calls = '5' where conversation_id = $1";
    await fixture.pool.query(odd, [conversationId]);
    await later(4);
    const claimed = (await beat(randomUUID())).map((one) => one.run?.id);
    expect(claimed).toContain(other.runId);
    expect(claimed).not.toContain(runId);
    const { rows } = await fixture.pool.query("select status, error from runs where run_id = $1", [runId]);
    expect(rows).toEqual([{ status: "failed", error: "The messages of the run's conversation cannot be read." }]);
  });

  test("that make progress between the ends of their workers are not given up", async () => {
    const { runId } = await begun(randomUUID());
    for (let attempt = 1; attempt <= 7; attempt++) {
      await later(4);
      const context = (await beat(randomUUID())).find((one) => one.run?.id === runId);
      if (context === undefined) throw new Error(`not claimed after ${attempt} workers`);
      if (attempt === 4) await person.commit(context, { status: RunStatus.RUNNING, node: "act" });
    }
  });

  test("whose credential has ended fail under their epoch, and free their conversation", async () => {
    const { context, runId } = await begun(randomUUID());
    const error = "The credential has\0 ended.";
    const abandon = (epoch: number) => person.journal.abandonRun({ runId, epoch, error });
    expect(await reasonFor(abandon(9))).toBe(ErrorReason.STALE_EPOCH);
    await abandon(1);
    const reasonSql = "select payload ->> 'reason' as reason from run_events where run_id = $1 and type = 'failed'";
    expect((await fixture.pool.query(reasonSql, [runId])).rows).toEqual([{ reason: "ERROR_REASON_RUN_CREDENTIAL_ENDED" }]);
    const second = await begun(randomUUID());
    const failed = { runId: second.runId, epoch: 1, error: "No.", reason: "ERROR_REASON_MODEL_FAILED" };
    await person.journal.abandonRun(failed);
    expect((await fixture.pool.query(reasonSql, [second.runId])).rows).toEqual([{ reason: "ERROR_REASON_MODEL_FAILED" }]);
    await expect(person.begin({ conversationId: context.conversation?.id, message: "Again" })).resolves.toBeDefined();
  });
});
