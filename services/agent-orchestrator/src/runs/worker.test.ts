import { create as createMessage } from "@bufbuild/protobuf";
import { RunContextSchema, RunStatus } from "@turnwright/contract/conversation/v1/run";
import { ExecutionStatus } from "@turnwright/contract/tool/v1/tool";
import { ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { asUser, type OrchestratorFixture, startOrchestrator } from "../../testing/orchestrator.ts";

let mesh: OrchestratorFixture;
let isClosed = false;

beforeEach(async () => {
  mesh = await startOrchestrator({}, { beatMs: 100 });
  isClosed = false;
});
afterEach(async () => {
  if (!isClosed) await mesh.close();
});

const create = () => mesh.agent.createConversation({ message: "hi" }, asUser);
const unlimited = new AbortController().signal;

describe("an orchestrator", () => {
  test("is not ready while the journal accepts none of its heartbeats, and ready once it accepts one", async () => {
    const now = performance.now.bind(performance);
    let laterMs = 0;
    const clock = vi.spyOn(performance, "now").mockImplementation(() => now() + laterMs);
    await mesh.journal.nextBeat();
    mesh.journal.beforeBeat = () => {
      throw fail(ErrorReason.UNAVAILABLE, "away");
    };
    await mesh.journal.nextBeat();
    await mesh.ready();
    laterMs = 7_000;
    expect(await mesh.ready().catch((error: unknown) => reasonOf(error))).toBe(ErrorReason.UNAVAILABLE);
    mesh.journal.beforeBeat = () => {};
    await mesh.journal.nextBeat();
    await expect.poll(() => mesh.ready().then(() => true)).toBe(true);
    clock.mockRestore();
  });
});

describe("heartbeats", () => {
  test("go on while a claiming one is unanswered, and claim nothing until it is answered", async () => {
    const gate = Promise.withResolvers<void>();
    await mesh.journal.nextBeat();
    mesh.journal.beforeBeat = () => gate.promise;
    expect((await mesh.journal.nextBeat()).claimLimit).toBeGreaterThan(0);
    mesh.journal.beforeBeat = () => {};
    expect((await mesh.journal.nextBeat()).claimLimit).toBe(0);
    expect((await mesh.journal.nextBeat()).claimLimit).toBe(0);
    gate.resolve();
    await expect.poll(async () => (await mesh.journal.nextBeat()).claimLimit, { timeout: 5_000 }).toBeGreaterThan(0);
  });

  test("stop a run only when two in a row name it as lost", async () => {
    const gate = Promise.withResolvers<void>();
    mesh.model.reply({ text: "one two", pauseAfter: { pieces: 1, gate: gate.promise } });
    // The waiting client follows the run elsewhere.
    create().catch(() => {});
    const request = await mesh.model.request(0);
    const runId = mesh.journal.run?.id ?? "";
    let beats = 0;
    mesh.journal.beforeBeat = () => {
      beats += 1;
      if (beats === 1) mesh.journal.lost.add(runId);
      else mesh.journal.lost.delete(runId);
    };
    await expect.poll(() => beats, { timeout: 5_000 }).toBe(3);
    // The third beat follows the replies to the first two: a run let go by them is no longer listed in it.
    expect(mesh.journal.beats.at(-1)?.driving).toEqual([runId]);
    expect(await Promise.race([request.aborted, Promise.resolve()])).toBeUndefined();
    mesh.journal.beforeBeat = () => void mesh.journal.lost.add(runId);
    expect(await request.aborted).toBe(true);
    gate.resolve();
  });
});

describe("a run that is claimed again in the process that drives it", () => {
  test("is driven by the new claim alone, to its end", async () => {
    mesh.model.reply({ text: "one two", pauseAfter: { pieces: 1, gate: new Promise(() => {}) } }, { text: "anew" });
    create().catch(() => {});
    const first = await mesh.model.request(0);
    const { journal } = mesh;
    const { run, conversation, messages } = journal;
    if (run === undefined) throw new Error("no run");
    journal.abandoned.push(createMessage(RunContextSchema, { run: { ...run, epoch: 2 }, conversation, messages }));
    expect(await first.aborted).toBe(true);
    const commit = await journal.reached(RunStatus.COMPLETED);
    expect(commit).toMatchObject({ epoch: 2, messages: [{ content: "anew" }] });
    expect(journal.commits).toHaveLength(1);
    await expect.poll(async () => (await journal.nextBeat()).driving, { timeout: 5_000 }).toEqual([]);
  });
});

test("the context of a claimed run is read again while the journal is away, and its run is named as driven meanwhile", async () => {
  mesh.model.reply({ text: "first" }, { text: "second" });
  await create();
  const { journal } = mesh;
  const { run, conversation, messages } = journal;
  if (run === undefined) throw new Error("no run");
  let isAway = true;
  journal.beforeContext = () => {
    if (isAway) throw fail(ErrorReason.UNAVAILABLE, "away");
  };
  const id = crypto.randomUUID();
  journal.run = { ...run, id, epoch: 2, status: RunStatus.RUNNING };
  journal.abandoned.push(createMessage(RunContextSchema, { run: journal.run, conversation, messages }));
  await expect.poll(() => journal.contextsRead.length, { timeout: 5_000 }).toBeGreaterThan(1);
  expect((await journal.nextBeat()).driving).toEqual([id]);
  isAway = false;
  await expect
    .poll(() => journal.commits.at(-1), { timeout: 5_000 })
    .toMatchObject({ runId: id, messages: [{ content: "second" }] });
});

describe("an orchestrator that shuts down", () => {
  test("lets runs and their tools end, keeps sending heartbeats and claims no more runs", async () => {
    const [began, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    mesh.model.reply({ calls: [{ id: "a", name: "calculator", arguments: "{}" }] }, { text: "42" });
    mesh.onExecute(async () => {
      began.resolve();
      await gate.promise;
      return { status: ExecutionStatus.SUCCESS, output: "42" } as never;
    });
    const answer = create();
    await began.promise;
    const drained = mesh.drain(unlimited);
    mesh.journal.abandoned.push(createMessage(RunContextSchema, { run: { id: crypto.randomUUID() } }));
    const beat = await mesh.journal.nextBeat();
    expect(beat).toMatchObject({ claimLimit: 0, driving: [mesh.journal.run?.id], leaving: false });
    expect(mesh.journal.abandoned).toHaveLength(1);
    gate.resolve();
    await expect(answer).resolves.toMatchObject({ response: "42" });
    await drained;
    expect(mesh.journal.commits.at(-1)?.status).toBe(RunStatus.COMPLETED);
  });

  test("hands over a run that outlasts the limit: it is stopped, its caller told, nothing committed, and the worker's leaving is its last message to the journal", async () => {
    const gate = Promise.withResolvers<void>();
    mesh.model.reply({ text: "one two three", pauseAfter: { pieces: 2, gate: gate.promise } });
    const answer = create().then(
      () => undefined,
      (error: unknown) => reasonOf(error),
    );
    const request = await mesh.model.request(0);
    const limit = new AbortController();
    const drained = mesh.drain(limit.signal);
    await mesh.journal.nextBeat();
    limit.abort();
    expect(await answer).toBe(ErrorReason.RUN_HANDED_OVER);
    expect(await request.aborted).toBe(true);
    await drained;
    await mesh.close();
    isClosed = true;
    gate.resolve();
    expect(mesh.journal.commits).toEqual([]);
    expect(mesh.journal.beats.at(-1)).toMatchObject({ leaving: true, driving: [] });
  });

  test("hands over a run that began after the drain when the limit is over", async () => {
    const limit = new AbortController();
    await mesh.drain(limit.signal);
    const gate = Promise.withResolvers<void>();
    mesh.model.reply({ text: "one two three", pauseAfter: { pieces: 2, gate: gate.promise } });
    const answer = create().then(
      () => undefined,
      (error: unknown) => reasonOf(error),
    );
    await mesh.model.request(0);
    limit.abort();
    expect(await answer).toBe(ErrorReason.RUN_HANDED_OVER);
    gate.resolve();
  });

  test("hands over a run that began after the drain, too", async () => {
    await mesh.drain(unlimited);
    mesh.model.reply({ text: "one two three", pauseAfter: { pieces: 2, gate: new Promise(() => {}) } });
    const answer = create().then(
      () => undefined,
      (error: unknown) => reasonOf(error),
    );
    await mesh.model.request(0);
    await mesh.close();
    isClosed = true;
    expect(await answer).toBe(ErrorReason.RUN_HANDED_OVER);
    expect(mesh.journal.commits).toEqual([]);
    expect(mesh.journal.beats.at(-1)?.leaving).toBe(true);
  });
});
