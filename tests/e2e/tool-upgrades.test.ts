import { ErrorReason, reasonOf } from "@turnwright/platform/errors";
import { defineTool } from "@turnwright/tool-executor";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { type Release, type Releases, startReleases } from "./releases.ts";

const graph = { newest: 2, oldest: 1 };

/** Sent mails, as `version:to`. */
let sent: string[] = [];

function mailTool(version: string, requiresApproval = true) {
  return defineTool({
    name: "send_mail",
    description: "Sends a mail.",
    parameters: z.object({ to: z.string() }),
    effect: "once",
    requiresApproval,
    timeoutMs: 5_000,
    version,
    execute({ to }) {
      sent.push(`${version}:${to}`);
      return { sent: true };
    },
  });
}

const otherTool = { ...mailTool("1"), name: "other_tool" };

describe("an approval of a tool that has changed since", () => {
  let releases: Releases;
  let release: Release;
  beforeEach(async () => {
    sent = [];
    releases = await startReleases([mailTool("1"), otherTool]);
    release = await releases.start(graph);
  });
  afterEach(() => releases.close());

  const mail = (...to: string[]) => ({
    calls: to.map((one) => ({ id: `call_${one}`, name: "send_mail", arguments: JSON.stringify({ to: one }) })),
  });
  async function parked(...to: string[]): Promise<string> {
    releases.model.reply(mail(...to));
    const { conversationId, response } = await release.agent.createConversation({ message: "Mail them" });
    expect(response).toBe("pending_approval");
    return conversationId;
  }
  /** Orchestrators of the new release have read the tools since the executors' upgrade. */
  async function upgrade(...tools: Parameters<Releases["upgradeExecutor"]>[0]): Promise<void> {
    await releases.upgradeExecutor(tools);
    await release.stop();
    release = await releases.start(graph);
  }
  const approvals = async (status: string) => (await releases.conversations.listApprovals({ status })).approvals;
  const approving = (conversationId: string) => release.agent.approveConversation({ conversationId, approved: true });
  const failure = (call: Promise<unknown>) =>
    call.then(
      () => undefined,
      (error: unknown) => ({ reason: reasonOf(error), message: String(error) }),
    );

  test("is superseded by a fresh one, which names the tool's version, and only that one runs the call, once", async () => {
    const conversationId = await parked("ann", "bob");
    const old = await approvals("pending");
    await upgrade(mailTool("2"), otherTool);
    const refused = await failure(approving(conversationId));
    expect(refused).toMatchObject({ reason: ErrorReason.APPROVAL_SUPERSEDED });
    expect(refused?.message).toContain("send_mail has changed from version 1 to 2");
    const fresh = await approvals("pending");
    expect(fresh.map(({ toolVersion }) => toolVersion)).toEqual(["2", "2"]);
    for (const { id } of fresh) expect(refused?.message).toContain(id);
    const superseded = await approvals("superseded");
    expect(new Set(superseded.map(({ id }) => id))).toEqual(new Set(old.map(({ id }) => id)));
    expect(new Set(superseded.map(({ supersededBy }) => supersededBy))).toEqual(new Set(fresh.map(({ id }) => id)));
    expect(sent).toEqual([]);

    const again = await failure(release.agent.decideApproval({ approvalId: old[0]?.id, approved: true }));
    expect(again).toMatchObject({ reason: ErrorReason.APPROVAL_SUPERSEDED });
    expect(again?.message).toContain(superseded.find(({ id }) => id === old[0]?.id)?.supersededBy);
    releases.model.reply({ text: "Mailed." });
    const first = await release.agent.decideApproval({ approvalId: fresh[0]?.id, approved: true });
    expect(first.status).toBe("pending_approval");
    const second = await release.agent.decideApproval({ approvalId: fresh[1]?.id, approved: true });
    expect(second).toMatchObject({ status: "approved", response: "Mailed." });
    expect(sent.sort()).toEqual(["2:ann", "2:bob"]);
  }, 60_000);

  test("can be rejected as it is", async () => {
    const conversationId = await parked("ann");
    await upgrade(mailTool("2"), otherTool);
    releases.model.reply({ text: "Not mailed." });
    const rejected = await release.agent.approveConversation({ conversationId, approved: false });
    expect(rejected).toMatchObject({ status: "rejected", response: "Not mailed." });
    expect(sent).toEqual([]);
  }, 60_000);

  test("of a tool that no longer exists is refused with that reason, and can be rejected", async () => {
    const conversationId = await parked("ann");
    await upgrade(otherTool);
    const refused = await failure(approving(conversationId));
    expect(refused).toMatchObject({ reason: ErrorReason.APPROVAL_SUPERSEDED });
    expect(refused?.message).toContain("send_mail no longer exists");
    expect(await approvals("pending")).toHaveLength(1);
    releases.model.reply({ text: "Not mailed." });
    const rejected = await release.agent.approveConversation({ conversationId, approved: false });
    expect(rejected).toMatchObject({ status: "rejected", response: "Not mailed." });
  }, 60_000);

  test("parks the run again when the executor is upgraded between the decision and the call", async () => {
    const conversationId = await parked("ann");
    await releases.upgradeExecutor([mailTool("2"), otherTool]);
    // The orchestrator still knows the tools as they were.
    expect((await approving(conversationId)).status).toBe("pending_approval");
    expect(await approvals("pending")).toMatchObject([{ toolName: "send_mail", toolVersion: "2" }]);
    expect(sent).toEqual([]);
    await release.stop();
    release = await releases.start(graph);
    releases.model.reply({ text: "Mailed." });
    expect(await approving(conversationId)).toMatchObject({ status: "approved", response: "Mailed." });
    expect(sent).toEqual(["2:ann"]);
  }, 60_000);

  test("is asked for when the tool has come to need one", async () => {
    await upgrade(mailTool("1", false), otherTool);
    releases.model.reply({ text: "Hello." });
    await release.agent.createConversation({ message: "Hello" });
    await releases.upgradeExecutor([mailTool("2"), otherTool]);
    const conversationId = await parked("ann");
    expect(await approvals("pending")).toMatchObject([{ toolName: "send_mail", toolVersion: "2" }]);
    await release.stop();
    release = await releases.start(graph);
    releases.model.reply({ text: "Mailed." });
    expect(await approving(conversationId)).toMatchObject({ status: "approved", response: "Mailed." });
    expect(sent).toEqual(["2:ann"]);
  }, 60_000);
});
