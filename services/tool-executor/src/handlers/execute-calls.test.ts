import { randomUUID } from "node:crypto";
import { ExecutionStatus } from "@turnwright/contract/tool/v1/tool";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createExecutorFixture, type ExecutorFixture, grantFor } from "../../testing/executor.ts";
import { gatedTool } from "../../testing/gated-tool.ts";

let fixture: ExecutorFixture;
beforeAll(async () => {
  fixture = await createExecutorFixture();
});
afterAll(() => fixture.stop());

test("a call id is refused for other arguments, another tool or another user", async () => {
  const { tool, run } = gatedTool();
  const executor = await fixture.start({ tools: [tool] });
  const stranger = await fixture.start({ tools: [tool], identity: { userId: randomUUID() } });
  const runId = randomUUID();
  const asked = executor.execute({ runId, name: "gated", args: { what: "a" } });
  const other = executor.execute({ runId, name: "gated", args: { what: "b" } });
  expect(await other).toMatchObject({ status: ExecutionStatus.REFUSED });
  (await run(1)).end("secret");
  await asked;
  for (const result of [
    await executor.execute({ runId, name: "gated", args: { what: "b" } }),
    await executor.execute({ runId, name: "calculator", args: { expression: "1" } }),
    await stranger.execute({ runId, name: "gated", args: { what: "a" } }),
  ]) {
    expect(result).toMatchObject({ status: ExecutionStatus.REFUSED, output: "" });
  }
});

test("an approved call runs under its grant, and its result outlives the grant", async () => {
  const { tool, run, runs } = gatedTool({ effect: "once", requiresApproval: true });
  const executor = await fixture.start({ tools: [tool] });
  const call = { runId: randomUUID(), args: { what: "a" } };
  const asked = executor.execute({ ...call, name: "gated", grant: await grantFor(tool, call) });
  (await run(1)).end("sent");
  expect(await asked).toMatchObject({ status: ExecutionStatus.SUCCESS, output: '"sent"' });
  const expired = await grantFor(tool, call, { ttlSeconds: -600 });
  expect(await executor.execute({ ...call, name: "gated", grant: expired })).toMatchObject({ output: '"sent"' });
  expect(runs).toHaveLength(1);
});

test("a grant that is missing, forged, expired, or for another run, epoch, call, tool, version or arguments is refused", async () => {
  const { tool, runs } = gatedTool({ effect: "once", requiresApproval: true });
  const executor = await fixture.start({ tools: [tool] });
  const call = { runId: randomUUID(), args: { what: "a" } };
  const grants = {
    missing: "",
    forged: await grantFor(tool, call, { secret: "another-secret-of-32-characters-!" }),
    expired: await grantFor(tool, call, { ttlSeconds: -600 }),
    run: await grantFor(tool, { ...call, runId: randomUUID() }),
    "an earlier round": await grantFor(tool, call, { epoch: 0 }),
    "a later round": await grantFor(tool, call, { epoch: 2 }),
    call: await grantFor(tool, { ...call, callId: "call_2" }),
    tool: await grantFor({ ...tool, name: "other" }, call),
    version: await grantFor({ ...tool, version: "2" }, call),
    arguments: await grantFor(tool, { ...call, args: { what: "b" } }),
  };
  for (const [fault, grant] of Object.entries(grants)) {
    const result = await executor.execute({ ...call, name: "gated", grant });
    expect(result, fault).toMatchObject({ status: ExecutionStatus.REFUSED, error: expect.stringContaining("approval") });
    expect(result.unapprovedVersion, fault).toBe("1");
  }
  const misfit = await executor.execute({ ...call, name: "gated", args: { what: 1 } });
  expect(misfit, "a call that no approval would let run").toMatchObject({
    status: ExecutionStatus.REFUSED,
    unapprovedVersion: "",
  });
  expect(runs).toHaveLength(0);
  expect(await fixture.rows(call.runId)).toEqual([]);
});

