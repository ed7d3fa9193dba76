import { randomUUID } from "node:crypto";
import { CallOutcome } from "@turnwright/contract/tool/v1/execution_service";
import { ExecutionStatus } from "@turnwright/contract/tool/v1/tool";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createExecutorFixture, type ExecutorFixture, type ExecutorProcess } from "../../testing/executor.ts";
import { gatedTool } from "../../testing/gated-tool.ts";

let fixture: ExecutorFixture;
beforeAll(async () => {
  fixture = await createExecutorFixture();
});
afterAll(() => fixture.stop());

const args = { what: "a" };

async function cancel(executor: ExecutorProcess, runId: string, ...callIds: string[]) {
  const { receipts } = await executor.executions.cancelCalls({ runId, callIds: callIds.length === 0 ? ["call_1"] : callIds });
  return receipts;
}

test("a call that arrives after its cancellation never begins, in any process, however often it is requested", async () => {
  const { tool, runs } = gatedTool({ effect: "idempotent" });
  const [here, there] = [await fixture.start({ tools: [tool] }), await fixture.start({ tools: [tool] })];
  const runId = randomUUID();
  const never = { outcome: CallOutcome.NOT_STARTED, output: "", error: expect.stringContaining("before it began") };
  expect(await cancel(here, runId, "b", "a")).toMatchObject([
    { callId: "b", ...never },
    { callId: "a", ...never },
  ]);
  for (const executor of [here, there, here]) {
    for (const callId of ["a", "b"]) {
      const late = await executor.execute({ runId, callId, name: "gated", args });
      expect(late).toMatchObject({ status: ExecutionStatus.CANCELLED, error: expect.stringContaining("before it began") });
    }
  }
  expect(runs).toHaveLength(0);
  expect(await cancel(there, runId, "a")).toMatchObject([{ callId: "a", ...never }]);
});

for (const effect of ["read", "idempotent", "once"] as const) {
  test(`a ${effect} call that runs is stopped, by its own process or another, and stays stopped`, async () => {
    for (const from of ["here", "there"]) {
      const { tool, run, runs } = gatedTool({ effect });
      const executors = {
        here: await fixture.start({ tools: [tool], leaseMs: 400 }),
        there: await fixture.start({ tools: [tool] }),
      };
      const runId = randomUUID();
      const asked = executors.here.execute({ runId, name: "gated", args });
      const running = await run(1);
      const [receipt] = await cancel(from === "here" ? executors.here : executors.there, runId);
      expect(running.signal.aborted).toBe(true);
      const expected =
        effect === "once" ? [CallOutcome.UNKNOWN, ExecutionStatus.UNKNOWN] : [CallOutcome.ABORTED, ExecutionStatus.CANCELLED];
      expect(receipt).toMatchObject({
        callId: "call_1",
        outcome: expected[0],
        error: expect.stringContaining("cancelled while it ran"),
      });
      expect(await asked).toMatchObject({ status: expected[1] });
      expect(await executors.there.execute({ runId, name: "gated", args })).toMatchObject({ status: expected[1] });
      expect(await cancel(executors.there, runId)).toMatchObject([{ outcome: expected[0] }]);
      expect(runs).toHaveLength(1);
    }
  });
}

test("a waiting call is not started, and its running neighbour is aborted", async () => {
  const { tool, run, runs } = gatedTool();
  const executor = await fixture.start({ tools: [tool], config: { TOOLS_MAX_CONCURRENT: 1 } });
  const runId = randomUUID();
  const calls = ["first", "second"].map((callId) => ({ callId, name: "gated", arguments: JSON.stringify(args) }));
  const round = executor.executions.executeCalls({ runId, epoch: 1, calls });
  await run(1);
  expect(await cancel(executor, runId, "second", "first")).toMatchObject([
    { callId: "second", outcome: CallOutcome.NOT_STARTED },
    { callId: "first", outcome: CallOutcome.ABORTED },
  ]);
  expect((await round).results.map(({ status }) => status)).toEqual([ExecutionStatus.CANCELLED, ExecutionStatus.CANCELLED]);
  const again = await executor.execute({ runId, callId: "second", name: "gated", args });
  expect(again).toMatchObject({ status: ExecutionStatus.CANCELLED, error: expect.stringContaining("before it began") });
  expect(runs).toHaveLength(1);
});

