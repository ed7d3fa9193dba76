import { randomUUID } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CallOutcome } from "@turnwright/contract/tool/v1/execution_service";
import { ExecutionStatus } from "@turnwright/contract/tool/v1/tool";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { createExecutorFixture, type ExecutorFixture } from "../../testing/executor.ts";
import { gatedTool } from "../../testing/gated-tool.ts";
import type { ProbeResult, Tool, ToolContext } from "../tool-definition/define-tool.ts";

let fixture: ExecutorFixture;
beforeAll(async () => {
  fixture = await createExecutorFixture();
});
afterAll(() => fixture.stop());

const args = { what: "a" };
const call = (runId: string) => ({ runId, name: "gated", args });

/** A run whose `once` call a dead process left behind. */
async function left(tool: Pick<Tool, "name" | "version">): Promise<string> {
  const runId = randomUUID();
  await fixture.leave({ runId, callId: "call_1", tool: { ...tool, effect: "once" } as Tool, args });
  return runId;
}

test("a call that its probe reports as completed has that output, does not run, and is not probed again", async () => {
  const probe = vi.fn((_args: unknown, _context: ToolContext): ProbeResult => ({ status: "completed", output: { id: 7 } }));
  const { tool, runs } = gatedTool({ effect: "once", probe });
  const [here, there] = [await fixture.start({ tools: [tool] }), await fixture.start({ tools: [tool] })];
  const runId = await left(tool);
  for (const executor of [here, there, here]) {
    expect(await executor.execute(call(runId))).toMatchObject({ status: ExecutionStatus.SUCCESS, output: '{"id":7}', error: "" });
  }
  expect(probe).toHaveBeenCalledTimes(1);
  expect(probe.mock.calls[0]?.[0]).toEqual(args);
  expect(probe.mock.calls[0]?.[1]?.callKey).toBe(`${runId}:call_1`);
  expect(runs).toHaveLength(0);
  expect(await fixture.rows(runId)).toMatchObject([{ status: "success", output: { id: 7 }, error_message: null }]);
});

test("a call that its probe reports as not started runs once, under the same key, for every request", async () => {
  const { tool, run, runs } = gatedTool({ effect: "once", probe: () => ({ status: "not_started" }) });
  const executors = await Promise.all([1, 2, 3].map(() => fixture.start({ tools: [tool] })));
  const runId = await left(tool);
  const asked = executors.map((executor) => executor.execute(call(runId)));
  const running = await run(1);
  expect(running.callKey).toBe(`${runId}:call_1`);
  running.end("sent");
  for (const result of await Promise.all(asked))
    expect(result).toMatchObject({ status: ExecutionStatus.SUCCESS, output: '"sent"' });
  expect(runs).toHaveLength(1);
  expect(await fixture.rows(runId)).toMatchObject([{ status: "success", claim: 2 }]);
});

const silent: Record<string, (args: unknown, context: ToolContext) => unknown> = {
  "says unknown": () => ({ status: "unknown" }),
  throws: () => {
    throw new Error("the shop is closed");
  },
  "says something else": () => ({ status: "perhaps", output: 1 }),
  "takes longer than the tool's time": (_args, { signal }) =>
    new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true })),
};
for (const [what, silence] of Object.entries(silent)) {
  test(`an outcome stays unknown while the probe ${what}, and the next request asks the probe again`, async () => {
    const probe = vi.fn(silence);
    const { tool, runs } = gatedTool({ effect: "once", timeoutMs: 50, probe: probe as Tool["probe"] });
    const executor = await fixture.start({ tools: [tool] });
    const runId = await left(tool);
    for (const times of [1, 2]) {
      const result = await executor.execute(call(runId));
      expect(result).toMatchObject({ status: ExecutionStatus.UNKNOWN, error: expect.stringContaining("nobody knows") });
      expect(probe).toHaveBeenCalledTimes(times);
    }
    probe.mockImplementation(() => ({ status: "completed", output: "at last" }));
    expect(await executor.execute(call(runId))).toMatchObject({ output: '"at last"' });
    expect(runs).toHaveLength(0);
  });
}

