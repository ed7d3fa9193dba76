import { randomUUID } from "node:crypto";
import { ExecutionStatus } from "@turnwright/contract/tool/v1/tool";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type pg from "pg";
import { afterAll, beforeAll, expect, type MockInstance, test, vi } from "vitest";
import { z } from "zod";
import { createExecutorFixture, type ExecutorFixture } from "../../testing/executor.ts";
import { gatedTool } from "../../testing/gated-tool.ts";
import { defineTool } from "../tool-definition/define-tool.ts";

let fixture: ExecutorFixture;
beforeAll(async () => {
  fixture = await createExecutorFixture();
});
afterAll(() => fixture.stop());

test("fifty parallel requests for one call run the tool once and get the same result", async () => {
  const { tool, runs, run } = gatedTool({ effect: "once" });
  const executor = await fixture.start({ tools: [tool] });
  const runId = randomUUID();
  const asked = Array.from({ length: 50 }, () => executor.execute({ runId, name: "gated", args: { what: "a" } }));
  (await run(1)).end({ answer: 42 });
  const results = await Promise.all(asked);
  expect(results.map(({ output }) => output)).toEqual(Array(50).fill('{"answer":42}'));
  expect(runs).toHaveLength(1);
  expect(await fixture.rows(runId)).toMatchObject([{ status: "success", claim: 1, output: { answer: 42 } }]);
});

test("a finished call gives its stored result in another process and does not run there", async () => {
  const first = gatedTool();
  const second = gatedTool();
  const runId = randomUUID();
  const before = await fixture.start({ tools: [first.tool] });
  const asked = before.execute({ runId, name: "gated", args: { what: "a" } });
  (await first.run(1)).fail(new Error("no such thing"));
  expect(await asked).toMatchObject({ status: ExecutionStatus.FAILED, error: "no such thing" });
  const after = await fixture.start({ tools: [second.tool] });
  expect(await after.execute({ runId, name: "gated", args: { what: "a" } })).toMatchObject({
    status: ExecutionStatus.FAILED,
    error: "no such thing",
  });
  expect(second.runs).toHaveLength(0);
});

test("a call that another living process runs is waited for, beyond the first lease", async () => {
  const { tool, run } = gatedTool({ effect: "once" });
  const idle = gatedTool({ effect: "once" });
  const here = await fixture.start({ tools: [tool], leaseMs: 200 });
  const there = await fixture.start({ tools: [idle.tool], leaseMs: 200 });
  const runId = randomUUID();
  const asked = here.execute({ runId, name: "gated", args: { what: "a" } });
  const running = await run(1);
  const begun = await leaseEnd(runId);
  const askedThere = there.execute({ runId, name: "gated", args: { what: "a" } });
  await expect.poll(() => leaseEnd(runId)).toBeGreaterThan(begun + 400);
  running.end("done");
  expect(await askedThere).toMatchObject({ status: ExecutionStatus.SUCCESS, output: '"done"' });
  expect(await asked).toMatchObject({ status: ExecutionStatus.SUCCESS, output: '"done"' });
  expect(idle.runs).toHaveLength(0);
});

/**
 * Decides the fate of the next statements about calls; later ones work. One that is `lost` has its effect, and no
 * answer comes. The returned function counts them.
 */
function nextStatements(pool: pg.Pool, ...fates: ("works" | "fails" | "lost")[]): () => number {
  const original = pool.query.bind(pool) as (query: unknown, ...given: unknown[]) => Promise<unknown>;
  let count = 0;
  const statements = vi.spyOn(pool, "query") as unknown as MockInstance<typeof original>;
  statements.mockImplementation((query, ...given) => {
    if ((query as pg.QueryConfig).text === "select 1") return original(query, ...given);
    const fate = fates[count] ?? "works";
    count += 1;
    const away = () => Promise.reject(fail(ErrorReason.DATABASE_UNAVAILABLE, "away"));
    if (fate === "lost") return original(query, ...given).then(away);
    return fate === "works" ? original(query, ...given) : away();
  });
  return () => count;
}

