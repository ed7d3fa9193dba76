import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import { ErrorReason } from "@turnwright/platform/errors";
import type { ScriptedModel, ScriptedReply } from "@turnwright/testing/scripted-model";
import { describe, expect, test } from "vitest";
import { asUser, startOrchestrator } from "../../testing/orchestrator.ts";
import { callsFor, failureOf } from "../../testing/runs.ts";
import {
  bytes,
  complete,
  first,
  folder,
  mesh,
  second,
  stream,
  textOf,
  turn,
  useTwoProviders,
} from "../../testing/two-providers.ts";

useTwoProviders();

const failures: [string, ScriptedReply[]][] = [
  ["5xx", [{ status: 500 }, { status: 502 }, { status: 503 }]],
  ["429 after its retries", [{ status: 429 }, { status: 429 }, { status: 429 }]],
  ["a key that is refused", [{ status: 401 }]],
  ["no quota", [{ status: 429, headers: { "retry-after": "3600" } }]],
  ["garbage", [{ raw: ["<html>"] }]],
  ["a cut answer", [{ raw: ['{"id":"x","choices":[', "{}]}"], cutAfter: 1 }]],
];

describe("a call whose first target fails before any output", () => {
  test.each(failures)("is made again at the next one: %s", async (_name, replies) => {
    first.reply(...replies);
    second.reply({ text: "From two." });
    const { body } = await complete({ model: "smart" });
    expect(JSON.parse(Buffer.from(body).toString()).choices[0].message.content).toBe("From two.");
    expect(first.requests).toHaveLength(replies.length);
    expect(second.requests).toHaveLength(1);
  });

  test("is told as one answer when it is streamed, although the first one had begun without text", async () => {
    first.reply({ text: "one two", cutAfter: 1 });
    second.reply({ text: "From two." });
    const { frames, text, failure } = await stream({ model: "best" });
    expect([text, failure]).toEqual(["From two.", undefined]);
    expect(frames.filter(({ choices }) => (choices?.[0]?.delta as { role?: string })?.role === "assistant")).toHaveLength(1);
  });

  test("gets the next provider's own name of the model, and each provider's own fields", async () => {
    first.reply({ status: 401 });
    second.reply({ text: "Yes." });
    await stream({ model: "best", seed: 9, max_tokens: 5 });
    expect(first.requests[0]?.body).toMatchObject({ model: "one-large", seed: 9, max_completion_tokens: 5 });
    expect(first.requests[0]?.body).not.toHaveProperty("max_tokens");
    expect(second.requests[0]?.body).toMatchObject({ model: "two-small", max_tokens: 5 });
    expect(Object.keys(second.requests[0]?.body ?? {})).not.toContain("seed");
    expect(Object.keys(second.requests[0]?.body ?? {})).not.toContain("stream_options");
  });

  test("is charged to the models that worked on it, each at its own price", async () => {
    first.reply({ text: "half of it all", cutAfter: 3 });
    second.reply({ text: "From two." });
    await turn();
    await expect.poll(() => mesh.purse.usage.length, { timeout: 5_000 }).toBe(2);
    expect(mesh.purse.usage.map(({ model }) => model)).toEqual(["smart", "cheap"]);
    expect(mesh.purse.usage[1]).toMatchObject({ promptTokens: 10n, completionTokens: 5n, costMicros: 150n });
    expect(mesh.purse.usage[0]?.estimatedTokens).toBeGreaterThan(0n);
  });

  test("stays with its models when the token may not use the fallback", async () => {
    mesh.identity.allowedModels = ["best", "smart"];
    first.reply({ status: 401 }, { status: 401 });
    expect(await failureOf(complete({ model: "smart" }))).toMatchObject({ reason: ErrorReason.MODEL_FAILED });
    expect(await failureOf(complete({ model: "best" }))).toMatchObject({ reason: ErrorReason.MODEL_FAILED });
    expect(second.requests).toHaveLength(0);
  });

  test("fails as its first target did when all fail", async () => {
    first.reply({ status: 429, headers: { "retry-after": "77" }, error: "slow down" });
    second.reply({ status: 401 });
    expect(await failureOf(complete({ model: "smart" }))).toMatchObject({ reason: ErrorReason.MODEL_RATE_LIMITED });
    expect(second.requests).toHaveLength(1);
  });
});

