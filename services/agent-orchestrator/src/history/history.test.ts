import { ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import { describe, expect, test } from "vitest";
import { conversation, expectStrict } from "../../testing/history.ts";
import { noCharge } from "../spending/charge.ts";
import { createHistory, type History, type HistoryFacts } from "./history.ts";

const facts = (words: string, rest: Partial<HistoryFacts> = {}, init: Parameters<typeof conversation>[1] = {}): HistoryFacts => ({
  provider: "p",
  model: "m",
  upstream: undefined,
  conversationId: "c",
  system: "You help.",
  messages: conversation(words, init),
  toolsJson: undefined,
  maxTokens: undefined,
  window: undefined,
  ...rest,
});

const overflow = () => fail(ErrorReason.CONTEXT_TOO_LONG, "This model's maximum context length is exceeded.");
const long = { content: "word ".repeat(20_000) };
const charge = (tokens: number) => ({ ...noCharge, requests: 1, prompt_tokens: tokens });

function thrown(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe("a history", () => {
  test("leaves room for the answer, and tells the model how many messages it does not get", () => {
    const history = createHistory({ defaultWindow: 8_000 });
    const words = Array.from({ length: 30 }, () => "u a").join(" ");
    const sent = history.make(facts(`${words} u`, { maxTokens: 6_000 }, { a: { content: "word ".repeat(200) } }));
    expect(sent.tokens).toBeLessThanOrEqual(4_000);
    expect(sent.maxTokens).toBe(4_000);
    expectStrict(sent.messages);
    const count = 61 - sent.messages.slice(1).length;
    expect(sent.messages[0]?.content).toContain(`${count} earlier messages of this conversation left out`);
  });

  test("sends no limit of the answer that nobody set", () => {
    expect(createHistory({ defaultWindow: 8_000 }).make(facts("u")).maxTokens).toBeUndefined();
  });

  test("counts messages that the journal did not hand out", () => {
    const messages = conversation("u a u");
    for (const message of messages) message.sequenceNumber += 20_000;
    const sent = createHistory({ defaultWindow: 8_000 }).make({ ...facts("u"), messages });
    expect(sent.messages[0]?.content).toContain("20000 earlier messages");
  });

  test("is half as large after an overflow, once a window was concluded, for this endpoint alone and for a while", () => {
    let now = 0;
    const history = createHistory({ defaultWindow: 128_000, now: () => now });
    const words = Array.from({ length: 100 }, () => "u a").join(" ");
    const asked = facts(`${words} u`, {}, { a: { content: "word ".repeat(400) } });
    const first = history.make(asked);
    const retry = history.retryOf(first, overflow());
    const second = history.make(asked, retry?.most);
    expect(second.bytes).toBeLessThanOrEqual(first.bytes / 2);
    expect(second.bytes).toBeGreaterThan(first.bytes / 8);
    expect(history.make(asked).tokens).toBeLessThanOrEqual(first.tokens / 2);
    expect(history.make({ ...asked, model: "other" }).bytes).toBe(first.bytes);
    now += 11 * 60_000;
    expect(history.make(asked).bytes).toBe(first.bytes);
  });

  test("refuses a newest message that cannot fit in a known window, and tries it where the window is unknown", () => {
    const history = createHistory({ defaultWindow: 1_024 });
    const asked = facts("u1 a u", {}, { u: long });
    expect(reasonOf(thrown(() => history.make({ ...asked, window: 2_000 })))).toBe(ErrorReason.CONTEXT_TOO_LONG);
    expect(history.make(asked).messages).toHaveLength(2);
    history.retryOf(history.make(asked), overflow());
    expect(history.make(asked).messages).toHaveLength(2);
    expect(history.make({ ...asked, messages: conversation("u a u") }).messages).toHaveLength(4);
  });

  test("learns how many bytes a token has from plausible counts alone", () => {
    const history = createHistory({ defaultWindow: 100_000 });
    const asked = facts("u", {}, { u: { content: "x".repeat(90_000) } });
    const estimate = () => history.make(asked).tokens;
    const first = estimate();
    const count = (tokens: number) => history.answered(history.make(asked), charge(tokens));
    for (const tokens of [10, 0, 90_000_000, Number.NaN]) count(tokens);
    history.answered(history.make(asked), { ...charge(60_000), estimated_tokens: 60_000 });
    expect(estimate()).toBe(first);
    count(60_000);
    expect(Math.abs(estimate() - 60_000)).toBeLessThan(10);
    for (let calls = 0; calls < 30; calls += 1) count(20_000);
    expect(Math.abs(estimate() - 20_000)).toBeLessThan(200);
  });

  test("learns it from each conversation first for that conversation, and little by little for others", () => {
    const history = createHistory({ defaultWindow: 100_000 });
    const asked = (conversationId: string) => facts("u", { conversationId }, { u: { content: "x".repeat(90_000) } });
    const before = history.make(asked("b")).tokens;
    history.answered(history.make(asked("a")), charge(60_000));
    expect(Math.abs(history.make(asked("a")).tokens - 60_000)).toBeLessThan(10);
    const after = history.make(asked("b")).tokens;
    expect(after).toBeGreaterThan(before);
    expect(after).toBeLessThan(before * 1.1);
  });
});

describe("a demand that an endpoint makes by a refusal", () => {
  const refused = (words: string) => fail(ErrorReason.MODEL_REJECTED, words);
  const call = (history: History) => history.make(facts("u c1 t1 a u")).messages[2];

  test.each([
    {
      words: "The `reasoning_content` in the thinking mode must be passed back to the API.",
      sent: { reasoning_content: "", content: null },
    },
    { words: "messages[1].content must be a string, not null", sent: { content: "" } },
    {
      words: "Tool call id was 1 but must be a-z, A-Z, 0-9, with a length of 9.",
      sent: { tool_calls: [{ id: expect.stringMatching(/^[a-zA-Z0-9]{9}$/) }] },
    },
  ])("is met in the repeated call and from then on, and the call is repeated once: $words", ({ words, sent }) => {
    const history = createHistory({ defaultWindow: 8_000 });
    const first = history.make(facts("u c1 t1 a u"));
    expect(history.retryOf(first, refused(words))).toEqual({});
    expect(call(history)).toMatchObject(sent);
    expect(history.retryOf(first, refused(words))).toBeUndefined();
  });

  test.each([
    "'messages.2' : for 'role:assistant' the following must be satisfied[('messages.2' : property 'reasoning' is unsupported)]",
    "body.messages.1.assistant.reasoning_content: Extra inputs are not permitted",
    "Unknown name \"extra_content\" at 'messages[1].tool_calls[0]'",
  ])("is met where it concerns fields that the provider gave itself, until it wants them after all: %s", (words) => {
    const history = createHistory({ defaultWindow: 8_000 });
    const fields = { message: { reasoning_content: "Hm." }, calls: [{ extra_content: {} }] };
    const init = { c1: { providerFields: JSON.stringify({ provider: "p", family: "m", ...fields }) } };
    const sentCall = () => history.make(facts("u c1 t1 a u", {}, init)).messages[2];
    expect(sentCall()).toMatchObject({ reasoning_content: "Hm.", tool_calls: [{ extra_content: {} }] });
    const sent = history.make(facts("u"));
    expect(history.retryOf(sent, refused(words))).toEqual({});
    expect(JSON.stringify(sentCall())).not.toMatch(/reasoning_content|extra_content/);
    expect(history.retryOf(sent, refused("The reasoning_content must be passed back."))).toEqual({});
    expect(sentCall()).toMatchObject({ reasoning_content: "Hm." });
  });

  test("for text holds until it refuses empty text", () => {
    const history = createHistory({ defaultWindow: 8_000 });
    const first = history.make(facts("u c1 t1 a u"));
    expect(history.retryOf(first, refused("content must be a string"))).toEqual({});
    expect(call(history)).toMatchObject({ content: "" });
    expect(history.retryOf(first, refused("text content blocks must be non-empty"))).toEqual({});
    expect(call(history)).toMatchObject({ content: null });
    expect(history.retryOf(first, refused("text content blocks must be non-empty"))).toBeUndefined();
  });

  test("is not seen in other errors", () => {
    const history = createHistory({ defaultWindow: 8_000 });
    const first = history.make(facts("u"));
    expect(history.retryOf(first, refused("boom"))).toBeUndefined();
    expect(history.retryOf(first, fail(ErrorReason.MODEL_FAILED, "reasoning_content"))).toBeUndefined();
    expect(history.retryOf(first, new Error("content must not be null"))).toBeUndefined();
  });
});
