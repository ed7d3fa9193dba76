import { type RunContext, RunStatus } from "@turnwright/contract/conversation/v1/run";
import type { Queryable } from "@turnwright/platform/postgres/pool";
import { uuidv7 } from "@turnwright/platform/uuid";
import type { QueryConfig } from "pg";
import { describe, expect, test } from "vitest";
import { ErrorReason, type Person, reasonFor } from "../../../testing/conversation.ts";
import { fixture, useConversation } from "../../../testing/use-conversation.ts";
import { readRunLog } from "../runs.ts";

useConversation();

const workerId = uuidv7();

/** Sends a message that has to wait; returns the queued run's id. */
async function send(person: Person, conversationId: string | undefined, message: string, rest: object = {}): Promise<string> {
  const runId = uuidv7();
  const { context, run } = await person.journal.beginRun({ runId, conversationId, message, ...rest });
  expect(context).toBeUndefined();
  expect(run).toMatchObject({ id: runId, status: RunStatus.QUEUED });
  return runId;
}

async function claim(person: Person, runId: string): Promise<RunContext | undefined> {
  return (await person.journal.claimRun({ runId, workerId, graphVersion: 1 })).context;
}

describe("a message to a busy conversation", () => {
  test("is answered after the previous one, and is stored after that answer", async () => {
    const person = fixture.person();
    const first = await person.begin({ message: "one" });
    const conversationId = first.conversation?.id;
    const second = await send(person, conversationId, "two");
    const third = await send(person, conversationId, "three");
    expect(await claim(person, second)).toBeUndefined();
    const ended = await person.commit(first, {
      status: RunStatus.COMPLETED,
      messages: [{ id: uuidv7(), role: "assistant", content: "1" }],
      events: [{ type: "completed", messages: 1 }],
    });
    expect(ended.nextRunId).toBe(second);
    expect(await claim(person, third)).toBeUndefined();
    const context = await claim(person, second);
    expect(context?.run).toMatchObject({ epoch: 1, seq: 1, status: RunStatus.RUNNING });
    expect(context?.messages.map(({ content }) => content)).toEqual(["one", "1", "two"]);
    // A message that arrives now must not overtake the waiting one.
    const fourth = await send(person, conversationId, "four");
    await person.answer(context as RunContext, "2");
    for (const [runId, answer] of [
      [third, "3"],
      [fourth, "4"],
    ] as const) {
      await person.answer((await claim(person, runId)) as RunContext, answer);
    }
    const { messages } = await person.conversations.getConversation({ conversationId });
    expect(messages.map(({ content }) => content)).toEqual(["one", "1", "two", "2", "three", "3", "four", "4"]);
  });

  test("learns which run it interrupts, although both arrived at the same moment", async () => {
    for (let round = 0; round < 10; round += 1) {
      const person = fixture.person();
      const opening = await person.begin();
      await person.answer(opening);
      const conversationId = opening.conversation?.id;
      const begun = await Promise.all(
        Array.from({ length: 8 }, () =>
          person.journal.beginRun({ runId: uuidv7(), conversationId, message: "stop", concurrency: "interrupt", workerId }),
        ),
      );
      const live = begun.flatMap(({ context }) => context?.run?.id ?? []);
      expect(live).toHaveLength(1);
      expect(begun.filter(({ context }) => context === undefined).map(({ liveRunId }) => liveRunId)).toEqual(
        Array(7).fill(live[0]),
      );
    }
  });

  test("goes first when it interrupts, once the live run is cancelled, whose later commits are refused", async () => {
    const person = fixture.person();
    const first = await person.begin({ message: "one" });
    const conversationId = first.conversation?.id;
    const second = await send(person, conversationId, "two");
    const runId = uuidv7();
    const opened = await person.journal.beginRun({ runId, conversationId, message: "stop", concurrency: "interrupt" });
    expect(opened.liveRunId).toBe(first.run?.id);
    const cancelled = await person.journal.cancelRun({ runId: opened.liveRunId });
    expect(cancelled).toMatchObject({ cancelled: true, nextRunId: runId });
    expect(await reasonFor(person.answer(first))).toBe(ErrorReason.STALE_EPOCH);
    expect(await claim(person, second)).toBeUndefined();
    expect((await claim(person, runId))?.messages.at(-1)?.content).toBe("stop");
  });

  test("is claimed by one of twenty workers, and by a heartbeat when none does", async () => {
    const person = fixture.person();
    const first = await person.begin({ message: "one" });
    const runId = await send(person, first.conversation?.id, "two");
    await person.answer(first);
    const claims = await Promise.all(Array.from({ length: 20 }, () => claim(person, runId)));
    expect(claims.filter((context) => context !== undefined)).toHaveLength(1);
    const third = await send(person, first.conversation?.id, "three");
    await person.answer(claims.find((context) => context !== undefined) as RunContext);
    const { claimed } = await person.journal.beat({ workerId: uuidv7(), claimLimit: 100, graphVersion: 1 });
    expect(claimed.map(({ run }) => run?.id)).toContain(third);
  });
});

