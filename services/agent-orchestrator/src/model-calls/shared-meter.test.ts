import { detailOf, ErrorReason, reasonOf } from "@turnwright/platform/errors";
import { expect, test } from "vitest";
import { bytesOf, complete } from "../../testing/completion.ts";
import { asUser } from "../../testing/orchestrator.ts";
import { create, mesh, useOrchestrator } from "../../testing/runs.ts";

useOrchestrator({ LLM_CONNECTIONS: "2", LLM_QUEUE_TIMEOUT: "200ms" });

/** Has the model hang on to one call; returns what ends it. */
function hang() {
  const gate = Promise.withResolvers<void>();
  mesh.model.reply({ text: "late", beforeHeaders: gate.promise });
  return gate.resolve;
}

test("a call beyond the user's share waits, is refused in time with a Retry-After, and reaches no model", async () => {
  const end = hang();
  const first = complete({});
  await mesh.model.request(0);
  const refused = await complete({}).catch((error: unknown) => error);
  expect(reasonOf(refused)).toBe(ErrorReason.RATE_LIMITED);
  expect(detailOf(refused)).toMatchObject({ retryAfterSeconds: 1 });
  expect(mesh.model.requests).toHaveLength(1);
  end();
  expect((await first).json.choices[0].message.content).toBe("late");
});

test("a call that ends lets the next one go on, and a stream holds its connection to its end", async () => {
  const gate = Promise.withResolvers<void>();
  mesh.model.reply({ text: "one two", pauseAfter: { pieces: 2, gate: gate.promise } }, { text: "next" });
  const stream = mesh.completions.streamComplete({ body: bytesOf({}) }, asUser)[Symbol.asyncIterator]();
  await stream.next();
  const next = complete({});
  gate.resolve();
  while (!(await stream.next()).done);
  expect((await next).json.choices[0].message.content).toBe("next");
});

test("a client that leaves gives its connection back, and one that leaves the queue was never counted", async () => {
  hang();
  mesh.model.reply({ text: "next" });
  const controller = new AbortController();
  const left = mesh.completions.complete({ body: bytesOf({}) }, { ...asUser, signal: controller.signal });
  await mesh.model.request(0);
  const waiting = mesh.completions.complete({ body: bytesOf({}) }, { ...asUser, signal: controller.signal });
  controller.abort();
  await expect(left).rejects.toThrow();
  await expect(waiting).rejects.toThrow();
  expect((await complete({})).json.choices[0].message.content).toBe("next");
  expect(mesh.model.requests).toHaveLength(2);
});

test("a run that waited too long fails with the cause, and the next message is answered", async () => {
  const end = hang();
  const first = complete({});
  await mesh.model.request(0);
  const refused = await create().catch((error: unknown) => error);
  expect(reasonOf(refused)).toBe(ErrorReason.RATE_LIMITED);
  expect(mesh.journal.commits.at(-1)).toMatchObject({ error: expect.stringContaining("in progress") });
  end();
  await first;
  mesh.model.reply({ text: "hello" });
  await create();
});
