import { timestampMs } from "@bufbuild/protobuf/wkt";
import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import type { RunStep } from "@turnwright/contract/conversation/v1/run_step";
import { transaction } from "@turnwright/platform/postgres/pool";
import { uuidv7 } from "@turnwright/platform/uuid";
import pg from "pg";
import { expect, test } from "vitest";
import { ErrorReason, reasonFor, toolCall } from "../../testing/conversation.ts";
import { fixture, person, useConversation } from "../../testing/use-conversation.ts";
import { stepsSql } from "./run-steps.ts";

useConversation({ max: 4 });

const worker = uuidv7();
const payloadOf = (facts: object) => JSON.stringify(facts);
const shortOf = ({ kind, name, status }: RunStep) => `${kind} ${name} ${status}`;

/** A run with a call that a person has approved, and its answer. */
async function approvedRun(): Promise<string> {
  const context = await person.begin({ message: "Send it", state: '{"agent":"coder"}' });
  const runId = context.run?.id ?? "";
  const conversationId = context.conversation?.id ?? "";
  await person.commit(context, {
    status: RunStatus.RUNNING,
    model: "gpt-x",
    messages: [{ role: "assistant", toolCalls: [toolCall("a"), toolCall("b")], model: "gpt-x", latencyMs: 40 }],
    events: [
      {
        type: "tool_intent",
        payload: payloadOf({ worker, spent: { prompt_tokens: 7, completion_tokens: 3, cost_usd: 0.25 }, pieces: [1, 2] }),
        messages: 1,
      },
    ],
  });
  await person.commit(context, {
    status: RunStatus.WAITING,
    messages: [{ role: "tool", toolCallId: "a", content: '{"error":"no"}', latencyMs: 5 }],
    approvals: [{ callId: "b", toolName: "http_request", toolVersion: "3", arguments: "{}" }],
    events: [{ type: "parked", payload: payloadOf({ calls: [{ id: "b" }], outcomes: [["a", "failed"]] }), messages: 1 }],
  });
  const { context: resumed } = await person.journal.decideApprovals({ conversationId, approved: true });
  await person.journal.commitRun({
    runId,
    epoch: resumed?.run?.epoch,
    status: RunStatus.COMPLETED,
    messages: [
      { role: "tool", toolCallId: "b", content: "{}", latencyMs: 1_000 },
      { role: "assistant", content: "Sent.", model: "gpt-x", latencyMs: 1 },
    ],
    messageAgesMs: [2, 0],
    events: [{ type: "completed", payload: payloadOf({ finish_reason: "stop" }), messages: 2 }],
  });
  return runId;
}

test("a stored run is read as steps, alone and with the run, in pages, by its owner only", async () => {
  const runId = await approvedRun();
  const { run, steps, stepsNextCursor } = await person.conversations.getRun({ runId, include: ["steps"] });
  expect(run).toMatchObject({ id: runId, status: "completed" });
  expect(stepsNextCursor).toBe("");
  expect(steps.map(shortOf)).toEqual([
    "router coder completed",
    "model gpt-x completed",
    "tool http_request failed",
    "tool http_request completed",
    "approval http_request approved",
    "model gpt-x completed",
  ]);
  const [, model, , tool, approval] = steps;
  expect(model).toMatchObject({ workerId: worker, promptTokens: 7, completionTokens: 3, costUsd: 0.25, firstEventId: "1" });
  expect(tool).toMatchObject({ callId: "b", parentId: model?.id, lastEventId: "4" });
  const { approvals } = await person.conversations.listApprovals({ status: "approved" });
  expect(approval).toMatchObject({ approvalId: approvals[0]?.id, parentId: tool?.id, endedAt: approvals[0]?.decidedAt });
  for (const { startedAt, endedAt } of steps) {
    if (startedAt === undefined || endedAt === undefined) expect.fail("a step has no time");
    expect(timestampMs(endedAt)).toBeGreaterThanOrEqual(timestampMs(startedAt));
  }

  const first = await person.runSteps.listRunSteps({ runId, limit: 4 });
  const second = await person.runSteps.listRunSteps({ runId, limit: 4, cursor: first.nextCursor });
  expect([...first.steps, ...second.steps]).toEqual(steps);
  expect([first.steps.length, second.nextCursor]).toEqual([4, ""]);
  expect((await person.conversations.getRun({ runId })).steps).toEqual([]);

  const other = await approvedRun();
  const refused = (init: object) => reasonFor(person.runSteps.listRunSteps({ runId: other, ...init }));
  expect(await refused({ cursor: first.nextCursor })).toBe(ErrorReason.INVALID_REQUEST);
  expect(await refused({ cursor: "x" })).toBe(ErrorReason.INVALID_REQUEST);
  expect(await refused({ limit: 501 })).toBe(ErrorReason.INVALID_REQUEST);
  expect(await reasonFor(person.conversations.getRun({ runId, include: ["state"] }))).toBe(ErrorReason.INVALID_REQUEST);
  const stranger = fixture.person();
  expect(await reasonFor(stranger.runSteps.listRunSteps({ runId }))).toBe(ErrorReason.NOT_FOUND);
  expect(await reasonFor(stranger.conversations.getRun({ runId, include: ["steps"] }))).toBe(ErrorReason.NOT_FOUND);
});

test("entries with odd payloads leave the other steps readable", async () => {
  const context = await person.begin();
  const odd = [
    '{"error":"nul \\u0000","worker":"w"}',
    '{"error":"half \\ud83d"}',
    '{"spent":5,"outcomes":{"a":1},"in_ms":"soon","calls":7}',
    '{"spent":{"prompt_tokens":1e300,"cost_usd":-1},"outcomes":[1,["a",2],["b","failed"]],"calls":[1,{"id":2},{}],"in_ms":1e99}',
    '"text"',
    "[]",
    "null",
    "",
  ];
  await person.commit(context, {
    status: RunStatus.RUNNING,
    events: odd.flatMap((payload) => [
      { type: "model_attempt", payload },
      { type: "needs_review", payload },
    ]),
  });
  await person.commit(context, {
    status: RunStatus.COMPLETED,
    messages: [{ role: "assistant", content: "Yes.", model: "gpt-x" }],
    events: [{ type: "completed", payload: "{}", messages: 1 }],
  });
  const { steps } = await person.runSteps.listRunSteps({ runId: context.run?.id });
  expect(steps.filter(({ kind }) => kind !== "review").map(({ kind }) => kind)).toEqual([
    "router",
    ...odd.map(() => "model"),
    "model",
  ]);
  expect(steps.at(-1)).toMatchObject({ name: "gpt-x", status: "completed" });
});

test("steps are read by index only, with a plan made on tables of one page", async () => {
  const runId = await approvedRun();
  await fixture.pool.query("analyze");
  const plan = await transaction(fixture.database.pool, async (tx) => {
    await tx.query("set local plan_cache_mode = force_generic_plan");
    await tx.query(`prepare run_steps as ${stepsSql}`);
    const values = [runId, person.userId, uuidv7()].map(pg.escapeLiteral);
    const { rows } = await tx.query(`explain (format json) execute run_steps(${values.join(", ")}, 4)`);
    return JSON.stringify(rows);
  });
  expect(plan).toContain("Index");
  expect(plan).not.toContain("Seq Scan");
});