async function leaseEnd(runId: string): Promise<number> {
  const { rows } = await fixture.pool.query<{ at: Date }>("select lease_until as at from tool_executions where run_id = $1", [
    runId,
  ]);
  return rows[0]?.at.getTime() ?? Number.NaN;
}

for (const effect of ["read", "idempotent"] as const) {
  test(`a ${effect} call whose process died is claimed again and runs again under the same key`, async () => {
    const { tool, run } = gatedTool({ effect });
    const executor = await fixture.start({ tools: [tool] });
    const runId = randomUUID();
    await fixture.leave({ runId, callId: "call_1", tool, args: { what: "a" } });
    const asked = executor.execute({ runId, name: "gated", args: { what: "a" } });
    const again = await run(1);
    expect(again.callKey).toBe(`${runId}:call_1`);
    again.end("second time");
    expect(await asked).toMatchObject({ status: ExecutionStatus.SUCCESS, output: '"second time"' });
    expect(await fixture.rows(runId)).toMatchObject([{ status: "success", claim: 2 }]);
  });
}

test("a once call whose process died is unknown for good and never runs again", async () => {
  const { tool, runs } = gatedTool({ effect: "once" });
  const executor = await fixture.start({ tools: [tool] });
  const runId = randomUUID();
  await fixture.leave({ runId, callId: "call_1", tool, args: { what: "a" } });
  for (const _ of [1, 2]) {
    const result = await executor.execute({ runId, name: "gated", args: { what: "a" } });
    expect(result).toMatchObject({ status: ExecutionStatus.UNKNOWN });
    expect(result.error).toMatch(/nobody knows/);
  }
  expect(runs).toHaveLength(0);
  expect(await fixture.rows(runId)).toMatchObject([{ status: "unknown", claim: 1 }]);
});

test("the late result of a process that lost its claim is not stored", async () => {
  const slow = gatedTool();
  const fast = gatedTool();
  const here = await fixture.start({ tools: [slow.tool] });
  const there = await fixture.start({ tools: [fast.tool] });
  const runId = randomUUID();
  const asked = here.execute({ runId, name: "gated", args: { what: "a" } });
  const late = await slow.run(1);
  await fixture.pool.query("update tool_executions set lease_until = now() - interval '1 second' where run_id = $1", [runId]);
  const askedThere = there.execute({ runId, name: "gated", args: { what: "a" } });
  const current = await fast.run(1);
  late.end("late");
  current.end("current");
  expect(await askedThere).toMatchObject({ output: '"current"' });
  expect(await asked).toMatchObject({ output: '"current"' });
  expect(await fixture.rows(runId)).toMatchObject([{ output: "current", claim: 2 }]);
});

test("a finished once call is stored while a longer call of its round still runs", async () => {
  const long = gatedTool({ name: "long" });
  const { tool, run } = gatedTool({ effect: "once" });
  const executor = await fixture.start({ tools: [long.tool, tool] });
  const runId = randomUUID();
  const args = JSON.stringify({ what: "a" });
  const calls = [
    { callId: "a", name: "long", arguments: args },
    { callId: "b", name: "gated", arguments: args },
  ];
  const round = executor.executions.executeCalls({ runId, epoch: 1, calls });
  (await run(1)).end("done");
  await expect.poll(async () => (await fixture.rows(runId)).map(({ status }) => status)).toEqual(["running", "success"]);
  (await long.run(1)).end("at last");
  expect((await round).results).toMatchObject([{ output: '"at last"' }, { output: '"done"' }]);
});

test("a once call that was cancelled after it began is unknown; a cancelled read call runs at the next request", async () => {
  for (const [effect, status, runsAgain] of [
    ["once", "unknown", 1],
    ["read", "cancelled", 2],
  ] as const) {
    const { tool, run, runs } = gatedTool({ effect });
    const executor = await fixture.start({ tools: [tool], leaseMs: 200 });
    const runId = randomUUID();
    const caller = new AbortController();
    const asked = executor.execute({ runId, name: "gated", args: { what: "a" } }, { signal: caller.signal });
    const running = await run(1);
    caller.abort();
    await expect(asked).rejects.toThrow();
    // The once call goes on without a caller for a while; no request for it arrives in that time.
    expect(running.signal.aborted).toBe(effect === "read");
    await expect.poll(async () => (await fixture.rows(runId))[0]?.status).toBe(status);
    const again = executor.execute({ runId, name: "gated", args: { what: "a" } });
    if (runsAgain === 2) (await run(2)).end("done");
    await again;
    expect(runs).toHaveLength(runsAgain);
  }
});