test("a completion's later rounds give a provider's own fields back to that provider alone", async () => {
  const signed = {
    id: "c1",
    function: { name: "calculator", arguments: "{}" },
    extra_content: { google: { thought_signature: "s" } },
  };
  const message = { role: "assistant", reasoning_content: "hm", tool_calls: [{ type: "function", ...signed }] };
  const round = { raw: [JSON.stringify({ choices: [{ index: 0, message, finish_reason: "tool_calls" }] })] };
  first.reply(round, round, { status: 401 });
  second.reply({ text: "From two." });
  await complete({ model: "smart" });
  const own = (model: ScriptedModel, index: number) => JSON.stringify(model.requests[index]?.body.messages);
  expect(own(first, 1)).toContain("thought_signature");
  expect(own(first, 2).match(/thought_signature/g)).toHaveLength(2);
  expect(own(first, 2).match(/reasoning_content/g)).toHaveLength(2);
  expect(own(second, 0)).not.toMatch(/thought_signature|reasoning_content/);
  expect(second.requests[0]?.body.messages.map(({ role }) => role)).toEqual(["user", "assistant", "tool", "assistant", "tool"]);
});

test("a request that is too long for the first model's window is made again at a larger one only", async () => {
  const tooLong = { status: 400, raw: ['{"error":{"message":"too long","code":"context_length_exceeded"}}'] };
  first.reply(tooLong);
  second.reply({ text: "Fits." });
  expect(Buffer.from((await complete({ model: "smart" })).body).toString()).toContain("Fits.");
  second.reply(tooLong);
  expect(await failureOf(complete({ model: "cheap" }))).toMatchObject({ reason: ErrorReason.CONTEXT_TOO_LONG });
  expect(first.requests).toHaveLength(1);
});

test("a provider's headers have the values of variables, which no error shows", async () => {
  const secret = process.env.PATH ?? "";
  second.reply({ status: 400, error: `no team ${secret} here` });
  const { message } = await failureOf(complete({ model: "cheap" }));
  expect(second.requests[0]?.headers["x-team"]).toBe(secret);
  expect(message).toBe("no team [hidden] here");
});

describe("a call is not made again", () => {
  test("when the request itself is refused", async () => {
    first.reply({ status: 400, error: "bad value" });
    expect(await failureOf(complete({ model: "smart" }))).toMatchObject({ reason: ErrorReason.MODEL_REJECTED });
    expect(second.requests).toHaveLength(0);
  });

  test("when a streamed completion has shown text, which then ends with the error", async () => {
    first.reply({ text: "one two three", cutAfter: 3 });
    const { text, failure } = await stream({ model: "smart" });
    expect(text).toBe("one two");
    expect(failure).toMatchObject({ reason: ErrorReason.MODEL_FAILED });
    expect(second.requests).toHaveLength(0);
  });

  test("when its caller has left", async () => {
    const gate = Promise.withResolvers<void>();
    first.reply({ text: "late", beforeHeaders: gate.promise });
    const leaving = new AbortController();
    const call = mesh.completions.complete({ body: bytes({ model: "smart" }) }, { ...asUser, signal: leaving.signal });
    const request = await first.request(0);
    leaving.abort();
    await call.catch(() => undefined);
    expect(await request.aborted).toBe(true);
    gate.resolve();
    expect(second.requests).toHaveLength(0);
  });

  test("when its model is not in the models file, which is told as MODEL_NOT_FOUND", async () => {
    expect(await failureOf(complete({ model: "gpt-4o" }))).toMatchObject({ reason: ErrorReason.MODEL_NOT_FOUND, param: "model" });
    const run = mesh.agent.createConversation({ message: "hi", model: "gpt-4o" }, asUser);
    expect(await failureOf(run)).toMatchObject({ reason: ErrorReason.MODEL_NOT_FOUND, param: "model" });
    expect(first.requests).toHaveLength(0);
    expect(mesh.journal.messages).toHaveLength(0);
  });
});

