import { randomUUID } from "node:crypto";
import { TokenType } from "@turnwright/contract/auth/v1/identity";
import { describe, expect, test } from "vitest";
import { ErrorReason, type Person, reasonFor } from "../testing/conversation.ts";
import { fixture, useConversation } from "../testing/use-conversation.ts";

useConversation();

/** The names in the only approval of a run that its starter parks and a decider approves. */
async function namesAfter(starter: Person, decider: Person, via = ""): Promise<object> {
  const { conversationId } = await starter.parked("c1");
  await decider.journal.decideApprovals({ conversationId, approved: true, via });
  const { rows } = await fixture.pool.query("select id from approvals where conversation_id = $1", [conversationId]);
  const { approval } = await starter.conversations.getApproval({ approvalId: rows[0].id });
  return { name: approval?.decidedByName, via: approval?.decidedVia };
}

describe("a decision is recorded", () => {
  test("with the names of its account and key, as they were then", async () => {
    const owner = fixture.person();
    const key = fixture.through(owner, {});
    fixture.keys.names?.set(owner.userId, "Anna").set(key.tokenId, "ci");
    expect(await namesAfter(owner, owner)).toEqual({ name: "Anna", via: "login" });
    expect(await namesAfter(owner, owner, "console")).toEqual({ name: "Anna", via: "console" });
    // A key's name stands whatever its client says.
    expect(await namesAfter(owner, key, "console")).toEqual({ name: "Anna", via: "ci" });
    fixture.keys.names?.set(owner.userId, "Anna Berg");
    const { approvals } = await owner.conversations.listApprovals({ status: "approved" });
    expect(approvals.map(({ decidedByName }) => decidedByName)).toEqual(["Anna", "Anna", "Anna"]);
  });

  test("without names while auth is away", async () => {
    const owner = fixture.person();
    fixture.keys.names?.set(owner.userId, "Anna");
    fixture.keys.beforeNames = async () => {
      throw new Error("away");
    };
    try {
      expect(await namesAfter(owner, owner)).toEqual({ name: "", via: "login" });
      expect(await namesAfter(owner, fixture.through(owner, {}))).toEqual({ name: "", via: "" });
    } finally {
      fixture.keys.beforeNames = async () => {};
    }
  });
});

describe("a decision on a call that was settled before", () => {
  test("is refused to a key that may not decide, and told to others", async () => {
    const owner = fixture.person();
    const familyId = randomUUID();
    const starter = fixture.through(owner, { familyId });
    const { conversationId } = await starter.parked("c1");
    const { approvals } = await owner.conversations.listApprovals({});
    const approvalId = approvals[0]?.id ?? "";
    const calls = [{ approvalId, callId: "c1", approved: true }];
    const decide = (person: Person) => person.journal.decideApprovals({ conversationId, calls });
    await decide(owner);
    expect(await reasonFor(decide(owner))).toBe(ErrorReason.NOTHING_TO_APPROVE);
    expect(await reasonFor(decide(starter))).toBe(ErrorReason.PERMISSION_DENIED);
    expect(await reasonFor(decide(fixture.through(owner, { allowedTools: ["calculator"] })))).toBe(ErrorReason.TOOL_NOT_ALLOWED);
    expect(await reasonFor(decide(fixture.through(owner, { tokenType: TokenType.API_KEY })))).toBe(
      ErrorReason.NOTHING_TO_APPROVE,
    );
    expect(await reasonFor(decide(fixture.person()))).toBe(ErrorReason.NOT_FOUND);
  });

  test("does not count as late when its run was cancelled", async () => {
    const owner = fixture.person();
    const { context, conversationId } = await owner.parked("c1");
    const { approvals } = await owner.conversations.listApprovals({});
    await owner.journal.cancelRun({ runId: context.run?.id });
    const calls = [{ approvalId: approvals[0]?.id, callId: "c1", approved: true }];
    const late = owner.journal.decideApprovals({ conversationId, calls });
    expect(await reasonFor(late)).toBe(ErrorReason.NOTHING_TO_APPROVE);
  });
});
