import { randomUUID } from "node:crypto";
import { Role, TokenType } from "@turnwright/contract/auth/v1/identity";
import { type RunContext, RunStatus } from "@turnwright/contract/conversation/v1/run";
import { uuidv7 } from "@turnwright/platform/uuid";
import { describe, expect, test } from "vitest";
import { type ConversationFixture, ErrorReason, type Person, reasonFor, toolCall } from "../testing/conversation.ts";
import { fixture, useConversation } from "../testing/use-conversation.ts";

useConversation();

/** Each way to decide on the waiting calls of a run, one per RPC of the journal. */
const decisions: Readonly<Record<string, (person: Person, run: RunContext) => Promise<unknown>>> = {
  "approves all": (person, { conversation }) =>
    person.journal.decideApprovals({ conversationId: conversation?.id, approved: true }),
  "rejects all": (person, { conversation }) =>
    person.journal.decideApprovals({ conversationId: conversation?.id, approved: false, reason: "no" }),
  "approves one of two": (person, { conversation }) =>
    person.journal.decideApprovals({ conversationId: conversation?.id, calls: [{ callId: "a", approved: true }] }),
  "approves one with other arguments": (person, { conversation }) =>
    person.journal.decideApprovals({
      conversationId: conversation?.id,
      calls: [{ callId: "a", approved: true, arguments: '{"url":"https://example.com/other"}' }],
    }),
};

/** A run that a credential started, parked for two calls of http_request. */
async function parked(starter: Person): Promise<RunContext> {
  const context = await starter.begin();
  await starter.park(context, ["a", "b"]);
  return context;
}

/** All rows that a decision could have changed. */
async function recorded({ run }: RunContext): Promise<unknown> {
  const [approvals, runs, log, audit] = await Promise.all([
    fixture.pool.query("select status, reason, decided_by, edited_arguments from approvals where run_id = $1 order by position", [
      run?.id,
    ]),
    fixture.pool.query("select status, epoch, seq, owner from runs where run_id = $1", [run?.id]),
    fixture.pool.query("select seq, type from run_events where run_id = $1 order by seq", [run?.id]),
    fixture.pool.query("select count(*) from audit_log where event::json->'details'->>'run_id' = $1", [run?.id]),
  ]);
  return [approvals.rows, runs.rows, log.rows, audit.rows];
}

/** A family of keys of one user, and keys of other families. */
function cast() {
  const owner = fixture.person();
  const root = randomUUID();
  const key = (init: Parameters<ConversationFixture["through"]>[1] = {}) => fixture.through(owner, init);
  return {
    owner,
    starter: key({ familyId: root }),
    /** The key's creator, a child and a sibling are in its family. */
    first: key({ tokenId: root, familyId: root }),
    kin: (init: object = {}) => key({ familyId: root, ...init }),
    other: (init: object = {}) => key(init),
  };
}

describe.each(Object.entries(decisions))("a decider who %s", (_what, decide) => {
  const refused = async (decider: Person, run: RunContext, reason: ErrorReason) => {
    const before = await recorded(run);
    expect(await reasonFor(decide(decider, run))).toBe(reason);
    expect(await recorded(run)).toEqual(before);
  };

  test("is not the key that started the run, nor one of its family, unless it may approve", async () => {
    const { starter, first, kin } = cast();
    const run = await parked(starter);
    for (const decider of [starter, first, kin()]) await refused(decider, run, ErrorReason.PERMISSION_DENIED);
    expect(await reasonFor(decide(kin({ mayApprove: true }), run))).toBeUndefined();
  });

  test("is no key whose own tools do not have the call's, even if it may approve", async () => {
    const { starter, other, kin } = cast();
    const run = await parked(starter);
    const allowedTools = ["calculator"];
    await refused(other({ allowedTools }), run, ErrorReason.TOOL_NOT_ALLOWED);
    await refused(kin({ allowedTools, mayApprove: true }), run, ErrorReason.TOOL_NOT_ALLOWED);
    expect(await reasonFor(decide(other({ allowedTools: ["http_request"] }), run))).toBeUndefined();
  });

  test("may be a login of the owner, no matter who started the run", async () => {
    const { owner, starter } = cast();
    for (const by of [owner, starter]) expect(await reasonFor(decide(owner, await parked(by)))).toBeUndefined();
  });

  test("may be a key where a login, or a key of another family, started the run", async () => {
    const { owner, starter, other } = cast();
    for (const by of [owner, starter]) expect(await reasonFor(decide(other(), await parked(by)))).toBeUndefined();
  });

  test("is no key where the starter of the run, or the family of the key, is unknown", async () => {
    const { starter, other } = cast();
    const run = await parked(starter);
    await refused(other({ familyId: "" }), run, ErrorReason.PERMISSION_DENIED);
    await fixture.pool.query("update runs set family_id = null where run_id = $1", [run.run?.id]);
    await refused(other(), run, ErrorReason.PERMISSION_DENIED);
    expect(await reasonFor(decide(other({ mayApprove: true }), run))).toBeUndefined();
  });

  test("is no credential of an account with the role agent, even with may_approve", async () => {
    const { owner, starter } = cast();
    const run = await parked(starter);
    for (const tokenType of [TokenType.ACCESS, TokenType.API_KEY]) {
      const agent = fixture.through(owner, { role: Role.AGENT, tokenType, mayApprove: true });
      await refused(agent, run, ErrorReason.PERMISSION_DENIED);
    }
  });
});