describe("a run whose model breaks off in the middle of its answer", () => {
  test("goes on with the next model: a reset, the attempt, and one text", async () => {
    first.reply({ text: "one two three", cutAfter: 3 });
    second.reply({ text: "From two." });
    const events = await turn();
    expect(events.map(({ type, eventId }) => [type, eventId])).toEqual([
      ["started", "0"],
      ["content", "0.3"],
      ["content", "0.7"],
      ["reset", "0.8"],
      ["model_attempt", "1"],
      ["content", "1.4"],
      ["content", "1.9"],
      ["finish", "2"],
    ]);
    expect(events[3]?.since).toBe("0");
    expect(events[4]).toMatchObject({ provider: "one", model: "smart", errorReason: "MODEL_FAILED", error: expect.any(String) });
    expect(textOf(events)).toBe("From two.");
    expect(mesh.journal.messages.map(({ content }) => content)).toEqual(["hi", "From two."]);
  });

  test("does not run its tools again, and keeps their results valid", async () => {
    first.reply(callsFor("calculator"), { text: "one two three", cutAfter: 3 });
    second.reply({ text: "From two." });
    const events = await turn();
    expect(mesh.executed).toHaveLength(1);
    expect(events.map(({ type }) => type)).toEqual([
      "started",
      "tool_call",
      "tool_result",
      "content",
      "content",
      "reset",
      "model_attempt",
      "content",
      "content",
      "finish",
    ]);
    expect(events.find(({ type }) => type === "reset")?.since).toBe(events.find(({ type }) => type === "tool_result")?.eventId);
    expect(second.requests[0]?.body.messages.map(({ role }) => role)).toEqual(["system", "user", "assistant", "tool"]);
    expect(mesh.journal.messages.map(({ role }) => role)).toEqual(["user", "assistant", "tool", "assistant"]);
    expect(textOf(events)).toBe("From two.");
  });

  test("goes on again when the next one breaks off as well, and reasoning is taken back like text", async () => {
    const chunk = (delta: object) => `data: ${JSON.stringify({ choices: [{ index: 0, delta }] })}\n\n`;
    first.reply(callsFor("calculator"), { raw: [chunk({ reasoning_content: "hm" }), chunk({ content: "a" }), "x"], cutAfter: 2 });
    second.reply({ text: "one two three", cutAfter: 3 });
    first.reply({ text: "In the end." });
    const events = await turn();
    const resets = events.filter(({ type }) => type === "reset");
    expect(resets.map(({ since }) => since)).toEqual(["1.1", "2"]);
    expect(events.filter(({ type }) => type === "model_attempt").map(({ provider }) => provider)).toEqual(["one", "two"]);
    expect(textOf(events)).toBe("In the end.");
    expect(mesh.executed).toHaveLength(1);
    expect(mesh.journal.messages.at(-1)).toMatchObject({ content: "In the end.", reasoning: "" });
    const places = events.map(({ eventId }) => eventId.split(".").map(Number) as [number, number?]);
    const inOrder = places.every(([seq, units = 0], i) => {
      const [before, behind = 0] = places[i - 1] ?? [-1];
      return seq > before || (seq === before && units > behind);
    });
    expect(inOrder).toBe(true);
  });

  test("has an event without a reset for an attempt that showed nothing", async () => {
    first.reply({ status: 401 });
    second.reply({ text: "From two." });
    expect((await turn()).map(({ type }) => type)).toEqual(["started", "model_attempt", "content", "content", "finish"]);
    const stored = mesh.journal.commits.filter(({ events }) => events[0]?.type === "model_attempt");
    expect(stored).toMatchObject([{ status: RunStatus.RUNNING, node: "think" }]);
  });
});

