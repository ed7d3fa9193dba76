import { randomUUID } from "node:crypto";
import { toBinary } from "@bufbuild/protobuf";
import { BeatResponseSchema } from "@turnwright/contract/conversation/v1/journal_service";
import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import { uuidv7 } from "@turnwright/platform/uuid";
import { createLoggedLines } from "@turnwright/testing/logged-lines";
import { describe, expect, test } from "vitest";
import { fixture, person, useConversation } from "../../../testing/use-conversation.ts";

const log = createLoggedLines();
useConversation({ max: 4, logger: log.logger });

const versions = { graphVersion: 9 };
const beat = (workerId: string, driving: string[] = []) =>
  person.journal.beat({ workerId, claimLimit: 100, ...versions, driving, idsOnly: true });
const contextOf = async (runId: string, workerId: string, epoch: number) =>
  (await person.journal.claimRun({ runId, workerId, ...versions, epoch })).context;
/** Lets seconds pass for the runs of a worker. */
const later = (owner: string, seconds: number) =>
  fixture.pool.query("update runs set updated_at = updated_at - $2 * interval '1 second' where owner = $1", [owner, seconds]);
const rowOf = async (runId: string) =>
  (
    await fixture.pool.query(
      "select status, attempt, error, deadline_at::text as deadline, now() < deadline_at as in_time from runs where run_id = $1",
      [runId],
    )
  ).rows[0];

describe("a heartbeat that asks for ids", () => {
  test("names the runs it claimed, however large their contexts are, and each context is read by itself", async () => {
    const workerId = randomUUID();
    const runIds = Array.from({ length: 9 }, () => uuidv7());
    for (const runId of runIds) {
      const first = await person.begin();
      await person.commit(first, {
        status: RunStatus.COMPLETED,
        messages: Array.from({ length: 6 }, () => ({ id: uuidv7(), role: "assistant", content: "x".repeat(190_000) })),
      });
      await person.journal.beginRun({ runId, conversationId: first.conversation?.id, message: "next", workerId });
    }
    await later(workerId, 5);
    const answer = await beat(workerId);
    expect(answer.claimed).toEqual([]);
    expect(answer.claimedRuns.map(({ runId }) => runId).sort()).toEqual([...runIds].sort());
    expect(toBinary(BeatResponseSchema, answer).length).toBeLessThan(2_000);

    const [first] = answer.claimedRuns;
    const { runId = "", epoch = 0 } = first ?? {};
    // A response may be lost: the context is read as often as it takes.
    for (const _ of [1, 2]) expect((await contextOf(runId, workerId, epoch))?.messages.at(-1)?.content).toBe("next");
    expect(await contextOf(runId, randomUUID(), epoch)).toBeUndefined();
    expect(await contextOf(runId, workerId, epoch + 1)).toBeUndefined();
  });

  test("names queued runs that are due and leaves the claim to the worker", async () => {
    const [runId, workerId] = [uuidv7(), randomUUID()];
    await person.journal.beginRun({ runId, message: "Later", background: true, ...versions });
    const named = await beat(workerId);
    expect(named).toMatchObject({ claimed: [], claimedRuns: [] });
    expect(named.dueRunIds).toContain(runId);
    expect((await beat(randomUUID())).dueRunIds).toContain(runId);
    expect((await contextOf(runId, workerId, 0))?.messages.map(({ content }) => content)).toEqual(["Later"]);
    expect((await beat(randomUUID())).dueRunIds).not.toContain(runId);
  });
});

