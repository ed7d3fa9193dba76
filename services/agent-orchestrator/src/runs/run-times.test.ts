import { ExecutionStatus } from "@turnwright/contract/tool/v1/tool";
import { expect, test } from "vitest";
import { callsFor, create, lastCommit, mesh, useOrchestrator } from "../../testing/runs.ts";

useOrchestrator();

test("each result of a round is stored with the time at which its tool ended, and how long it ran", async () => {
  mesh.model.reply(callsFor("calculator", "web_search"), { text: "Found." });
  const ran: Readonly<Record<string, number>> = { calculator: 5, web_search: 400 };
  mesh.onExecute(({ name }) => ({ status: ExecutionStatus.SUCCESS, output: "{}", durationMs: ran[name] }));
  await create();
  const commit = lastCommit();
  expect(commit?.messages.map(({ role, latencyMs }) => [role, latencyMs])).toMatchObject([
    ["tool", 5],
    ["tool", 400],
    ["assistant", expect.any(Number)],
  ]);
  const [first = 0, second = 0, answer = 0] = commit?.messageAgesMs ?? [];
  expect(first - second).toBe(395);
  // The answer came after the longer tool had ended.
  expect(answer).toBeLessThanOrEqual(second);
});

test("each entry has what its step used, how calls failed, and the first one its worker", async () => {
  mesh.model.reply(callsFor("calculator", "web_search"), { text: "Found." });
  mesh.onExecute(({ name }) =>
    name === "calculator" ? { status: ExecutionStatus.FAILED, error: "no" } : { status: ExecutionStatus.SUCCESS, output: "{}" },
  );
  await create();
  const payloads = mesh.journal.commits.map(({ events }) => JSON.parse(events[0]?.payload ?? ""));
  const used = mesh.journal.commits.map(({ usage, cost }) => ({
    prompt_tokens: usage?.promptTokens,
    completion_tokens: usage?.completionTokens,
    cost_usd: cost,
  }));
  expect(payloads.map(({ spent }) => spent)).toEqual(used);
  expect(used[0]?.prompt_tokens).toBeGreaterThan(0);
  expect(payloads.map(({ outcomes }) => outcomes)).toEqual([undefined, [["call_calculator_0", "failed"]]]);
  const [first, second] = payloads.map(({ worker }) => worker);
  expect(first).toMatch(/^[0-9a-f-]{36}$/);
  expect(second).toBeUndefined();
});