describe("a breaker", () => {
  test("opens after five failed calls, spares the provider, and tells at once when to come back", async () => {
    first.reply(...Array.from({ length: 5 }, () => ({ status: 401, error: "words about a user" })));
    for (let i = 0; i < 5; i++) await failureOf(complete({ model: "alone" }));
    const started = performance.now();
    const { reason, message } = await failureOf(complete({ model: "alone" }));
    expect(reason).toBe(ErrorReason.MODEL_FAILED);
    // The words of the last failure may be about another user's request.
    expect(message).toMatch(/^The model has failed several times in a row and is tried again in [1-3] s\.$/);
    const breakers = [{ provider: "one", model: "alone", state: "open", failures: 5, retry_in_ms: expect.any(Number) }];
    expect(mesh.details()).toEqual({ breakers });
    await mesh.ready();
    expect(performance.now() - started).toBeLessThan(500);
    expect(first.requests).toHaveLength(5);
  });

  test("is not opened by bad answers and rate limits of a model without another target", async () => {
    const bad = { raw: ['{"error":{"message":"in a 200"}}'] };
    first.reply(...Array.from({ length: 4 }, () => [bad, { status: 429, headers: { "retry-after": "60" } }]).flat());
    for (let i = 0; i < 8; i++) await failureOf(complete({ model: "alone" }));
    first.reply({ text: "Fine." });
    expect(Buffer.from((await complete({ model: "alone" })).body).toString()).toContain("Fine.");
    expect(mesh.details()).toBeUndefined();
  });

  test("of another model of the same provider stays closed, and refused requests open none", async () => {
    first.reply(...Array.from({ length: 5 }, () => ({ status: 401 })));
    for (let i = 0; i < 5; i++) await failureOf(complete({ model: "alone" }));
    first.reply(...Array.from({ length: 8 }, () => ({ status: 400 })), { text: "Fine." });
    for (let i = 0; i < 8; i++) await failureOf(complete({ model: "smart" }));
    const { body } = await complete({ model: "smart" });
    expect(Buffer.from(body).toString()).toContain("Fine.");
  });
});

test("a call that finds no free connection is made at the next target", async () => {
  const path = join(folder, "narrow.yaml");
  const providers = `{ one: { base_url: "${first.url}", connections: 1 }, two: { base_url: "${second.url}" } }`;
  writeFileSync(path, `providers: ${providers}\nmodels: { m: { provider: one, fallbacks: [n] }, n: { provider: two } }\n`);
  const narrow = await startOrchestrator({ MODELS_FILE: path, LLM_BASE_URL: "", LLM_QUEUE_TIMEOUT: "50ms" });
  const gate = Promise.withResolvers<void>();
  first.reply({ text: "Late.", beforeHeaders: gate.promise });
  const hung = narrow.completions.complete({ body: bytes({ model: "m" }) }, asUser);
  await first.request(0);
  second.reply({ text: "From two." });
  const { body } = await narrow.completions.complete({ body: bytes({ model: "m" }) }, asUser);
  expect(Buffer.from(body).toString()).toContain("From two.");
  gate.resolve();
  await hung;
  await narrow.close();
});

test("a changed models file is used by the next call, while calls in flight end where they began", async () => {
  const gate = Promise.withResolvers<void>();
  first.reply({ text: "By the old file.", beforeHeaders: gate.promise });
  const inFlight = complete({ model: "smart" });
  await first.request(0);
  const path = join(folder, "models.yaml");
  writeFileSync(path, "models: {");
  writeFileSync(path, `providers: { new: { base_url: "${second.url}" } }\nmodels: { fresh: { provider: new } }\n`);
  const names = async () => (await mesh.completions.listModels({}, asUser)).data.map(({ id }) => id);
  await expect.poll(names, { timeout: 10_000 }).toEqual(["fresh"]);
  expect(await failureOf(complete({ model: "smart" }))).toMatchObject({ reason: ErrorReason.MODEL_NOT_FOUND });
  second.reply({ text: "By the new file." });
  // The default model is the new file's.
  expect(Buffer.from((await complete({})).body).toString()).toContain("By the new file.");
  gate.resolve();
  expect(Buffer.from((await inFlight).body).toString()).toContain("By the old file.");
});

test("the list of models has the file's models and aliases that the token may use, owned by their providers", async () => {
  const list = async () => (await mesh.completions.listModels({}, asUser)).data.map(({ id, ownedBy }) => [id, ownedBy]);
  expect(await list()).toEqual([
    ["smart", "one"],
    ["cheap", "two"],
    ["alone", "one"],
    ["best", "one"],
  ]);
  mesh.identity.allowedModels = ["best"];
  expect(await list()).toEqual([["best", "one"]]);
});
