import { ErrorReason } from "@turnwright/platform/errors";
import { beforeEach, describe, expect, test } from "vitest";
import { asUser, startOrchestrator } from "../../testing/orchestrator.ts";
import {
  approve,
  callsFor,
  create,
  failureOf,
  lastCommit,
  mesh,
  roles,
  sent,
  streamEvents,
  useOrchestrator,
} from "../../testing/runs.ts";

useOrchestrator();

describe("an approval", () => {
  beforeEach(() => {
    mesh.model.reply(callsFor("calculator", "send_mail"), { text: "All done." });
  });

  test("parks the run after its other calls are executed", async () => {
    const events = await streamEvents();
    expect(mesh.log).toEqual(["begin", "commit RUNNING", "execute calculator", "commit WAITING"]);
    expect(lastCommit()).toMatchObject({
      node: "act",
      messages: [{ role: "tool", toolCallId: "call_calculator_0" }],
      approvals: [{ callId: "call_send_mail_1", toolName: "send_mail", toolVersion: "7", arguments: '{"at":1}' }],
      events: [{ type: "parked" }],
    });
    expect(events.slice(-2)).toMatchObject([
      { type: "pending_approval", toolCall: { id: "call_send_mail_1" } },
      { type: "finish", delta: "pending_approval" },
    ]);
  });

  test("is reported to the client that waits for the answer", async () => {
    const answer = await create();
    expect(answer.response).toBe("pending_approval");
    expect(answer.message).toBeUndefined();
  });

  test("resumes with the grant, and executes nothing twice", async () => {
    await create();
    const answer = await approve(true, "fine");
    expect(answer).toMatchObject({
      status: "approved",
      response: "All done.",
      conversation: { id: mesh.journal.conversation.id },
    });
    expect(mesh.log.slice(4)).toEqual(["decide", "mint", "execute send_mail", "commit COMPLETED"]);
    expect(mesh.executed[1]).toMatchObject({
      epoch: 2,
      calls: [{ callId: "call_send_mail_1", arguments: '{"at":1}', grant: "grant for call_send_mail_1" }],
    });
    expect(roles()).toEqual(["user", "assistant", "tool calculator", "tool send_mail", "assistant"]);
  });

  test("may change the arguments", async () => {
    mesh.journal.decorate = (decision) => ({ ...decision, arguments: '{"at":"edited"}' });
    await create();
    await approve(true);
    expect(mesh.executed[1]?.calls[0]?.arguments).toBe('{"at":"edited"}');
  });

  test("may be rejected: the model is told why, and nothing is executed", async () => {
    await create();
    expect(await approve(false, "not on a Sunday")).toMatchObject({ status: "rejected", response: "All done." });
    expect(mesh.executed).toHaveLength(1);
    expect(sent(1).messages.at(-1)).toMatchObject({
      role: "tool",
      tool_call_id: "call_send_mail_1",
      content: expect.stringContaining("not on a Sunday"),
    });
  });

  test("may be needed again", async () => {
    await create();
    const second = await startOrchestrator();
    second.model.reply(callsFor("send_mail"), callsFor("send_mail"), { text: "Done at last." });
    await second.agent.createConversation({ message: "hi" }, asUser);
    const { id: conversationId } = second.journal.conversation;
    const again = await second.agent.approveConversation({ conversationId, approved: true }, asUser);
    expect(again.status).toBe("pending_approval");
    expect(again.response).toBeUndefined();
    expect(await second.agent.approveConversation({ conversationId, approved: true }, asUser)).toMatchObject({
      response: "Done at last.",
    });
    expect(second.executed.map(({ calls }) => calls.length)).toEqual([1, 1]);
    await second.close();
  });

  test("must be given, and only while it is awaited", async () => {
    const { id: conversationId } = mesh.journal.conversation;
    expect(await failureOf(mesh.agent.approveConversation({ conversationId }, asUser))).toMatchObject({
      reason: ErrorReason.INVALID_REQUEST,
      param: "approved",
    });
    expect(await failureOf(approve(true))).toMatchObject({ reason: ErrorReason.NOTHING_TO_APPROVE });
  });

  test("is not requested for a tool that the token may not use: the executor refuses the call", async () => {
    mesh.identity.allowedTools = ["calculator"];
    expect((await create()).response).toBe("All done.");
    expect(mesh.log).toContain("execute calculator,send_mail");
  });
});
