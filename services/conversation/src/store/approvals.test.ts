import { TokenType } from "@turnwright/contract/auth/v1/identity";
import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import { detailOf } from "@turnwright/platform/errors";
import { hashArguments, verifyGrant } from "@turnwright/platform/identity/grant";
import { uuidv7 } from "@turnwright/platform/uuid";
import { describe, expect, test } from "vitest";
import { ErrorReason, meshSecret, reasonFor, toolCall } from "../../testing/conversation.ts";
import { fixture, person, useConversation } from "../../testing/use-conversation.ts";

useConversation();

const parked = (...callIds: string[]) => person.parked(...callIds);

describe("deciding all calls", () => {
  test("claims the run for the caller, with its context and a grant for each approved call", async () => {
    const { context, conversationId } = await parked("c1", "c2");
    const response = await person.journal.decideApprovals({
      conversationId,
      approved: true,
      reason: "fine",
      calls: [{ callId: "c2", approved: false, reason: "not this one" }],
    });
    expect(response.conversation).toMatchObject({ id: conversationId, status: "active" });
    expect(response.context?.run).toMatchObject({ id: context.run?.id, epoch: 2, node: "approve", state: '{ "round": 1 }' });
    expect(response.context?.run?.status).toBe(RunStatus.RUNNING);
    expect(response.context?.messages.map(({ role }) => role)).toEqual(["user", "assistant"]);
    expect(response.context?.messages[1]?.toolCalls).toMatchObject([{ id: "c1" }, { id: "c2" }]);
    const [first, second] = response.context?.decisions ?? [];
    expect(first).toMatchObject({ callId: "c1", approved: true, reason: "fine", arguments: "" });
    expect(second).toMatchObject({ callId: "c2", approved: false, reason: "not this one", grant: "" });
    const claims = {
      runId: context.run?.id ?? "",
      epoch: 2,
      callId: "c1",
      tool: "http_request",
      toolVersion: "3",
      argumentsHash: hashArguments(toolCall("c1").function.arguments),
      tokenId: person.tokenId,
    };
    expect(await verifyGrant(meshSecret, first?.grant ?? "", claims)).toBe(true);
    expect(await verifyGrant(meshSecret, first?.grant ?? "", { ...claims, callId: "c2" })).toBe(false);
    expect(await verifyGrant(meshSecret, first?.grant ?? "", { ...claims, epoch: 1 })).toBe(false);
    const { rows } = await fixture.pool.query(
      "select call_id, status, reason, decided_by, decided_at is not null as dated from approvals where run_id = " +
        "$1 order by position",
      [context.run?.id],
    );
    expect(rows).toEqual([
      { call_id: "c1", status: "approved", reason: "fine", decided_by: person.userId, dated: true },
      { call_id: "c2", status: "rejected", reason: "not this one", decided_by: person.userId, dated: true },
    ]);
    const events = await fixture.pool.query("select type, payload from run_events where run_id = $1", [context.run?.id]);
    expect(events.rows).toEqual([
      {
        type: "resumed",
        payload: {
          calls: [
            { call_id: "c1", approved: true },
            { call_id: "c2", approved: false },
          ],
        },
      },
    ]);
  });

  test("fences off the epoch that parked and sets the deadline anew", async () => {
    const { context, conversationId } = await parked("c1");
    const { context: resumed } = await person.journal.decideApprovals({ conversationId, approved: false });
    expect(await reasonFor(person.answer(context))).toBe(ErrorReason.STALE_EPOCH);
    const { rows } = await fixture.pool.query("select deadline_at > now() as open from runs where run_id = $1", [
      context.run?.id,
    ]);
    expect(rows).toEqual([{ open: true }]);
    if (resumed !== undefined) await person.answer(resumed, "Then not.");
    expect((await person.begin({ conversationId })).conversation?.messageCount).toBe(4);
  });

  test("returns the whole waiting round, even beyond the context's limit", async () => {
    const context = await person.begin();
    const calls = ["c1", "c2", "c3"];
    await person.commit(context, {
      status: RunStatus.WAITING,
      messages: [
        { role: "assistant", toolCalls: calls.map(toolCall) },
        { role: "tool", toolCallId: "c1", content: "1" },
        { role: "tool", toolCallId: "c2", content: "2" },
      ],
      approvals: [{ callId: "c3", toolName: "http_request", arguments: "{}" }],
    });
    const conversationId = context.conversation?.id ?? "";
    const response = await person.journal.decideApprovals({ conversationId, approved: true, contextLimit: 1 });
    expect(response.context?.messages.map(({ role }) => role)).toEqual(["assistant", "tool", "tool"]);
  });

  test("sees the calls of this round only when a run parks again with the same ids", async () => {
    const { conversationId } = await parked("c1");
    const { context } = await person.journal.decideApprovals({ conversationId, approved: true });
    if (context === undefined) throw new Error("not resumed");
    await person.commit(context, {
      status: RunStatus.RUNNING,
      messages: [{ role: "tool", toolCallId: "c1", content: "sent" }],
    });
    await person.park(context, ["c1", "c2"]);
    const response = await person.journal.decideApprovals({ conversationId, approved: false });
    expect(response.context?.run?.epoch).toBe(3);
    expect(response.context?.decisions.map(({ callId, approved }) => [callId, approved])).toEqual([
      ["c1", false],
      ["c2", false],
    ]);
  });
});

