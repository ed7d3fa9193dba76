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