test("one call of a tool that the key may not use refuses all of a decision", async () => {
  const { owner, other } = cast();
  const context = await owner.begin();
  const calls = [toolCall("a"), { ...toolCall("b"), function: { name: "wire_money", arguments: "{}" } }];
  await owner.commit(context, {
    status: RunStatus.WAITING,
    node: "act",
    messages: [{ id: uuidv7(), role: "assistant", toolCalls: calls }],
    approvals: calls.map((call) => ({ callId: call.id, toolName: call.function.name, arguments: call.function.arguments })),
  });
  const key = other({ allowedTools: ["http_request"] });
  const conversationId = context.conversation?.id;
  const before = await recorded(context);
  for (const asked of [
    { approved: true },
    { approved: false },
    { calls: [{ callId: "a", approved: true }], approved: true },
    {
      calls: [
        { callId: "a", approved: true },
        { callId: "b", approved: false },
      ],
    },
  ]) {
    expect(await reasonFor(key.journal.decideApprovals({ conversationId, ...asked }))).toBe(ErrorReason.TOOL_NOT_ALLOWED);
  }
  expect(await recorded(context)).toEqual(before);
  expect(
    await reasonFor(key.journal.decideApprovals({ conversationId, calls: [{ callId: "a", approved: true }] })),
  ).toBeUndefined();
});

test.each([
  ["at once", {}],
  ["in the background", { background: true, workerId: randomUUID() }],
  ["behind another message", { concurrency: "enqueue" }],
])("a run begun %s, in a new conversation or an old one, records the family that started it", async (_how, init) => {
  const { owner, starter } = cast();
  const { conversation } = await owner.begin();
  const families = async () => {
    const { rows } = await fixture.pool.query("select family_id from runs where user_id = $1 order by created_at", [
      owner.userId,
    ]);
    return rows.map((row) => row.family_id);
  };
  const [own] = await families();
  for (const conversationId of ["", conversation?.id]) {
    await starter.journal.beginRun({ runId: uuidv7(), message: "Hi", conversationId, ...init });
  }
  const all = await families();
  expect(all).toHaveLength(3);
  expect(own).toBe(owner.tokenId);
  expect(new Set(all.slice(1)).size).toBe(1);
  expect(all[1]).not.toBe(own);
});

describe("a run in review", () => {
  const inReview = async (starter: Person) => {
    const context = await starter.begin();
    await starter.commit(context, {
      status: RunStatus.NEEDS_REVIEW,
      node: "act",
      messages: [{ id: uuidv7(), role: "assistant", toolCalls: [toolCall("a")] }],
    });
    return context;
  };
  const resume = (person: Person, { run }: RunContext) => person.journal.resumeRun({ runId: run?.id, workerId: randomUUID() });
  const check = (person: Person, { run }: RunContext) => person.journal.checkDecider({ runId: run?.id });

  test("is not settled by a key of the family that started it, unless it may approve", async () => {
    const { owner, starter, first, kin, other } = cast();
    const run = await inReview(starter);
    const before = await recorded(run);
    for (const decider of [starter, first, kin()]) {
      for (const act of [check, resume]) expect(await reasonFor(act(decider, run))).toBe(ErrorReason.PERMISSION_DENIED);
    }
    expect(await recorded(run)).toEqual(before);
    for (const decider of [owner, other(), kin({ mayApprove: true })])
      expect(await reasonFor(check(decider, run))).toBeUndefined();
    expect(await reasonFor(resume(kin({ mayApprove: true }), run))).toBeUndefined();
  });

  test("of another user is not found", async () => {
    const run = await inReview(cast().starter);
    for (const act of [check, resume]) expect(await reasonFor(act(fixture.person(), run))).toBe(ErrorReason.NOT_FOUND);
  });
});

describe("the decider", () => {
  test("is in the audit log, once per decision", async () => {
    const person = fixture.person();
    const context = await parked(person);
    const conversationId = context.conversation?.id;
    await person.journal.decideApprovals({ conversationId, approved: true, calls: [{ callId: "b", approved: false }] });
    expect(await reasonFor(person.journal.decideApprovals({ conversationId, approved: true }))).toBe(
      ErrorReason.NOTHING_TO_APPROVE,
    );
    const { rows } = await fixture.pool.query<{ event: string }>("select event from audit_log order by seq desc limit 2");
    const events = rows.map(({ event }) => JSON.parse(event));
    expect(events).toMatchObject(
      [
        { call_id: "a", approved: true },
        { call_id: "b", approved: false },
      ].map((details) => ({
        action: "approval.decided",
        actor_id: person.userId,
        credential_id: person.tokenId,
        details: { ...details, run_id: context.run?.id, tool: "http_request" },
      })),
    );
  });

  test("is never an account with the role agent", async () => {
    const agent = fixture.person({ role: Role.AGENT });
    const context = await agent.begin({ message: "Send it" });
    await agent.park(context, ["c1"]);
    const call = agent.journal.decideApprovals({ conversationId: context.conversation?.id, approved: true });
    expect(await reasonFor(call)).toBe(ErrorReason.PERMISSION_DENIED);
    const { rows } = await fixture.pool.query("select status from approvals where run_id = $1", [context.run?.id]);
    expect(rows).toEqual([{ status: "pending" }]);
  });
});