describe("deciding single calls", () => {
  test("by their approval never means a call of the same id in another round, or in another run", async () => {
    const { conversationId } = await parked("c1");
    const approvalIds = async () => {
      const { pendingApprovals } = await person.conversations.getConversation({ conversationId });
      return pendingApprovals.map(({ id }) => id);
    };
    const decide = (approvalId = "", callId = "c1") =>
      person.journal.decideApprovals({ conversationId, calls: [{ callId, approved: true, approvalId }] });
    const [first] = await approvalIds();
    const { context } = await decide(first);
    if (context === undefined) throw new Error("not resumed");
    await person.commit(context, { status: RunStatus.RUNNING, messages: [{ role: "tool", toolCallId: "c1", content: "sent" }] });
    await person.park(context, ["c1", "c2"]);
    expect(await reasonFor(decide(first))).toBe(ErrorReason.NOTHING_TO_APPROVE);
    const [second, third] = await approvalIds();
    expect(await reasonFor(decide(third, "c1"))).toBe(ErrorReason.NOTHING_TO_APPROVE);
    expect((await approvalIds()).length).toBe(2);
    await decide(second);
    const resumed = (await decide(third, "c2")).context;
    if (resumed === undefined) throw new Error("not resumed");
    await person.answer(resumed);
    await person.park(await person.begin({ conversationId }), ["c1"]);
    expect(await reasonFor(decide(second))).toBe(ErrorReason.NOTHING_TO_APPROVE);
    expect(await approvalIds()).toHaveLength(1);
  });

  test("leaves the run parked until none is pending, then hands out all decisions", async () => {
    const { conversationId } = await parked("c1", "c2", "c3");
    const decide = (callId: string, approved: boolean) =>
      person.journal.decideApprovals({ conversationId, calls: [{ callId, approved, reason: callId }] });
    const first = await decide("c2", true);
    expect(first.context).toBeUndefined();
    expect(first.conversation?.status).toBe("pending_approval");
    const { pendingApprovals } = await person.conversations.getConversation({ conversationId });
    expect(pendingApprovals.map(({ callId }) => callId)).toEqual(["c1", "c3"]);
    expect(await reasonFor(decide("c2", false))).toBe(ErrorReason.NOTHING_TO_APPROVE);
    await decide("c1", false);
    const last = await decide("c3", true);
    expect(last.context?.decisions).toMatchObject([
      { callId: "c1", approved: false, reason: "c1", grant: "" },
      { callId: "c2", approved: true, reason: "c2" },
      { callId: "c3", approved: true, reason: "c3" },
    ]);
    expect(last.context?.decisions.filter(({ grant }) => grant !== "")).toHaveLength(2);
  });

  test("call by call in a race, exactly one of them completes the run", async () => {
    const ids = Array.from({ length: 10 }, (_, index) => `c${index}`);
    const { conversationId } = await parked(...ids);
    const responses = await Promise.all(
      ids.map((callId) => person.journal.decideApprovals({ conversationId, calls: [{ callId, approved: true }] })),
    );
    const resumed = responses.filter(({ context }) => context !== undefined);
    expect(resumed).toHaveLength(1);
    expect(resumed[0]?.context?.decisions.map(({ callId }) => callId)).toEqual(ids);
  });

  test.each([
    { calls: [{ callId: "nope", approved: true }], param: "calls[0].call_id" },
    {
      calls: [
        { callId: "c1", approved: true },
        { callId: "c1", approved: false },
      ],
      param: "calls[1].call_id",
    },
    { calls: [], param: "approved" },
  ])("refuses a request with calls that are not parked, as a whole: $param", async ({ calls, param }) => {
    const { conversationId } = await parked("c1");
    const error = await person.journal.decideApprovals({ conversationId, calls }).catch((error: unknown) => error);
    expect(detailOf(error)).toMatchObject({ reason: ErrorReason.INVALID_REQUEST, param });
    expect((await person.conversations.getConversation({ conversationId })).pendingApprovals).toHaveLength(1);
  });
});