describe("a background run", () => {
  test("of a new conversation is queued with its message and claimed with its context", async () => {
    const person = fixture.person();
    const runId = await send(person, undefined, "in the background", { background: true });
    const { run } = await person.conversations.getRun({ runId });
    expect(run).toMatchObject({ status: "queued", lastEventId: "0" });
    const context = await claim(person, runId);
    expect(context?.messages).toMatchObject([{ role: "user", content: "in the background", sequenceNumber: 1 }]);
    await person.commit(context as RunContext, {
      status: RunStatus.COMPLETED,
      messages: [{ id: uuidv7(), role: "assistant", content: "done" }],
      events: [{ type: "completed", messages: 1 }],
    });
    expect((await person.conversations.getRun({ runId })).run).toMatchObject({ status: "completed", response: "done" });
  });

  test("whose begin is repeated after a lost response is not taken from the worker that has claimed it since", async () => {
    const person = fixture.person();
    for (const key of ["", uuidv7()]) {
      const request = { runId: uuidv7(), message: "once", background: true, workerId, idempotencyKey: key };
      await person.journal.beginRun(request);
      for (const claimant of [workerId, uuidv7()]) {
        await person.journal.claimRun({ runId: request.runId, workerId: claimant, graphVersion: 1 });
        const again = await person.journal.beginRun(request);
        expect(again).toMatchObject({ replayed: true, run: { id: request.runId, status: RunStatus.RUNNING } });
        expect(again.context).toBeUndefined();
      }
    }
  });

  test("that was claimed by its begin is returned again until another worker has claimed it", async () => {
    const person = fixture.person();
    const request = { runId: uuidv7(), message: "once", workerId: uuidv7() };
    await person.journal.beginRun(request);
    const again = await person.journal.beginRun(request);
    expect(again).toMatchObject({ replayed: true, context: { run: { id: request.runId, epoch: 1 } } });
    await fixture.pool.query("update runs set updated_at = now() - interval '4 seconds' where run_id = $1", [request.runId]);
    const beat = { workerId: request.workerId, claimLimit: 100, graphVersion: 1, driving: [] };
    const { claimed } = await person.journal.beat(beat);
    expect(claimed.map(({ run }) => run?.id)).toContain(request.runId);
    expect((await person.journal.beginRun(request)).context).toBeUndefined();
  });

  test("that is delayed after a failure is claimed again in due time", async () => {
    const person = fixture.person();
    const context = await person.begin();
    const runId = context.run?.id ?? "";
    const park = (wakeInMs: number) => ({ status: RunStatus.QUEUED, wakeInMs, events: [{ type: "parked" }] });
    await person.commit(context, park(60_000));
    expect(await claim(person, runId)).toBeUndefined();
    expect((await person.conversations.getRun({ runId })).run).toMatchObject({ status: "queued" });
    expect(await reasonFor(person.answer(context))).toBe(ErrorReason.STALE_EPOCH);
    await fixture.pool.query("update runs set wake_at = now() where run_id = $1", [runId]);
    const again = await claim(person, runId);
    expect(again?.run).toMatchObject({ epoch: 2, seq: 2 });
    expect(again?.messages).toHaveLength(1);
  });
});

test("a log read during a commit has no entry beyond the run that comes with it", async () => {
  const person = fixture.person();
  const context = await person.begin();
  const runId = context.run?.id ?? "";
  const intent = { status: RunStatus.RUNNING, events: [{ type: "tool_intent" }] };
  await person.commit(context, intent);
  const logIsBehind: Queryable = {
    query: (async (query: QueryConfig) => {
      // Committed after the run is read and before its log is.
      if (query.name === "run-log")
        await person.commit(context, { status: RunStatus.NEEDS_REVIEW, events: [{ type: "needs_review" }] });
      return await fixture.pool.query(query);
    }) as never,
  };
  const asked = { userId: person.userId, runId, after: 0, limit: 100 };
  const { run, events } = await readRunLog(logIsBehind, asked);
  expect(run).toMatchObject({ status: "running", lastEventId: "1" });
  expect(events.map(({ type }) => type)).toEqual(["tool_intent"]);
  const later = await readRunLog(fixture.pool, { ...asked, after: 1 });
  expect(later.run.status).toBe("needs_review");
  expect(later.events.map(({ type }) => type)).toEqual(["needs_review"]);
});

