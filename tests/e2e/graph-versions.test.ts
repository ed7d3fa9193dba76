import { ErrorReason, reasonOf } from "@turnwright/platform/errors";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Releases, startReleases } from "./releases.ts";

const old = { newest: 1, oldest: 1 };
/** A release without the old version, and one with both. */
const strict = { newest: 2, oldest: 2 };
const both = { newest: 2, oldest: 1 };

describe("orchestrators of two releases", () => {
  let releases: Releases;
  beforeEach(async () => {
    releases = await startReleases();
  });
  afterEach(() => releases.close());

  const sending = (id: string) => ({
    calls: [{ id, name: "http_request", arguments: JSON.stringify({ url: releases.effects.url, method: "POST", body: id }) }],
  });
  const contents = async (conversationId: string) =>
    (await releases.conversations.listMessages({ conversationId })).messages.map(({ content }) => content);
  const runsOf = async (conversationId: string) => (await releases.conversations.listRuns({ conversationId })).runs;
  const reasonFor = (call: Promise<unknown>) => call.then(() => undefined, reasonOf);

  test("a run that the old release parked is decided at the new one, and continues when the old one is back", async () => {
    releases.model.reply(sending("order-1"));
    const first = await releases.start(old);
    const { conversationId, response } = await first.agent.createConversation({ message: "Order it" });
    expect(response).toBe("pending_approval");
    await first.stop();

    const next = await releases.start(strict);
    const [parked] = await runsOf(conversationId);
    const runId = parked?.id ?? "";
    const before = await releases.row(runId);
    expect(await reasonFor(next.agent.sendMessage({ conversationId, message: "Well?" }))).toBe(ErrorReason.PENDING_APPROVAL);
    const decided = await next.agent.approveConversation({ conversationId, approved: true, reason: "fine" });
    expect(decided).toMatchObject({ status: "approved", conversation: { id: conversationId, status: "active" } });
    expect(decided.response).toBeUndefined();
    const again = next.agent.approveConversation({ conversationId, approved: false });
    expect(await reasonFor(again)).toBe(ErrorReason.NOTHING_TO_APPROVE);
    const { state, epoch, attempt, graph_version } = before;
    expect(await releases.row(runId)).toMatchObject({ status: "queued", state, epoch, attempt, graph_version, error: "" });
    // It blocks its own conversation only.
    releases.model.reply({ text: "Here." });
    expect((await next.agent.createConversation({ message: "Are you there?" })).response).toBe("Here.");
    const { run: behind } = await next.runs.createRun({ conversationId, message: "And then?" });
    expect(behind?.status).toBe("queued");
    expect(releases.effects.bodies).toEqual([]);

    releases.model.reply({ text: "Ordered." }, { text: "Then it comes." });
    await releases.start(old);
    await expect.poll(() => contents(conversationId), { timeout: 10_000, interval: 50 }).toHaveLength(6);
    expect((await contents(conversationId)).filter((_, index) => index !== 1 && index !== 2)).toEqual([
      "Order it",
      "Ordered.",
      "And then?",
      "Then it comes.",
    ]);
    expect(releases.effects.bodies).toEqual(["order-1"]);
    expect(await releases.row(runId)).toMatchObject({ status: "completed", graph_version: 1, attempt: 0 });
    expect(await releases.row(behind?.id ?? "")).toMatchObject({ status: "completed", graph_version: 2 });
  }, 60_000);

  test("while both run, a client that decides at the new release gets the answer from the old one", async () => {
    releases.model.reply(sending("order-2"));
    const [first, next] = [await releases.start(old), await releases.start(strict)];
    const { conversationId } = await first.agent.createConversation({ message: "Order it" });
    releases.model.reply({ text: "Ordered." });
    const decided = await next.agent.approveConversation({ conversationId, approved: true });
    expect(decided).toMatchObject({ status: "approved", response: "Ordered." });
    expect(releases.effects.bodies).toEqual(["order-2"]);
  }, 60_000);

  test("the old release leaves runs of the new one alone: parked, handed over and queued ones", async () => {
    const [first, next] = [await releases.start(old), await releases.start(strict)];
    releases.model.reply(sending("order-3"));
    const { conversationId } = await next.agent.createConversation({ message: "Order it" });
    releases.model.reply({ text: "one two three", pauseAfter: { pieces: 1, gate: new Promise(() => {}) } });
    const { run: spoken } = await next.runs.createRun({ message: "Speak" });
    await releases.model.request(1);
    await next.stop();
    const decided = await first.agent.approveConversation({ conversationId, approved: false });
    expect(decided).toMatchObject({ status: "rejected" });
    const [parked] = await runsOf(conversationId);
    expect(await releases.row(parked?.id ?? "")).toMatchObject({ status: "queued", epoch: 1, graph_version: 2 });
    // It has sent heartbeats for three seconds meanwhile.
    expect(await releases.row(spoken?.id ?? "")).toMatchObject({ status: "running", epoch: 1, graph_version: 2 });

    releases.model.reply({ text: "Done." }, { text: "Done." });
    await releases.start(strict);
    const statuses = async () =>
      [await releases.row(parked?.id ?? ""), await releases.row(spoken?.id ?? "")].map(({ status }) => status);
    await expect.poll(statuses, { timeout: 10_000, interval: 50 }).toEqual(["completed", "completed"]);
    expect(releases.effects.bodies).toEqual([]);
  }, 60_000);

  test("a release with both versions continues a run of the old one, and the run takes its version", async () => {
    const first = await releases.start(old);
    releases.model.reply({ text: "one two three", pauseAfter: { pieces: 1, gate: new Promise(() => {}) } });
    const { run } = await first.runs.createRun({ message: "Order it" });
    await releases.model.request(0);
    await first.stop();
    releases.model.reply(sending("order-4"));
    const next = await releases.start(both);
    const runId = run?.id ?? "";
    await expect.poll(async () => (await releases.row(runId)).status, { timeout: 10_000, interval: 50 }).toBe("waiting");
    expect(await releases.row(runId)).toMatchObject({ graph_version: 2, epoch: 2 });
    releases.model.reply({ text: "Ordered." });
    const decided = await next.agent.approveConversation({ conversationId: run?.conversationId, approved: true });
    expect(decided.response).toBe("Ordered.");
    expect(releases.effects.bodies).toEqual(["order-4"]);
  }, 60_000);
});