describe("a claim of the worker that owns the run already", () => {
  test("counts as an attempt and leaves the deadline, so that the run is given up", async () => {
    const [runId, workerId] = [uuidv7(), randomUUID()];
    await beat(workerId);
    await person.journal.beginRun({ runId, message: "Too large to arrive", workerId, deadlineSeconds: 60 });
    const { deadline } = await rowOf(runId);
    for (let attempt = 1; attempt <= 5; attempt += 1) {
      await later(workerId, 3 * 2 ** attempt);
      expect((await beat(workerId)).claimedRuns.map((claimed) => claimed.runId)).toEqual([runId]);
      expect(await rowOf(runId)).toMatchObject({ status: "running", attempt, deadline });
    }
    await later(workerId, 200);
    expect((await beat(workerId)).claimedRuns).toEqual([]);
    expect(await rowOf(runId)).toMatchObject({ status: "failed", error: expect.stringContaining("given up") });
    const { run } = await person.conversations.getRun({ runId });
    expect(run).toMatchObject({ status: "failed", errorReason: "RUN_ABANDONED" });
  });

  test("does not keep its conversation busy past the deadline: the next message is answered", async () => {
    const [runId, workerId] = [uuidv7(), randomUUID()];
    await beat(workerId);
    const { context } = await person.journal.beginRun({ runId, message: "Hello", workerId, deadlineSeconds: 60, ...versions });
    await fixture.pool.query("update runs set deadline_at = now() - interval '1 second' where run_id = $1", [runId]);
    await later(workerId, 10);
    await beat(workerId);
    const next = await person.begin({ conversationId: context?.conversation?.id, message: "Still there?", ...versions });
    expect(next.messages.at(-1)?.content).toBe("Still there?");
    expect(await rowOf(runId)).toMatchObject({ status: "failed", error: "The run passed its deadline." });
  });

  test("is another thing than the claim of a dead worker's run, which gets its whole time again", async () => {
    const [runId, dead, other] = [uuidv7(), randomUUID(), randomUUID()];
    await beat(dead);
    await person.journal.beginRun({ runId, message: "Hello", workerId: dead, deadlineSeconds: 60, ...versions });
    await fixture.pool.query("update runs set deadline_at = now() - interval '1 second' where run_id = $1", [runId]);
    await person.journal.beat({ workerId: dead, leaving: true });
    expect((await beat(other)).claimedRuns.map((claimed) => claimed.runId)).toContain(runId);
    expect(await rowOf(runId)).toMatchObject({ status: "running", in_time: true });
  });
});

describe("a run that is given up", () => {
  /** Begins a run that commits this event, and lets it be claimed five times. */
  async function takenOver(event?: { type: string; payload: string }) {
    const [runId, workerId] = [uuidv7(), randomUUID()];
    await beat(workerId);
    const request = { runId, message: "Hello", workerId, state: '{"agent":"coder"}', deadlineSeconds: 60, ...versions };
    const { context } = await person.journal.beginRun(request);
    const conversationId = context?.conversation?.id;
    if (event !== undefined && context !== undefined) {
      await person.commit(context, { status: RunStatus.RUNNING, state: '{"agent":"coder"}', events: [event] });
    }
    await fixture.pool.query("update runs set attempt = 5 where run_id = $1", [runId]);
    await later(workerId, 200);
    return { runId, conversationId, workerId };
  }
  const linesOf = (runId: string) => log.lines.filter((line) => line.run_id === runId);

  test("is logged once, as a warning, by the process that ends it", async () => {
    const payload = '{"error":"The endpoint hung up.","reason":"ERROR_REASON_MODEL_FAILED"}';
    const { runId, conversationId, workerId } = await takenOver({ type: "model_attempt", payload });
    await Promise.all([beat(workerId), beat(workerId), beat(workerId)]);
    expect(await rowOf(runId)).toMatchObject({ status: "failed" });
    expect(linesOf(runId)).toEqual([
      expect.objectContaining({
        level: "warn",
        msg: "run failed",
        reason: "ERROR_REASON_RUN_ABANDONED",
        error: "The run was taken over 5 times without making a step, and is given up.",
        run_id: runId,
        conversation_id: conversationId,
        agent: "coder",
        attempts: 5,
        last_error: "The endpoint hung up.",
      }),
    ]);
  });

  test("is logged without a last error if its log has none, and a claim that goes on is not logged", async () => {
    const { runId, workerId } = await takenOver();
    await fixture.pool.query("update runs set attempt = 4 where run_id = $1", [runId]);
    await beat(workerId);
    expect(await rowOf(runId)).toMatchObject({ status: "running", attempt: 5 });
    expect(linesOf(runId)).toEqual([]);
    await later(workerId, 200);
    await beat(workerId);
    const [line, ...others] = linesOf(runId);
    expect(line).toMatchObject({ reason: "ERROR_REASON_RUN_ABANDONED", agent: "coder", attempts: 5 });
    expect(line).not.toHaveProperty("last_error");
    expect(others).toEqual([]);
  });
});