test("a grant that is used again, by any user, runs nothing a second time", async () => {
  const { tool, run, runs } = gatedTool({ effect: "once", requiresApproval: true });
  const executors = await Promise.all([1, 2, 3].map(() => fixture.start({ tools: [tool] })));
  const call = { runId: randomUUID(), args: { what: "a" } };
  const grant = await grantFor(tool, call);
  const asked = executors.flatMap((executor) => [1, 2, 3].map(() => executor.execute({ ...call, name: "gated", grant })));
  (await run(1)).end("sent");
  for (const result of await Promise.all(asked)) expect(result).toMatchObject({ output: '"sent"' });
  const others = executors.map((executor) => executor.execute({ ...call, callId: "call_2", name: "gated", grant }));
  for (const result of await Promise.all(others)) expect(result).toMatchObject({ status: ExecutionStatus.REFUSED });
  const stranger = await fixture.start({ tools: [tool], identity: { userId: randomUUID() } });
  expect(await stranger.execute({ ...call, name: "gated", grant })).toMatchObject({
    status: ExecutionStatus.REFUSED,
    output: "",
  });
  expect(runs).toHaveLength(1);
});

test("a grant is for the credential that started the run: another credential of the same user runs nothing with it", async () => {
  const { tool, run, runs } = gatedTool({ effect: "once", requiresApproval: true });
  const [starter, approver] = [randomUUID(), randomUUID()];
  const asApprover = await fixture.start({ tools: [tool], identity: { tokenId: approver } });
  const asStarter = await fixture.start({ tools: [tool], identity: { tokenId: starter } });
  const call = { runId: randomUUID(), args: { what: "a" } };
  const grant = await grantFor(tool, call, { tokenId: starter });
  const refused = await asApprover.execute({ ...call, name: "gated", grant });
  expect(refused).toMatchObject({ status: ExecutionStatus.REFUSED, error: expect.stringContaining("approval") });
  expect(runs).toHaveLength(0);
  const asked = asStarter.execute({ ...call, name: "gated", grant });
  (await run(1)).end("sent");
  expect(await asked).toMatchObject({ status: ExecutionStatus.SUCCESS });
  const { rows } = await fixture.pool.query("select user_id, token_id from tool_executions where run_id = $1", [call.runId]);
  expect(rows).toEqual([{ user_id: fixture.userId, token_id: starter }]);
});

test("a request without the grant gets the result of a call that runs elsewhere, and none of one that never ran", async () => {
  const { tool, run } = gatedTool({ effect: "once", requiresApproval: true });
  const here = await fixture.start({ tools: [tool] });
  const there = await fixture.start({ tools: [tool] });
  const call = { runId: randomUUID(), args: { what: "a" } };
  const asked = here.execute({ ...call, name: "gated", grant: await grantFor(tool, call) });
  const running = await run(1);
  const askedThere = there.execute({ ...call, name: "gated" });
  running.end("sent");
  expect(await askedThere).toMatchObject({ status: ExecutionStatus.SUCCESS, output: '"sent"' });
  await asked;
});

test("unknown tools, tools that the token may not use and bad arguments are refused with a text for the model", async () => {
  const executor = await fixture.start({ identity: { allowedTools: ["calculator"] } });
  const runId = randomUUID();
  const refusals = [
    await executor.execute({ runId, name: "nothing" }),
    await executor.execute({ runId, name: "current_time" }),
    await executor.execute({ runId, name: "calculator", args: { expression: 7 } }),
  ];
  expect(refusals.map(({ status }) => status)).toEqual(Array(3).fill(ExecutionStatus.REFUSED));
  expect(refusals.map(({ error }) => error)).toEqual([
    expect.stringContaining("nothing"),
    expect.stringContaining("may not use"),
    expect.stringContaining("expression"),
  ]);
  expect(await fixture.rows(runId)).toEqual([]);
});
