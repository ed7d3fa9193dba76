import { ErrorReason, fail } from "@turnwright/platform/errors";
import { uuidv7 } from "@turnwright/platform/uuid";
import { expect, test } from "vitest";
import { asUser } from "../../testing/orchestrator.ts";
import { callsFor, create, mesh, useOrchestrator } from "../../testing/runs.ts";

useOrchestrator();

test("many runs are cancelled a few at a time, with a result for each in their order, whatever becomes of the others", async () => {
  mesh.model.reply(callsFor("send_mail"));
  await create();
  const waiting = mesh.journal.run?.id ?? "";
  const ids = [uuidv7(), uuidv7(), waiting, ...Array.from({ length: 20 }, () => uuidv7()), uuidv7()];
  const [unknown, ended] = ids;
  const broken = ids.at(-1);
  let [running, most] = [0, 0];
  mesh.onCall(async (method, request) => {
    if (method !== "CancelRun") return;
    const { runId } = request as { runId: string };
    running += 1;
    most = Math.max(most, running);
    // The first of the calls at a time wait for the others.
    await new Promise((resolve) => setImmediate(resolve));
    running -= 1;
    if (runId === unknown) throw fail(ErrorReason.NOT_FOUND, "There is no such run.");
    if (runId === ended) throw fail(ErrorReason.RUN_ENDED, "This run has ended.");
    if (runId === broken) throw new Error("secret of the journal");
  });
  const { results } = await mesh.runs.cancelRuns({ ids }, asUser);
  expect(results.map(({ runId }) => runId)).toEqual(ids);
  expect(results.slice(0, 3)).toMatchObject([
    { cancelled: false, errorReason: "NOT_FOUND", error: "There is no such run.", receipts: [] },
    { cancelled: false, errorReason: "RUN_ENDED", error: "This run has ended." },
    {
      cancelled: true,
      errorReason: "",
      receipts: [{ callId: "call_send_mail_0", toolName: "send_mail", outcome: "not_started" }],
    },
  ]);
  expect(results.slice(3, -1).every(({ cancelled }) => cancelled)).toBe(true);
  expect(results.at(-1)).toMatchObject({ cancelled: false, errorReason: "INTERNAL" });
  expect(JSON.stringify(results.at(-1))).not.toContain("secret");
  expect(most).toBe(4);
});

test("a caller who leaves has no further runs cancelled", async () => {
  mesh.model.reply(callsFor("send_mail"));
  await create();
  const leaving = new AbortController();
  let begun = 0;
  mesh.onCall((method) => {
    if (method !== "CancelRun") return;
    begun += 1;
    leaving.abort();
  });
  const cancelling = mesh.runs.cancelRuns(
    { ids: Array.from({ length: 50 }, () => uuidv7()) },
    { ...asUser, signal: leaving.signal },
  );
  await expect(cancelling).rejects.toThrow();
  // Those that had begun go on to their end, and would be followed by others now.
  for (let turn = 0; turn < 100; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  expect(begun).toBeLessThanOrEqual(4);
});
