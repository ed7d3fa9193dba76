import { randomUUID } from "node:crypto";
import { type RunContext, RunStatus } from "@turnwright/contract/conversation/v1/run";
import { hashArguments, verifyGrant } from "@turnwright/platform/identity/grant";
import { uuidv7 } from "@turnwright/platform/uuid";
import { beforeEach, describe, expect, test } from "vitest";
import { ErrorReason, meshSecret, reasonFor, toolCall } from "../../../testing/conversation.ts";
import { fixture, person, useConversation } from "../../../testing/use-conversation.ts";
import { rejectExpiredApprovals } from "../expired-approvals.ts";

useConversation({ approvalExpiryMs: 86_400_000 });
beforeEach(async () => {
  // Runs that earlier tests left unclaimed must not be claimed by later tests.
  await fixture.pool.query("update runs set status = 'cancelled' where status in ('queued', 'running')");
});

/** A release that drives graph versions 5 to 6, and the versions of the runs that it meets. */
const ours = { graphVersion: 6, oldestGraphVersion: 5 };
const [older, newer] = [4, 7];
const releaseOf = (version: number) => ({ graphVersion: version, oldestGraphVersion: version });

const rowOf = async (runId: string) => (await fixture.pool.query("select * from runs where run_id = $1", [runId])).rows[0];
const eventsOf = async (runId: string) =>
  (await fixture.pool.query("select type from run_events where run_id = $1 order by seq", [runId])).rows.map(({ type }) => type);
const idOf = (context: RunContext | undefined) => context?.run?.id ?? "";
const conversationOf = (context: RunContext) => context.conversation?.id ?? "";

/** Moves the times back by half a minute. */
async function later(): Promise<void> {
  await fixture.pool.query("update journal_pulse set since = since - interval '30 seconds'");
  await fixture.pool.query(`update runs set updated_at = updated_at - interval '30 seconds', wake_at = wake_at - interval '30 seconds',
    deadline_at = deadline_at - interval '30 seconds'`);
}

const beat = async (versions: object) =>
  (await person.journal.beat({ workerId: randomUUID(), claimLimit: 8, driving: [], ...versions })).claimed;

const begun = (version: number, init: object = {}) =>
  person.begin({
    message: "Hello",
    workerId: randomUUID(),
    deadlineSeconds: 10,
    state: '{"of":"old"}',
    ...releaseOf(version),
    ...init,
  });

async function parked(version: number, callIds = ["c1"]): Promise<RunContext> {
  const context = await begun(version);
  await person.park(context, callIds);
  return context;
}

async function queued(version: number, conversationId = ""): Promise<string> {
  const runId = uuidv7();
  const request = { runId, conversationId, message: "Hello", background: true, state: "{}", ...releaseOf(version) };
  await person.journal.beginRun(request);
  return runId;
}

/** Claimable runs, by their state; each of a given graph version. */
const claimable: Record<string, (version: number) => Promise<string>> = {
  "that is queued": (version) => queued(version),
  "whose worker is dead": async (version) => idOf(await begun(version)),
  "that sleeps": async (version) => {
    const context = await begun(version);
    await person.commit(context, { status: RunStatus.QUEUED, node: "think", wakeInMs: 5_000 });
    return idOf(context);
  },
  "whose approval has expired": async (version) => {
    const context = await parked(version);
    await fixture.pool.query("update approvals set expires_at = now() where run_id = $1", [idOf(context)]);
    await rejectExpiredApprovals(fixture.database.pool);
    return idOf(context);
  },
};

describe.each(Object.entries(claimable))("a run %s", (_, make) => {
  test.each([
    ["older than a worker drives", older],
    ["newer than it drives", newer],
  ])("of a version %s stays as it is until a worker drives it", async (_name, version) => {
    const runId = await make(version);
    await later();
    const before = await rowOf(runId);
    expect((await beat(ours)).map(idOf)).not.toContain(runId);
    const hinted = await person.journal.claimRun({ runId, workerId: randomUUID(), ...ours });
    expect(hinted.context).toBeUndefined();
    expect(await rowOf(runId)).toEqual(before);
    expect((await beat(releaseOf(version))).map(idOf)).toContain(runId);
    expect((await rowOf(runId)).epoch).toBe(before.epoch + 1);
  });

  test.each([5, 6])("of version %i, which the worker drives, is claimed", async (version) => {
    const runId = await make(version);
    await later();
    expect((await beat(ours)).map(idOf)).toContain(runId);
  });
});