test("the late result of a process that was taken for dead does not replace that of the second run", async () => {
  const slow = gatedTool({ effect: "once" });
  const fast = gatedTool({ effect: "once", probe: () => ({ status: "not_started" }) });
  const here = await fixture.start({ tools: [slow.tool] });
  const there = await fixture.start({ tools: [fast.tool] });
  const runId = randomUUID();
  const asked = here.execute(call(runId));
  const late = await slow.run(1);
  await fixture.pool.query("update tool_executions set lease_until = now() - interval '1 second' where run_id = $1", [runId]);
  const askedThere = there.execute(call(runId));
  (await fast.run(1)).end("current");
  expect(await askedThere).toMatchObject({ output: '"current"' });
  late.end("late");
  expect(await asked).toMatchObject({ output: '"current"' });
});

test("a call that was stopped for good does not run again, whatever its probe reports", async () => {
  const { tool, runs } = gatedTool({ effect: "once", probe: () => ({ status: "not_started" }) });
  const executor = await fixture.start({ tools: [tool] });
  const runId = await left(tool);
  const cancel = async () => (await executor.executions.cancelCalls({ runId, callIds: ["call_1"] })).receipts[0]?.outcome;
  expect(await cancel()).toBe(CallOutcome.UNKNOWN);
  expect(await executor.execute(call(runId))).toMatchObject({ status: ExecutionStatus.CANCELLED });
  expect(await cancel()).toBe(CallOutcome.NOT_STARTED);
  expect(runs).toHaveLength(0);
});

test("a person's finding made in the meantime stands", async () => {
  for (const said of [{ status: "completed", output: "by the probe" }, { status: "not_started" }] as const) {
    const asking = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<ProbeResult>();
    const probe = () => {
      asking.resolve();
      return answer.promise;
    };
    const { tool, runs } = gatedTool({ effect: "once", probe });
    const executor = await fixture.start({ tools: [tool] });
    const runId = await left(tool);
    const asked = executor.execute(call(runId));
    await asking.promise;
    const outcome = { case: "completed", value: '"by hand"' } as const;
    await executor.executions.settleCalls({ runId, calls: [{ callId: "call_1", outcome }] });
    answer.resolve(said);
    expect(await asked).toMatchObject({ output: '"by hand"' });
    expect(runs).toHaveLength(0);
  }
});

test("the probe of a custom tool runs in its own process, with checked arguments and the call's key", async () => {
  const dir = await mkdtemp(join(tmpdir(), "tools-"));
  await writeFile(
    join(dir, "order.mjs"),
    `export default { name: "gated", description: "d", effect: "once", timeoutMs: 5000, version: "1",
  parameters: { type: "object", properties: { what: { type: "string" } }, required: ["what"] },
  execute: ({ what }, { callKey }) => ({ ran: what, callKey, pid: process.pid }),
  probe: ({ what }, { callKey }) =>
    what === "a" ? { status: "completed", output: { found: what, callKey, pid: process.pid } } : { status: "not_started" },
};`,
  );
  try {
    const executor = await fixture.start({ config: { TOOLS_DIR: dir } });
    const tool = { name: "gated", version: "1" };
    const found = await left(tool);
    const output = JSON.parse((await executor.execute(call(found))).output);
    expect(output).toEqual({ found: "a", callKey: `${found}:call_1`, pid: expect.any(Number) });
    expect(output.pid).not.toBe(process.pid);
    const runId = randomUUID();
    const other = { what: "b" };
    await fixture.leave({ runId, callId: "call_1", tool: { ...tool, effect: "once" } as Tool, args: other });
    const ran = await executor.execute({ ...call(runId), args: other });
    expect(JSON.parse(ran.output)).toMatchObject({ ran: "b", callKey: `${runId}:call_1` });
    await executor.stop();
  } finally {
    await rm(dir, { recursive: true });
  }
});