test("a once call whose caller died goes on, and the worker that takes over the run gets its result", async () => {
  const { tool, run, runs } = gatedTool({ effect: "once" });
  const executor = await fixture.start({ tools: [tool] });
  const runId = randomUUID();
  const dying = new AbortController();
  const lost = executor.execute({ runId, name: "gated", args: { what: "a" } }, { signal: dying.signal });
  const running = await run(1);
  dying.abort();
  await expect(lost).rejects.toThrow();
  const heir = executor.execute({ runId, name: "gated", args: { what: "a" } });
  expect(running.signal.aborted).toBe(false);
  running.end("done");
  expect(await heir).toMatchObject({ output: '"done"' });
  expect(runs).toHaveLength(1);
});

test("the result of a once call whose caller died is stored before the next request", async () => {
  const { tool, run } = gatedTool({ effect: "once" });
  const executor = await fixture.start({ tools: [tool] });
  const runId = randomUUID();
  const dying = new AbortController();
  const lost = executor.execute({ runId, name: "gated", args: { what: "a" } }, { signal: dying.signal });
  const running = await run(1);
  dying.abort();
  await expect(lost).rejects.toThrow();
  running.end("done");
  await expect.poll(async () => (await fixture.rows(runId))[0]?.status).toBe("success");
});

test("a call goes on as long as one of its callers stays", async () => {
  const { tool, run } = gatedTool();
  const executor = await fixture.start({ tools: [tool] });
  const runId = randomUUID();
  const leaver = new AbortController();
  const left = executor.execute({ runId, name: "gated", args: { what: "a" } }, { signal: leaver.signal });
  const stayed = executor.execute({ runId, name: "gated", args: { what: "a" } });
  const running = await run(1);
  leaver.abort();
  await expect(left).rejects.toThrow();
  expect(running.signal.aborted).toBe(false);
  running.end("done");
  expect(await stayed).toMatchObject({ output: '"done"' });
});

test("a round without a run is recorded afterwards and refuses tools that need approval", async () => {
  const { tool } = gatedTool({ requiresApproval: true });
  const executor = await fixture.start({ tools: [tool], identity: { userId: randomUUID() } });
  const calls = [
    { callId: "free_1", name: "calculator", arguments: '{"expression":"6*7"}' },
    { callId: "free_2", name: "gated", arguments: '{"what":"a"}' },
  ];
  const { results } = await executor.executions.executeCalls({ calls });
  expect(results).toMatchObject([
    { callId: "free_1", status: ExecutionStatus.SUCCESS, output: '{"expression":"6*7","result":42}' },
    { callId: "free_2", status: ExecutionStatus.REFUSED },
  ]);
  await executor.stop();
  const written = (await fixture.rows()).filter(({ tool_call_id }) => tool_call_id.startsWith("free_"));
  expect(written).toMatchObject([{ run_id: null, tool_call_id: "free_1", status: "success" }]);
});

test("stopping the executor cancels running calls and stores their results", async () => {
  const { tool, run } = gatedTool({ effect: "once" });
  const executor = await fixture.start({ tools: [tool] });
  const runId = randomUUID();
  const asked = executor.execute({ runId, name: "gated", args: { what: "a" } });
  await run(1);
  await executor.stop();
  expect(await asked).toMatchObject({ status: ExecutionStatus.UNKNOWN });
  expect(await fixture.rows(runId)).toMatchObject([{ status: "unknown" }]);
});