describe.each([older, newer])("a parked run of version %i, decided through a process that does not drive it", (version) => {
  test("keeps the decision, refuses a second one, and continues on a worker that drives it", async () => {
    const context = await parked(version, ["c1", "c2"]);
    const [runId, conversationId] = [idOf(context), conversationOf(context)];
    const before = await rowOf(runId);
    const decide = (init: object) => person.journal.decideApprovals({ conversationId, workerId: randomUUID(), ...ours, ...init });
    expect((await decide({ calls: [{ callId: "c1", approved: true, reason: "fine" }] })).run).toBeUndefined();
    const decided = await decide({ approved: false, reason: "no" });
    expect(decided.context).toBeUndefined();
    expect(decided.run).toMatchObject({ id: runId, status: RunStatus.QUEUED, epoch: before.epoch });
    expect(decided.conversation?.status).toBe("active");
    expect(await reasonFor(decide({ approved: true }))).toBe(ErrorReason.NOTHING_TO_APPROVE);
    const after = await rowOf(runId);
    const { state, node, epoch, attempt, graph_version, error } = before;
    expect(after).toMatchObject({ status: "queued", state, node, epoch, attempt, graph_version, error });
    expect((await beat(ours)).map(idOf)).not.toContain(runId);
    // The epoch that parked it is fenced off as well.
    expect(await reasonFor(person.answer(context))).toBe(ErrorReason.STALE_EPOCH);
    const claimed = (await beat(releaseOf(version))).find((one) => idOf(one) === runId);
    expect(claimed?.run).toMatchObject({ epoch: 2, graphVersion: version, state: '{ "round": 1 }' });
    expect(claimed?.decisions).toMatchObject([
      { callId: "c1", approved: true, reason: "fine" },
      { callId: "c2", approved: false, reason: "no", grant: "" },
    ]);
    const { tokenId } = person;
    const claims = { runId, epoch: 2, callId: "c1", tool: "http_request", toolVersion: "3", tokenId };
    const argumentsHash = hashArguments(toolCall("c1").function.arguments);
    expect(await verifyGrant(meshSecret, claimed?.decisions[0]?.grant ?? "", { ...claims, argumentsHash })).toBe(true);
    expect(await eventsOf(runId)).toEqual(["resumed", "retried"]);
    expect(await rowOf(runId)).toMatchObject({ status: "running", attempt: 0 });
  });

  test("has one first decision among concurrent ones of both releases", async () => {
    const context = await parked(version);
    const conversationId = conversationOf(context);
    const decisions = Array.from({ length: 20 }, (_, index) =>
      reasonFor(
        person.journal.decideApprovals({
          conversationId,
          approved: index % 2 === 0,
          workerId: randomUUID(),
          ...(index % 3 === 0 ? releaseOf(version) : ours),
        }),
      ),
    );
    const reasons = await Promise.all(decisions);
    expect(reasons.filter((reason) => reason === undefined)).toHaveLength(1);
    expect(reasons.filter((reason) => reason === ErrorReason.NOTHING_TO_APPROVE)).toHaveLength(19);
  });

  test("continues after its review on a worker that drives it", async () => {
    const context = await begun(version);
    await person.commit(context, {
      status: RunStatus.NEEDS_REVIEW,
      node: "act",
      events: [{ type: "needs_review", payload: "{}" }],
    });
    const runId = idOf(context);
    const { epoch } = await rowOf(runId);
    const resume = () => person.journal.resumeRun({ runId, workerId: randomUUID(), ...ours });
    expect((await resume()).context).toBeUndefined();
    expect(await rowOf(runId)).toMatchObject({ status: "queued", epoch, owner: "", deadline_at: null });
    expect(await reasonFor(resume())).toBe(ErrorReason.NOTHING_TO_REVIEW);
    expect((await beat(ours)).map(idOf)).not.toContain(runId);
    expect((await beat(releaseOf(version))).map(idOf)).toContain(runId);
  });

  test("refuses a further message like any parked run, and makes way for one that interrupts", async () => {
    const context = await parked(version);
    const conversationId = conversationOf(context);
    expect(await reasonFor(person.begin({ conversationId, ...ours }))).toBe(ErrorReason.PENDING_APPROVAL);
    const request = { runId: uuidv7(), conversationId, message: "Never mind", concurrency: "interrupt", ...ours };
    const interrupting = await person.journal.beginRun(request);
    expect(interrupting).toMatchObject({ liveRunId: idOf(context), run: { status: RunStatus.QUEUED } });
    await person.journal.cancelRun({ runId: idOf(context), reason: "interrupted" });
    expect(await rowOf(idOf(context))).toMatchObject({ status: "cancelled" });
    expect((await beat(ours)).map(idOf)).toContain(request.runId);
  });

  test("queues messages behind it once it is decided", async () => {
    const context = await parked(version);
    const conversationId = conversationOf(context);
    await person.journal.decideApprovals({ conversationId, approved: true, workerId: randomUUID(), ...ours });
    const next = await queued(ours.graphVersion, conversationId);
    expect((await beat(ours)).map(idOf)).not.toContain(next);
    const claimed = (await beat(releaseOf(version))).find((one) => idOf(one) === idOf(context));
    if (claimed !== undefined) await person.answer(claimed);
    expect((await beat(ours)).map(idOf)).toContain(next);
  });
});