test("a call that has ended keeps its result, a failed one its error", async () => {
  const { tool, run } = gatedTool({ effect: "once" });
  const executor = await fixture.start({ tools: [tool] });
  const runId = randomUUID();
  const well = executor.execute({ runId, callId: "well", name: "gated", args });
  (await run(1)).end({ sent: true });
  await well;
  const badly = executor.execute({ runId, callId: "badly", name: "gated", args });
  (await run(2)).fail(new Error("no such mailbox"));
  await badly;
  expect(await cancel(executor, runId, "well", "badly")).toMatchObject([
    { callId: "well", outcome: CallOutcome.COMPLETED, output: '{"sent":true}', error: "" },
    { callId: "badly", outcome: CallOutcome.COMPLETED, output: "", error: "no such mailbox" },
  ]);
  expect(await executor.execute({ runId, callId: "well", name: "gated", args })).toMatchObject({ output: '{"sent":true}' });
});

test("a call whose process died is aborted, or unknown if its effect is once, and never runs again", async () => {
  for (const [effect, outcome, status] of [
    ["read", CallOutcome.ABORTED, ExecutionStatus.CANCELLED],
    ["idempotent", CallOutcome.ABORTED, ExecutionStatus.CANCELLED],
    ["once", CallOutcome.UNKNOWN, ExecutionStatus.UNKNOWN],
  ] as const) {
    const { tool, runs } = gatedTool({ effect });
    const executor = await fixture.start({ tools: [tool] });
    const runId = randomUUID();
    await fixture.leave({ runId, callId: "call_1", tool, args });
    expect(await cancel(executor, runId)).toMatchObject([{ outcome }]);
    expect(await executor.execute({ runId, name: "gated", args })).toMatchObject({ status });
    expect(runs).toHaveLength(0);
  }
});

test("a process that ignores the request to stop leaves an unknown outcome, or aborted for a read call", async () => {
  const { tool } = gatedTool();
  const executor = await fixture.start({ tools: [tool] });
  const [runId, other] = [randomUUID(), randomUUID()];
  await fixture.leave({ runId, callId: "call_1", tool: { ...tool, effect: "idempotent" }, args });
  await fixture.leave({ runId: other, callId: "call_1", tool, args });
  await fixture.pool.query("update tool_executions set lease_until = now() + interval '1 minute' where run_id = any ($1)", [
    [runId, other],
  ]);
  const receipts = await Promise.all([cancel(executor, runId), cancel(executor, other)]);
  expect(receipts).toMatchObject([[{ outcome: CallOutcome.UNKNOWN }], [{ outcome: CallOutcome.ABORTED }]]);
});

test("another user's calls are invisible: nothing stops and nothing is written", async () => {
  const { tool, run } = gatedTool();
  const executor = await fixture.start({ tools: [tool] });
  const stranger = await fixture.start({ tools: [tool], identity: { userId: randomUUID() } });
  const runId = randomUUID();
  const asked = executor.execute({ runId, name: "gated", args });
  const running = await run(1);
  expect(await cancel(stranger, runId, "call_1", "later")).toMatchObject([
    { callId: "call_1", outcome: CallOutcome.NOT_STARTED },
    { callId: "later", outcome: CallOutcome.NOT_STARTED },
  ]);
  expect(running.signal.aborted).toBe(false);
  running.end("done");
  expect(await asked).toMatchObject({ status: ExecutionStatus.SUCCESS, output: '"done"' });
  const later = executor.execute({ runId, callId: "later", name: "gated", args });
  (await run(2)).end("later");
  expect(await later).toMatchObject({ output: '"later"' });
});

test("a cancellation that races with its calls leaves none running, and every receipt is right", async () => {
  const { tool, runs } = gatedTool();
  const executors = await Promise.all([1, 2].map(() => fixture.start({ tools: [tool], leaseMs: 400 })));
  const [here, there] = executors as [ExecutorProcess, ExecutorProcess];
  const runId = randomUUID();
  const callIds = Array.from({ length: 40 }, (_, index) => `c${index}`);
  const calls = callIds.map((callId) => ({ callId, name: "gated", arguments: JSON.stringify(args) }));
  const rounds = calls.map((call) => here.executions.executeCalls({ runId, epoch: 1, calls: [call] }));
  const receipts = await cancel(there, runId, ...callIds);
  const statuses = (await Promise.all(rounds)).map(({ results: [result] }) => result?.status);
  expect(new Set(statuses)).toEqual(new Set([ExecutionStatus.CANCELLED]));
  const aborted = receipts.filter(({ outcome }) => outcome === CallOutcome.ABORTED).length;
  expect(receipts.filter(({ outcome }) => outcome === CallOutcome.NOT_STARTED)).toHaveLength(callIds.length - aborted);
  expect(runs).toHaveLength(aborted);
  expect(runs.every(({ signal }) => signal.aborted)).toBe(true);
});