test("many processes that request the same round run each of its calls once", async () => {
  const ran: string[] = [];
  const tool = defineTool({
    name: "counted",
    description: "Counts.",
    parameters: z.object({ n: z.int() }),
    effect: "once",
    timeoutMs: 5_000,
    version: "1",
    execute({ n }, { callKey }) {
      ran.push(callKey);
      return n;
    },
  });
  const executors = await Promise.all([1, 2, 3].map(() => fixture.start({ tools: [tool] })));
  const runId = randomUUID();
  const calls = Array.from({ length: 20 }, (_, n) => ({ callId: `c${n}`, name: "counted", arguments: `{"n":${n}}` }));
  const rounds = await Promise.all(
    executors.map((executor, index) =>
      executor.executions.executeCalls({ runId, epoch: 1, calls: index === 1 ? calls.toReversed() : calls }),
    ),
  );
  expect(new Set(ran).size).toBe(20);
  expect(ran).toHaveLength(20);
  for (const [index, { results }] of rounds.entries()) {
    const outputs = results.map(({ output }) => Number(output));
    expect(index === 1 ? outputs.reverse() : outputs).toEqual(calls.map((_, n) => n));
  }
});

test("a database outage at the end of a tool delays the result and does not lose it", async () => {
  const { tool, run, runs } = gatedTool({ effect: "once" });
  const executor = await fixture.start({ tools: [tool] });
  const runId = randomUUID();
  const asked = executor.execute({ runId, name: "gated", args: { what: "a" } });
  const running = await run(1);
  const statements = nextStatements(executor.pool, "fails", "fails");
  running.end("sent");
  expect(await asked).toMatchObject({ status: ExecutionStatus.SUCCESS, output: '"sent"' });
  expect(statements()).toBe(3);
  expect(runs).toHaveLength(1);
  expect(await fixture.rows(runId)).toMatchObject([{ status: "success" }]);
});

test("a claim whose answer is lost is found again by its process, and the call runs once", async () => {
  const { tool, run, runs } = gatedTool({ effect: "once" });
  const executor = await fixture.start({ tools: [tool] });
  const runId = randomUUID();
  nextStatements(executor.pool, "fails", "lost", "lost", "works", "lost");
  const asked = executor.execute({ runId, name: "gated", args: { what: "a" } });
  (await run(1)).end("sent");
  expect(await asked).toMatchObject({ status: ExecutionStatus.SUCCESS, output: '"sent"' });
  expect(runs).toHaveLength(1);
  expect(await fixture.rows(runId)).toMatchObject([{ status: "success", claim: 1 }]);
});

test("a claim whose answer is lost is not found again once others have judged the call", async () => {
  const { tool, runs } = gatedTool({ effect: "once" });
  const executor = await fixture.start({ tools: [tool] });
  const runId = randomUUID();
  const statements = nextStatements(executor.pool, "lost", "fails", "fails");
  const asked = executor.execute({ runId, name: "gated", args: { what: "a" } });
  await expect.poll(statements).toBeGreaterThan(0);
  await expect.poll(async () => (await fixture.rows(runId)).length).toBe(1);
  await fixture.pool.query("update tool_executions set status = 'unknown', lease_until = null where run_id = $1", [runId]);
  expect(await asked).toMatchObject({ status: ExecutionStatus.UNKNOWN });
  expect(runs).toHaveLength(0);
});

test("a claimed call runs even if the look-up of its neighbours fails, which fails only the request", async () => {
  const { tool, run } = gatedTool({ effect: "once" });
  const executor = await fixture.start({ tools: [tool] });
  const runId = randomUUID();
  const args = JSON.stringify({ what: "a" });
  await fixture.leave({ runId, callId: "known", tool, args: { what: "a" } });
  nextStatements(executor.pool, "works", "fails");
  const calls = ["known", "new"].map((callId) => ({ callId, name: "gated", arguments: args }));
  const asked = executor.executions.executeCalls({ runId, epoch: 1, calls });
  await expect(asked).rejects.toThrow("away");
  (await run(1)).end("done");
  await expect.poll(async () => (await fixture.rows(runId))[1]).toMatchObject({ tool_call_id: "new", status: "success" });
  const retried = await executor.executions.executeCalls({ runId, epoch: 1, calls });
  expect(retried.results.map(({ status }) => status)).toEqual([ExecutionStatus.UNKNOWN, ExecutionStatus.SUCCESS]);
});