test("an overdue run makes way for a message through a process that drives it, and for no other", async () => {
  const context = await begun(older);
  const conversationId = conversationOf(context);
  await later();
  const message = (versions: object) =>
    person.journal.beginRun({ runId: uuidv7(), conversationId, message: "Still there?", workerId: randomUUID(), ...versions });
  expect((await message(ours)).run?.status).toBe(RunStatus.QUEUED);
  expect(await rowOf(idOf(context))).toMatchObject({ status: "running", epoch: 1 });
  const other = await begun(ours.oldestGraphVersion);
  await later();
  const [runId, workerId] = [uuidv7(), randomUUID()];
  const request = { runId, conversationId: conversationOf(other), message: "Still there?", workerId, ...ours };
  expect((await person.journal.beginRun(request)).context).toBeDefined();
  expect(await rowOf(idOf(other))).toMatchObject({ status: "failed" });
});

test("a run has the version that last wrote its state, so an older release cannot claim it back", async () => {
  const context = await begun(5);
  await person.commit(context, { status: RunStatus.RUNNING, node: "act" });
  expect((await rowOf(idOf(context))).graph_version).toBe(5);
  await person.commit(context, { status: RunStatus.RUNNING, node: "act", state: '{"of":"new"}', graphVersion: 6 });
  await later();
  expect((await beat(releaseOf(5))).map(idOf)).not.toContain(idOf(context));
  expect((await beat(ours)).map(idOf)).toContain(idOf(context));
});

test("many messages behind a run that nobody drives do not keep a worker from other runs", async () => {
  const context = await parked(older);
  const conversationId = conversationOf(context);
  await person.journal.decideApprovals({ conversationId, approved: true, workerId: randomUUID(), ...ours });
  for (let count = 0; count < 10; count += 1) await queued(ours.graphVersion, conversationId);
  // A run that no worker drives, at the head of its conversation, with others behind it.
  const head = await queued(older);
  const { conversation_id: blocked } = await rowOf(head);
  for (let count = 0; count < 10; count += 1) await queued(ours.graphVersion, blocked);
  const free = await queued(ours.graphVersion);
  expect((await beat(ours)).map(idOf)).toEqual([free]);
});

test("a caller that names no versions gets every decided or reviewed run", async () => {
  const context = await parked(newer);
  const decided = await person.journal.decideApprovals({ conversationId: conversationOf(context), approved: true });
  expect(decided.context?.run).toMatchObject({ graphVersion: newer, status: RunStatus.RUNNING });
});
