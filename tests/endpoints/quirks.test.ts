import { type MockModel, startMockModel } from "@turnwright/testing/mock-model/mock-model";
import { quirks } from "@turnwright/testing/mock-model/modes";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { System } from "../e2e/system.ts";
import { startAt } from "./stage.ts";
import { eventually, newUser, type Outcome, surfaces, type User } from "./user.ts";

let model: MockModel;
let system: System;
let user: User;
/** Bodies of the requests with this message. */
const asked = new Map<string, { messages: readonly { role: string; content?: unknown }[] }[]>();
beforeAll(async () => {
  model = await startMockModel({
    onAsked({ body }) {
      const message = String(body.messages.findLast(({ role }) => role === "user")?.content ?? "");
      asked.set(message, [...(asked.get(message) ?? []), body]);
    },
  });
  system = await startAt(model.url);
  user = await newUser(system.baseUrl);
});
afterAll(async () => {
  await system.stop();
  await model.close();
});

let made = 0;
/** Asks a model on each surface, with a message of its own. */
async function onEach(name: string): Promise<(Outcome & { message: string })[]> {
  const outcomes = [];
  for (const surface of surfaces) {
    const message = `question ${++made}`;
    outcomes.push({ ...(await user.ask(surface, message, name, { timeoutMs: 8_000 })), message });
  }
  return outcomes;
}
const resultsRead = (message: string) =>
  (asked.get(message)?.at(-1)?.messages ?? []).filter(({ role }) => role === "tool").map(({ content }) => String(content));

const isSuccess = { error: undefined, isWhole: true };

/** Quirks that a client notices in no way: the whole text arrives. */
const unnoticed = [
  "reasoning-content",
  "reasoning",
  "reasoning-details",
  "parts",
  "message-for-delta",
  "role-each-delta",
  "content-null",
  "no-finish",
  "finish-empty",
  "finish-odd",
  "done-open",
  "no-done",
  "after-done",
  "bom",
  "crlf",
  "cr",
  "no-space",
  "event-names",
  "data-lines",
  "comments",
  "pings",
  "choices-null",
  "delta-null",
  "filter-chunk",
  "other-form",
  "type-upper",
  "type-text",
  "type-html",
  "type-none",
  "gzip",
  "br",
  "deflate",
  "json-done",
  "calls-null",
  "null-call",
  "usage-none",
  "usage-null",
  "usage-list",
  "usage-nulls",
  "usage-text",
  "usage-fraction",
  "usage-negative",
  "usage-huge",
  "usage-total",
  "usage-anthropic",
  "usage-null-details",
  "usage-each-chunk",
  "no-stream-options",
  "no-json-with-tools",
  "alternate",
  "window",
  "refusal",
];

/** Quirks of calls that change nothing about what runs. */
const sameCalls = [
  "same-index",
  "no-index",
  "no-index-no-id",
  "id-null",
  "id-number",
  "same-id",
  "no-type",
  "name-each-delta",
  "name-split",
  "arguments-object",
  "null-call",
  "calls-null",
  "calls-in-message",
  "stop-with-calls",
  "reasoning-back",
  "signature-back",
  "reasoning-content",
  "reasoning-details",
  "gzip",
  "other-form",
  "no-finish",
  "done-open",
];

/** Quirks that leave no answer. */
const failing = ["error-in-200", "error-in-stream", "error-in-choice", "error-event", "finish-error", "null-answer"];

describe("an answer with the quirk", () => {
  test.each(unnoticed)("%s arrives whole on each surface", async (quirk) => {
    const text = "word0 word1 word2 word3 word4";
    const outcomes = await onEach(`mock-words-5-quirk-${quirk}`);
    expect(outcomes).toMatchObject(surfaces.map((surface) => ({ surface, text, ...isSuccess })));
  });

  test.each(failing)("%s is an error on each surface, never half an answer", async (quirk) => {
    const outcomes = await onEach(`mock-words-20-quirk-${quirk}`);
    expect(outcomes).toMatchObject(surfaces.map((surface) => ({ surface, isWhole: false, error: { code: expect.any(String) } })));
    if (quirk !== "finish-error" && quirk !== "null-answer")
      for (const { error } of outcomes) expect(error?.message).toMatch(/Rate limit exceeded upstream|overloaded/);
  });

  test("empty ends in one way or the other", async () => {
    for (const outcome of await onEach("mock-quirk-empty")) {
      expect(outcome.text).toBe("");
      expect(outcome.isWhole || outcome.error !== undefined).toBe(true);
    }
  });
});