test("one of twenty racing decisions wins and the others get an error", async () => {
  const { conversationId, context } = await parked("c1", "c2");
  const outcomes = await Promise.allSettled(
    Array.from({ length: 20 }, (_, index) =>
      person.journal.decideApprovals({ conversationId, approved: index % 2 === 0, reason: String(index) }),
    ),
  );
  const won = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
  expect(won).toHaveLength(1);
  for (const outcome of outcomes) {
    if (outcome.status === "rejected")
      expect(await reasonFor(Promise.reject(outcome.reason))).toBe(ErrorReason.NOTHING_TO_APPROVE);
  }
  const { rows } = await fixture.pool.query("select distinct reason from approvals where run_id = $1", [context.run?.id]);
  expect(rows).toEqual([{ reason: won[0]?.context?.decisions[0]?.reason }]);
});

test("nothing is decided without a pending call, in another user's conversation, and in a deleted one", async () => {
  const idle = await person.begin();
  expect(await reasonFor(person.journal.decideApprovals({ conversationId: idle.conversation?.id, approved: true }))).toBe(
    ErrorReason.NOTHING_TO_APPROVE,
  );
  const { conversationId } = await parked("c1");
  expect(await reasonFor(fixture.person().journal.decideApprovals({ conversationId, approved: true }))).toBe(
    ErrorReason.NOT_FOUND,
  );
  expect(await reasonFor(person.journal.decideApprovals({ conversationId: uuidv7(), approved: true }))).toBe(
    ErrorReason.NOT_FOUND,
  );
  expect((await person.conversations.getConversation({ conversationId })).pendingApprovals).toHaveLength(1);
  await person.conversations.deleteConversation({ conversationId });
  expect(await reasonFor(person.journal.decideApprovals({ conversationId, approved: true }))).toBe(ErrorReason.NOT_FOUND);
});

describe("the decider and the starter of a run", () => {
  test("are two in the record and in the audit log, and the run and its grants are the starter's", async () => {
    const starter = fixture.person({ tokenType: TokenType.API_KEY });
    const decider = fixture.person({ userId: starter.userId });
    const context = await starter.begin({ message: "Send it" });
    await starter.park(context, ["c1", "c2"]);
    const runId = context.run?.id ?? "";
    const conversationId = context.conversation?.id ?? "";
    const key = fixture.person({ userId: starter.userId, tokenType: TokenType.API_KEY });
    await key.journal.decideApprovals({ conversationId, calls: [{ callId: "c2", approved: false }] });
    const { context: claimed } = await decider.journal.decideApprovals({ conversationId, approved: true });

    expect(claimed?.run).toMatchObject({ userId: starter.userId, tokenId: starter.tokenId });
    const claims = { runId, epoch: 2, callId: "c1", tool: "http_request", toolVersion: "3" };
    const grantFits = (tokenId: string) => {
      const argumentsHash = hashArguments(toolCall("c1").function.arguments);
      return verifyGrant(meshSecret, claimed?.decisions[0]?.grant ?? "", { ...claims, argumentsHash, tokenId });
    };
    expect(await grantFits(starter.tokenId)).toBe(true);
    expect(await grantFits(decider.tokenId)).toBe(false);

    const read = async (status: string) =>
      (await starter.conversations.listApprovals({ status })).approvals.find((approval) => approval.runId === runId);
    const decidedBy = starter.userId;
    expect(await read("approved")).toMatchObject({
      decidedBy,
      decidedByTokenId: decider.tokenId,
      decidedByTokenType: "session",
    });
    expect(await read("rejected")).toMatchObject({ decidedBy, decidedByTokenId: key.tokenId, decidedByTokenType: "api_key" });
    expect((await decider.conversations.getRun({ runId })).run?.tokenId).toBe(starter.tokenId);
    const { rows } = await fixture.pool.query("select event::json as event from audit_log where event like $1 order by seq", [
      `%${runId}%`,
    ]);
    expect(rows.map(({ event }) => [event.action, event.credential_id, event.details.started_by_token])).toEqual([
      ["approval.decided", key.tokenId, starter.tokenId],
      ["approval.decided", decider.tokenId, starter.tokenId],
    ]);
  });

  test("are two in a review as well", async () => {
    const starter = fixture.person({ tokenType: TokenType.API_KEY });
    const reviewer = fixture.person({ userId: starter.userId });
    const context = await starter.begin({ message: "Send it" });
    await starter.commit(context, { status: RunStatus.NEEDS_REVIEW, node: "act" });
    const runId = context.run?.id ?? "";
    const { context: claimed } = await reviewer.journal.resumeRun({ runId, workerId: uuidv7() });
    expect(claimed?.run?.tokenId).toBe(starter.tokenId);
    const { rows } = await fixture.pool.query("select event::json as event from audit_log where event like $1", [`%${runId}%`]);
    expect(rows.map(({ event }) => [event.action, event.credential_id, event.details.started_by_token])).toEqual([
      ["run.reviewed", reviewer.tokenId, starter.tokenId],
    ]);
  });

  test("a run fails with the cause when its credential has ended, and its log has it", async () => {
    const context = await person.begin({ message: "Send it" });
    const runId = context.run?.id ?? "";
    const error = "The API key that started this run was revoked.";
    await person.journal.abandonRun({ runId, epoch: context.run?.epoch, error });
    const { run, events } = await person.journal.readRunLog({ runId });
    expect(run).toMatchObject({ status: "failed", error });
    expect(events.at(-1)).toMatchObject({ type: "failed", payload: '{"reason":"ERROR_REASON_RUN_CREDENTIAL_ENDED"}' });
  });
});

