import { randomUUID } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Role } from "@turnwright/contract/auth/v1/identity";
import type { CallSettlementSchema } from "@turnwright/contract/tool/v1/execution_service";
import { ExecutionStatus } from "@turnwright/contract/tool/v1/tool";
import { detailOf, ErrorReason } from "@turnwright/platform/errors";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createExecutorFixture, type ExecutorFixture, type ExecutorProcess } from "../../testing/executor.ts";
import { gatedTool } from "../../testing/gated-tool.ts";

let fixture: ExecutorFixture;
let executor: ExecutorProcess;
const { tool, run, runs } = gatedTool({ effect: "once" });
const args = { what: "a" };
beforeAll(async () => {
  fixture = await createExecutorFixture();
  executor = await fixture.start({ tools: [tool] });
});
afterAll(() => fixture.stop());

type Settlement = MessageInitShape<typeof CallSettlementSchema>;
const completed = (value: string, callId = "call_1"): Settlement => ({ callId, outcome: { case: "completed", value } });
const notDone = (callId = "call_1"): Settlement => ({ callId, outcome: { case: "notDone", value: {} } });

/** A run whose calls a dead process left behind. */
async function left(...callIds: string[]): Promise<string> {
  const runId = randomUUID();
  for (const callId of callIds) await fixture.leave({ runId, callId, tool, args });
  return runId;
}

async function faultOf(work: Promise<unknown>) {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  const { reason, param } = detailOf(error) ?? {};
  return { reason, param };
}

test("a token settles only calls of tools that it may use, all of them or none", async () => {
  const runId = await left("a");
  const other = gatedTool({ effect: "once", name: "other" });
  await fixture.leave({ runId, callId: "b", tool: other.tool, args });
  const narrow = await fixture.start({ tools: [tool, other.tool], identity: { allowedTools: ["gated"] } });
  const before = await fixture.rows(runId);
  const calls = [completed("1", "a"), completed("1", "b")];
  expect(await faultOf(narrow.executions.settleCalls({ runId, calls }))).toEqual({
    reason: ErrorReason.TOOL_NOT_ALLOWED,
    param: "calls[1].call_id",
  });
  expect(await fixture.rows(runId)).toEqual(before);
  expect((await narrow.executions.settleCalls({ runId, calls: [completed("1", "a")] })).results).toHaveLength(1);
});

test("a person's finding becomes the call's result, under that person's id, and the call does not run again", async () => {
  const runId = await left("a", "b");
  const { results } = await executor.executions.settleCalls({ runId, calls: [notDone("b"), completed('{"sent": 1}', "a")] });
  const error = expect.stringContaining("a person found that it was not done");
  expect(results).toMatchObject([
    { callId: "b", status: ExecutionStatus.FAILED, error },
    { callId: "a", status: ExecutionStatus.SUCCESS, output: '{"sent": 1}' },
  ]);
  expect(await fixture.rows(runId)).toMatchObject([
    { tool_call_id: "a", status: "success", output: { sent: 1 }, settled_by: fixture.userId },
    { tool_call_id: "b", status: "failed", settled_by: fixture.userId },
  ]);
  const other = await fixture.start({ tools: [tool] });
  for (const process of [executor, other]) {
    expect(await process.execute({ runId, callId: "a", name: "gated", args })).toMatchObject({ output: '{"sent": 1}' });
    expect(await process.execute({ runId, callId: "b", name: "gated", args })).toMatchObject({
      status: ExecutionStatus.FAILED,
      error,
    });
  }
  expect(runs).toHaveLength(0);
});

test("only calls with an unknown outcome can be settled, all of them or none", async () => {
  const runId = await left("lost");
  const settle = (...calls: Settlement[]) => faultOf(executor.executions.settleCalls({ runId, calls }));
  const before = runs.length;
  const asked = executor.execute({ runId, callId: "running", name: "gated", args });
  const running = await run(before + 1);
  const conflict = { reason: ErrorReason.CONFLICT, param: "calls[1].call_id" };
  expect(await settle(notDone("lost"), notDone("running"))).toEqual(conflict);
  running.end("done");
  await asked;
  expect(await settle(notDone("lost"), completed("1", "running"))).toEqual(conflict);
  expect(await settle(notDone("lost"), notDone("absent"))).toEqual({ reason: ErrorReason.NOT_FOUND, param: "calls[1].call_id" });
  const untouched = await executor.execute({ runId, callId: "lost", name: "gated", args });
  expect(untouched).toMatchObject({ status: ExecutionStatus.UNKNOWN });
  expect(await settle(notDone("lost"))).toEqual({ reason: undefined, param: undefined });
  expect(await settle(notDone("lost"))).toEqual({ reason: ErrorReason.CONFLICT, param: "calls[0].call_id" });
});

test("one of racing settlements wins, and the others get a conflict", async () => {
  const runId = await left("call_1");
  const outcomes = await Promise.all(
    Array.from({ length: 20 }, (_, index) => faultOf(executor.executions.settleCalls({ runId, calls: [completed(`${index}`)] }))),
  );
  expect(outcomes.filter(({ reason }) => reason === undefined)).toHaveLength(1);
  expect(outcomes.filter(({ reason }) => reason === ErrorReason.CONFLICT)).toHaveLength(19);
  const winner = outcomes.findIndex(({ reason }) => reason === undefined);
  expect(await fixture.rows(runId)).toMatchObject([{ output: winner }]);
});

test("the late result of a lost process does not replace a person's finding", async () => {
  const runId = randomUUID();
  const before = runs.length;
  const asked = executor.execute({ runId, name: "gated", args });
  const late = await run(before + 1);
  await fixture.pool.query("update tool_executions set lease_until = now() - interval '1 second' where run_id = $1", [runId]);
  await executor.executions.settleCalls({ runId, calls: [completed('"by hand"')] });
  late.end("late");
  expect(await asked).toMatchObject({ output: '"by hand"' });
  expect(await fixture.rows(runId)).toMatchObject([{ output: "by hand", settled_by: fixture.userId }]);
});

test("another user's call is not found, and an account with the role agent settles none", async () => {
  const runId = await left("call_1");
  const settleAs = async (identity: { userId?: string; role?: Role }) => {
    const process = await fixture.start({ tools: [tool], identity });
    return faultOf(process.executions.settleCalls({ runId, calls: [notDone()] }));
  };
  expect(await settleAs({ userId: randomUUID() })).toEqual({ reason: ErrorReason.NOT_FOUND, param: "calls[0].call_id" });
  expect((await settleAs({ role: Role.AGENT })).reason).toBe(ErrorReason.PERMISSION_DENIED);
  expect(await fixture.rows(runId)).toMatchObject([{ settled_by: null }]);
});

test.each<[string, Settlement[], string]>([
  ["text that is not JSON", [completed("{")], "calls[0].completed"],
  ["JSON that is nested too deep", [completed(`${"[".repeat(40)}${"]".repeat(40)}`)], "calls[0].completed"],
  ["a call named twice", [notDone(), completed("1")], "calls[1].call_id"],
  ["an id with a NUL character", [notDone("a\0b")], "calls"],
  ["no outcome", [{ callId: "call_1" }], "calls[0].outcome"],
])("%s is refused with the field", async (_what, calls, param) => {
  const runId = await left("call_1");
  expect(await faultOf(executor.executions.settleCalls({ runId, calls }))).toEqual({
    reason: ErrorReason.INVALID_REQUEST,
    param,
  });
});