describe("cancelling", () => {
  test("ends a run in any live state, keeps its receipts and is refused once the run has ended", async () => {
    const person = fixture.person();
    const context = await person.begin();
    const runId = context.run?.id ?? "";
    await person.park(context, ["c1"]);
    expect(await reasonFor(fixture.person().journal.cancelRun({ runId }))).toBe(ErrorReason.NOT_FOUND);
    expect((await person.journal.cancelRun({ runId })).cancelled).toBe(true);
    expect((await person.journal.cancelRun({ runId })).cancelled).toBe(false);
    await person.journal.recordReceipts({ runId, receipts: [{ callId: "c1", toolName: "t", outcome: "not_started" }] });
    expect((await person.conversations.getRun({ runId })).run).toMatchObject({
      status: "cancelled",
      receipts: [{ callId: "c1", toolName: "t", outcome: "not_started" }],
    });
    const { approvals } = await person.conversations.listApprovals({});
    expect(approvals).toEqual([]);
    const next = await person.begin({ conversationId: context.conversation?.id });
    await person.answer(next);
    expect(await reasonFor(person.journal.cancelRun({ runId: next.run?.id }))).toBe(ErrorReason.RUN_ENDED);
  });

  test("lets the owner still report usage that the run could not commit", async () => {
    const person = fixture.person();
    const context = await person.begin();
    const runId = context.run?.id ?? "";
    await person.journal.cancelRun({ runId });
    const usage = { promptTokens: 90_000, completionTokens: 20, totalTokens: 90_020 };
    expect(await reasonFor(fixture.person().journal.addRunUsage({ runId, usage, cost: 1 }))).toBe(ErrorReason.NOT_FOUND);
    await person.journal.addRunUsage({ runId, usage, cost: 0.5 });
    const { run } = await person.conversations.getRun({ runId });
    expect(run).toMatchObject({ status: "cancelled", usage, cost: 0.5 });
    const { conversation } = await person.conversations.getConversation({ conversationId: context.conversation?.id });
    expect(conversation).toMatchObject({ totalTokens: 90_020, totalCost: 0.5 });
  });

  test("takes usage up to what a counter holds, and refuses counts that are none", async () => {
    const person = fixture.person();
    const runId = (await person.begin()).run?.id ?? "";
    await person.journal.cancelRun({ runId });
    const most = 2_147_483_647;
    for (const promptTokens of [-1, 12.5, Number.NaN, most + 1]) {
      expect(await reasonFor(person.journal.addRunUsage({ runId, usage: { promptTokens } }))).toBe(ErrorReason.INVALID_REQUEST);
    }
    const usage = { promptTokens: most, completionTokens: most, totalTokens: most };
    for (let time = 0; time < 2; time++) await person.journal.addRunUsage({ runId, usage });
    expect((await person.conversations.getRun({ runId })).run).toMatchObject({ usage });
  });

  test("ends a run whose messages cannot be read", async () => {
    const person = fixture.person();
    const { run, conversation } = await person.begin();
    await fixture.pool.query("update messages set tool_calls = '5' where conversation_id = $1", [conversation?.id]);
    const { cancelled, context } = await person.journal.cancelRun({ runId: run?.id });
    expect([cancelled, context?.messages]).toEqual([true, []]);
    const { rows } = await fixture.pool.query("select status from runs where run_id = $1", [run?.id]);
    expect(rows).toEqual([{ status: "cancelled" }]);
  });

  test("a run in review holds its conversation until it is resumed by its owner", async () => {
    const person = fixture.person();
    const context = await person.begin();
    const runId = context.run?.id ?? "";
    const conversationId = context.conversation?.id;
    const calls = [{ id: "c1", name: "send", arguments: "{}" }];
    await person.commit(context, {
      status: RunStatus.NEEDS_REVIEW,
      events: [{ type: "needs_review", payload: JSON.stringify({ calls }) }],
    });
    expect((await person.conversations.getRun({ runId })).run?.unsettledCalls).toMatchObject([
      { id: "c1", function: { name: "send", arguments: "{}" } },
    ]);
    expect(await reasonFor(person.begin({ conversationId }))).toBe(ErrorReason.PENDING_REVIEW);
    expect(await reasonFor(fixture.person().journal.resumeRun({ runId, workerId }))).toBe(ErrorReason.NOT_FOUND);
    const resumed = await person.journal.resumeRun({ runId, workerId });
    expect(resumed.context?.run).toMatchObject({ epoch: 2, status: RunStatus.RUNNING });
    expect(await reasonFor(person.journal.resumeRun({ runId, workerId }))).toBe(ErrorReason.NOTHING_TO_REVIEW);
  });
});

test("a page of runs is of one user or one conversation, newest first, by status", async () => {
  const person = fixture.person();
  const contexts = [];
  for (const message of ["a", "b", "c"]) contexts.push(await person.begin({ message }));
  const ids = contexts.map(({ run }) => run?.id);
  const first = await person.conversations.listRuns({ limit: 2 });
  expect(first.runs.map(({ id }) => id)).toEqual([ids[2], ids[1]]);
  const second = await person.conversations.listRuns({ limit: 2, cursor: first.nextCursor });
  expect(second.runs.map(({ id }) => id)).toEqual([ids[0]]);
  expect(second.nextCursor).toBe("");
  const ofOne = await person.conversations.listRuns({ conversationId: contexts[0]?.conversation?.id });
  expect(ofOne.runs.map(({ id }) => id)).toEqual([ids[0]]);
  expect((await person.conversations.listRuns({ status: "completed" })).runs).toEqual([]);
  expect((await fixture.person().conversations.listRuns({})).runs).toEqual([]);
});
