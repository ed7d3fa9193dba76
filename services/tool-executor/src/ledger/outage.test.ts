import { randomUUID } from "node:crypto";
import { ExecutionStatus } from "@turnwright/contract/tool/v1/tool";
import { type FaultProxy, faultProxy } from "@turnwright/testing/fault-proxy";
import { afterAll, afterEach, beforeAll, beforeEach, expect, type MockInstance, test, vi } from "vitest";
import { createExecutorFixture, type ExecutorFixture, type ExecutorProcess } from "../../testing/executor.ts";
import { gatedTool } from "../../testing/gated-tool.ts";

const args = { what: "a" };
const leaseMs = 1_500;
let fixture: ExecutorFixture;
let proxy: FaultProxy;
const executors: ExecutorProcess[] = [];
beforeAll(async () => {
  fixture = await createExecutorFixture();
});
afterAll(() => fixture.stop());
beforeEach(async () => {
  proxy = await faultProxy(new URL(fixture.databaseUrl));
});
afterEach(async () => {
  for (const executor of executors.splice(0)) await executor.stop();
  proxy.close();
});

/** A process that reaches the database through a proxy, or directly. */
async function start(way: FaultProxy | "straight", tool: ReturnType<typeof gatedTool>): Promise<ExecutorProcess> {
  const databaseUrl = way === "straight" ? undefined : way.url;
  const executor = await fixture.start({ tools: [tool.tool], leaseMs, databaseUrl });
  executors.push(executor);
  return executor;
}

/** Resolves when a process has looked up a call of another process. */
function lookedUp({ pool }: ExecutorProcess): Promise<void> {
  const original = pool.query.bind(pool) as (...given: unknown[]) => Promise<unknown>;
  const statements = vi.spyOn(pool, "query") as unknown as MockInstance<typeof original>;
  return new Promise((resolve) => {
    statements.mockImplementation(async (...given) => {
      const answer = await original(...given);
      if (String(given[0]).includes("lapsed")) resolve();
      return answer;
    });
  });
}

/**
 * Begins a call in a process that loses the database before the tool ends. Resolves when the call's lease has been
 * expired for some seconds.
 */
async function endedInOutage(executor: ExecutorProcess, tool: ReturnType<typeof gatedTool>, seconds: number) {
  const runId = randomUUID();
  const asked = executor.execute({ runId, name: "gated", args });
  const running = await tool.run(1);
  await proxy.refuse();
  running.end("sent");
  const overSql = "select lease_until < now() - make_interval(secs => $2) as over from tool_executions where run_id = $1";
  await expect
    .poll(async () => (await fixture.pool.query(overSql, [runId, seconds])).rows, { timeout: 15_000 })
    .toEqual([{ over: true }]);
  return { runId, asked };
}

test("the result of a once call that ended in a long outage is stored after it, and the first request waits for it", async () => {
  const [tool, idle] = [gatedTool({ effect: "once" }), gatedTool({ effect: "once" })];
  const [here, there] = [await start(proxy, tool), await start(proxy, idle)];
  const { runId, asked } = await endedInOutage(here, tool, 4);
  await proxy.accept();
  const results = await Promise.all([there.execute({ runId, name: "gated", args }), asked]);
  expect(results).toMatchObject(Array(2).fill({ status: ExecutionStatus.SUCCESS, output: '"sent"' }));
  expect(idle.runs).toHaveLength(0);
  expect(await fixture.rows(runId)).toMatchObject([{ status: "success", claim: 1, output: "sent" }]);
});

test("no process takes over a call whose lease expired in an outage while its owner may still renew it", async () => {
  const [tool, idle] = [gatedTool({ effect: "idempotent" }), gatedTool({ effect: "idempotent" })];
  const other = await faultProxy(new URL(fixture.databaseUrl));
  const [here, there] = [await start(proxy, tool), await start(other, idle)];
  await other.refuse();
  const { runId, asked } = await endedInOutage(here, tool, 1);
  // The process without the call gets the database back first.
  await other.accept();
  const looked = lookedUp(there);
  const askedThere = there.execute({ runId, name: "gated", args });
  await looked;
  await proxy.accept();
  expect(await askedThere).toMatchObject({ output: '"sent"' });
  expect(await asked).toMatchObject({ output: '"sent"' });
  expect(idle.runs).toHaveLength(0);
  other.close();
});

test("a call whose process was cut off is unknown to others until that process is back with its result", async () => {
  const [tool, idle] = [gatedTool({ effect: "once" }), gatedTool({ effect: "once" })];
  const [here, there] = [await start(proxy, tool), await start("straight", idle)];
  const { runId, asked } = await endedInOutage(here, tool, 0);
  expect(await there.execute({ runId, name: "gated", args })).toMatchObject({ status: ExecutionStatus.UNKNOWN });
  await proxy.accept();
  expect(await asked).toMatchObject({ output: '"sent"' });
  expect(await there.execute({ runId, name: "gated", args })).toMatchObject({ output: '"sent"' });
});

test("a call that a person settled meanwhile keeps that result", async () => {
  const [tool, idle] = [gatedTool({ effect: "once" }), gatedTool({ effect: "once" })];
  const [here, there] = [await start(proxy, tool), await start("straight", idle)];
  const { runId, asked } = await endedInOutage(here, tool, 0);
  await there.executions.settleCalls({ runId, calls: [{ callId: "call_1", outcome: { case: "notDone", value: {} } }] });
  await proxy.accept();
  expect(await asked).toMatchObject({ status: ExecutionStatus.FAILED, error: expect.stringContaining("a person found") });
  expect(await fixture.rows(runId)).toMatchObject([{ status: "failed", settled_by: fixture.userId }]);
});

test("a process that shuts down keeps a result for the database until its time limit", async () => {
  const tool = gatedTool({ effect: "once" });
  const here = await start(proxy, tool);
  const { runId, asked } = await endedInOutage(here, tool, 0);
  const limit = new AbortController();
  let isDrained = false;
  const drained = here.drain(limit.signal).then(() => {
    isDrained = true;
  });
  await new Promise(setImmediate);
  expect(isDrained).toBe(false);
  await proxy.accept();
  await drained;
  expect(await asked).toMatchObject({ output: '"sent"' });
  expect(await fixture.rows(runId)).toMatchObject([{ status: "success" }]);
});