describe("approvals", () => {
  test("are listed by status, newest first, page by page, and read one by one by their owner", async () => {
    const own = fixture.person();
    const contexts = [await own.begin({ message: "one" }), await own.begin({ message: "two" })];
    for (const context of contexts) await own.park(context, ["a", "b"]);
    const seen: string[] = [];
    let cursor = "";
    do {
      const page = await own.conversations.listApprovals({ limit: 3, cursor });
      seen.push(...page.approvals.map((approval) => approval.id));
      cursor = page.nextCursor;
    } while (cursor !== "");
    expect(seen).toHaveLength(4);
    expect(new Set(seen).size).toBe(4);
    const [approvalId = ""] = seen;
    const { approval } = await own.conversations.getApproval({ approvalId });
    expect(approval).toMatchObject({ id: approvalId, status: "pending", conversationId: contexts[1]?.conversation?.id });
    expect(await reasonFor(person.conversations.getApproval({ approvalId }))).toBe(ErrorReason.NOT_FOUND);
    expect((await own.conversations.listApprovals({ status: "approved" })).approvals).toEqual([]);
    expect(await reasonFor(own.conversations.listApprovals({ status: "open" }))).toBe(ErrorReason.INVALID_REQUEST);
  });

  test("may replace the arguments, and the grant is for the new ones", async () => {
    const { context, conversationId } = await parked("c1", "c2");
    const edited = '{"url":"https://example.com/other"}';
    await person.journal.decideApprovals({ conversationId, calls: [{ callId: "c1", approved: true, arguments: edited }] });
    // The last decision comes later; the run continues with the arguments edited before.
    const { context: claimed } = await person.journal.decideApprovals({ conversationId, approved: true });
    const [first, second] = claimed?.decisions ?? [];
    expect(first).toMatchObject({ callId: "c1", approved: true, arguments: edited });
    expect(second).toMatchObject({ callId: "c2", approved: true, arguments: "" });
    const { tokenId } = person;
    const claims = { runId: context.run?.id ?? "", epoch: 2, callId: "c1", tool: "http_request", toolVersion: "3", tokenId };
    const grantFits = (json: string) =>
      verifyGrant(meshSecret, first?.grant ?? "", { ...claims, argumentsHash: hashArguments(json) });
    expect(await grantFits(edited)).toBe(true);
    expect(await grantFits(toolCall("c1").function.arguments)).toBe(false);
    const { approvals } = await person.conversations.listApprovals({ status: "approved" });
    expect(approvals.find((approval) => approval.runId === context.run?.id && approval.callId === "c1")).toMatchObject({
      editedArguments: edited,
      decidedBy: person.userId,
    });
  });

  test("that reject a call cannot replace its arguments", async () => {
    const { conversationId } = await parked("c1");
    const calls = [{ callId: "c1", approved: false, arguments: "{}" }];
    expect(await reasonFor(person.journal.decideApprovals({ conversationId, calls }))).toBe(ErrorReason.INVALID_REQUEST);
  });
});