describe("two calls with the quirk", () => {
  test.each(sameCalls)("%s both run, and their results are read", async (quirk) => {
    for (const outcome of await onEach(`mock-tool-calculator-calls-2-quirk-${quirk}`)) {
      expect(outcome).toMatchObject(isSuccess);
      const results = resultsRead(outcome.message).map((content) => JSON.parse(content));
      expect(results).toEqual(Array(2).fill({ expression: "2+3", result: 5 }));
      expect(outcome.text).toContain('"result":5');
    }
  });
});

describe("a call with the quirk", () => {
  test.each(["empty-name", "long-name", "nul-name"])("%s is answered to the model as an error", async (quirk) => {
    for (const outcome of await onEach(`mock-tool-calculator-quirk-${quirk}`)) {
      expect(outcome).toMatchObject(isSuccess);
      expect(outcome.text).toMatch(/^The tools said: .*error/);
      expect(asked.get(outcome.message)).toHaveLength(2);
    }
  });

  test("arguments-null runs a tool without arguments", async () => {
    for (const outcome of await onEach("mock-tool-list_books-quirk-arguments-null")) {
      expect(outcome).toMatchObject(isSuccess);
      expect(outcome.text).toContain("Emma");
    }
  });

  test("many-calls is answered, and not every call runs", async () => {
    for (const outcome of await onEach("mock-tool-calculator-quirk-many-calls")) {
      expect(outcome).toMatchObject(isSuccess);
      const results = resultsRead(outcome.message);
      expect(results.length).toBeGreaterThan(0);
      expect(results.some((result) => result.includes("error"))).toBe(true);
    }
  });

  test("length-with-calls runs nothing and says that it was cut", async () => {
    for (const outcome of await onEach("mock-tool-calculator-quirk-length-with-calls")) {
      expect(outcome.finishReason).toBe("length");
      expect(asked.get(outcome.message)).toHaveLength(1);
    }
  });

  test("of arguments that are no JSON gets that as its result, once", async () => {
    for (const outcome of await onEach("mock-bad-tool-json")) {
      expect(outcome).toMatchObject(isSuccess);
      expect(asked.get(outcome.message)).toHaveLength(3);
      const [bad, good] = resultsRead(outcome.message);
      expect(bad).toContain("error");
      expect(JSON.parse(good ?? "")).toMatchObject({ result: 5 });
    }
  });
});

test("an endpoint that refuses max_tokens and temperatures answers stored turns", async () => {
  expect(await user.ask("stored", "go", "mock-quirk-no-max-tokens")).toMatchObject({ text: "You said: go", ...isSuccess });
});

test("each quirk of the mock model is tried here", () => {
  const others = [
    "empty",
    "empty-name",
    "long-name",
    "nul-name",
    "arguments-null",
    "many-calls",
    "length-with-calls",
    "no-max-tokens",
  ];
  expect(Object.keys(quirks).filter((name) => ![...unnoticed, ...sameCalls, ...failing, ...others].includes(name))).toEqual([]);
});

test("after all of it no run is left open, and the counts are whole", async () => {
  expect(
    await eventually(
      () => user.openRuns(),
      (open) => open.length === 0,
    ),
  ).toEqual([]);
  const usage = await eventually(
    () => user.usage(),
    ({ requests }) => requests > 300,
  );
  for (const count of [usage.prompt_tokens, usage.completion_tokens, usage.estimated_tokens]) {
    expect(Number.isSafeInteger(count)).toBe(true);
    expect(count).toBeGreaterThan(0);
    expect(count).toBeLessThan(10_000_000);
  }
  expect((await fetch(`${system.baseUrl}/ready`)).status).toBe(200);
});
