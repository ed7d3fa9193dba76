import { ConnectError } from "@connectrpc/connect";
import { hashArguments, verifyGrant } from "@turnwright/platform/identity/grant";
import { describe, expect, test } from "vitest";
import { ErrorReason, meshSecret, reasonFor, toolCall } from "../../testing/conversation.ts";
import { fixture, person, useConversation } from "../../testing/use-conversation.ts";

useConversation();

const parked = (...callIds: string[]) => person.parked(...callIds);

describe("deciding on calls whose tool has changed", () => {
  test("records nothing, also for those who decide at the same time, and leaves one fresh approval of each approved call", async () => {
    const { context, conversationId } = await parked("c1", "c2");
    const decide = (init: object) => person.journal.decideApprovals({ conversationId, ...init });
    const stale = { toolVersions: { http_request: "4" }, calls: [{ callId: "c1", approved: true }] };
    const many = await Promise.all(Array.from({ length: 5 }, () => reasonFor(decide(stale))));
    // None of them can have seen the fresh one.
    expect(many).toEqual(many.map(() => ErrorReason.APPROVAL_SUPERSEDED));
    const { rows } = await fixture.pool.query(
      "select call_id, tool_version, status, superseded_by from approvals where run_id = $1 and call_id = 'c1' " +
        "order by created_at",
      [context.run?.id],
    );
    expect(rows).toHaveLength(2);
    expect(rows[0]).toMatchObject({ tool_version: "3", status: "superseded" });
    expect(rows[1]).toMatchObject({ tool_version: "4", superseded_by: null });
  });

  test("names a few of many fresh approvals: the error also crosses as a header", async () => {
    const callIds = Array.from({ length: 128 }, (_, index) => `c${index}`);
    const { conversationId } = await parked(...callIds);
    const decision = person.journal.decideApprovals({ conversationId, approved: true, toolVersions: { http_request: "4" } });
    const { rawMessage } = ConnectError.from(await decision.catch((error: unknown) => error));
    expect(rawMessage.match(/Decide on the fresh approval/g)).toHaveLength(10);
    expect(rawMessage).toMatch(/The same holds for 118 more; read the pending approvals again\.$/);
    expect(rawMessage.length).toBeLessThan(4_000);
  });

  test("grants what is approved afterwards for the new version only", async () => {
    const { context, conversationId } = await parked("c1");
    const { approvals } = await person.conversations.listApprovals({});
    const old = approvals.find(({ runId }) => runId === context.run?.id)?.id ?? "";
    const decide = (init: object) =>
      person.journal.decideApprovals({ conversationId, toolVersions: { http_request: "4" }, ...init });
    expect(await reasonFor(decide({ approved: true }))).toBe(ErrorReason.APPROVAL_SUPERSEDED);
    expect(await reasonFor(decide({ calls: [{ callId: "c1", approved: true, approvalId: old }] }))).toBe(
      ErrorReason.APPROVAL_SUPERSEDED,
    );
    const { approval } = await person.conversations.getApproval({ approvalId: old });
    expect(approval).toMatchObject({ status: "superseded", supersededBy: expect.stringMatching(/^[0-9a-f-]{36}$/) });
    const approvalId = approval?.supersededBy ?? "";
    const { context: claimed } = await decide({ calls: [{ callId: "c1", approved: true, approvalId }] });
    const claims = {
      runId: context.run?.id ?? "",
      epoch: 2,
      callId: "c1",
      tool: "http_request",
      argumentsHash: hashArguments(toolCall("c1").function.arguments),
      tokenId: person.tokenId,
    };
    const grant = claimed?.decisions[0]?.grant ?? "";
    expect(claimed?.decisions).toHaveLength(1);
    expect(await verifyGrant(meshSecret, grant, { ...claims, toolVersion: "4" })).toBe(true);
    expect(await verifyGrant(meshSecret, grant, { ...claims, toolVersion: "3" })).toBe(false);
  });

  test("of a tool that no longer exists can only be rejected", async () => {
    const { conversationId } = await parked("c1");
    const decide = (approved: boolean) =>
      person.journal.decideApprovals({ conversationId, approved, toolVersions: { calculator: "1" } });
    expect(await reasonFor(decide(true))).toBe(ErrorReason.APPROVAL_SUPERSEDED);
    expect((await decide(false)).context?.decisions).toMatchObject([{ callId: "c1", approved: false }]);
  });
});
