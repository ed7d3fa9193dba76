import { ConnectError } from "@connectrpc/connect";
import { StreamFormat } from "@turnwright/contract/agent/v1/completion_service";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { chunk, frame, head, read, tapped } from "../../../testing/answers.ts";
import { cut } from "../../../testing/stream.ts";
import { readCompletion } from "./completion.ts";

const text = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 12 }),
  fc.constantFrom("hello", " wörld 🦜", "\n\n", "data: [DONE]", '"}', "\\"),
);
const odd = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constantFrom(null, -1, 0.5, 1e300, "", [], {}, "null"));
const orOdd = <T>(arbitrary: fc.Arbitrary<T>) => fc.oneof({ weight: 5, arbitrary: arbitrary as fc.Arbitrary<unknown> }, odd);
const parts = fc.array(
  fc.oneof(
    text.map((value) => ({ type: "text", text: value })),
    text.map((value) => ({ type: "thinking", thinking: [{ type: "text", text: value }] })),
    odd,
  ),
  { maxLength: 3 },
);
const call = fc.record(
  {
    index: orOdd(fc.nat({ max: 3 })),
    id: orOdd(fc.constantFrom("a", "b", "")),
    type: fc.constant("function"),
    function: orOdd(
      fc.record(
        { name: orOdd(fc.constantFrom("f", "g", "")), arguments: orOdd(fc.constantFrom("", "{}", '{"a":', "1}")) },
        { requiredKeys: [] },
      ),
    ),
    extra_content: odd,
  },
  { requiredKeys: [] },
);
const message = fc.record(
  {
    role: orOdd(fc.constant("assistant")),
    content: fc.oneof({ weight: 4, arbitrary: text as fc.Arbitrary<unknown> }, parts, odd),
    reasoning_content: orOdd(text),
    reasoning: orOdd(text),
    reasoning_details: orOdd(
      fc.array(fc.record({ index: fc.nat({ max: 2 }), text, type: fc.constant("reasoning.text") }), { maxLength: 2 }),
    ),
    refusal: orOdd(fc.constant(null)),
    tool_calls: orOdd(fc.array(orOdd(call), { maxLength: 3 })),
    vendor: odd,
  },
  { requiredKeys: [] },
);
const choice = fc.record(
  {
    index: orOdd(fc.constant(0)),
    delta: orOdd(message),
    message: orOdd(message),
    finish_reason: orOdd(fc.constantFrom(null, "", "stop", "tool_calls", "length")),
    logprobs: odd,
  },
  { requiredKeys: ["delta"] },
);
const usage = fc.record(
  { prompt_tokens: odd, completion_tokens: odd, total_tokens: odd, prompt_tokens_details: odd },
  { requiredKeys: [] },
);
const event = fc.oneof(
  { weight: 5, arbitrary: text.map((content) => chunk({ content })) as fc.Arbitrary<unknown> },
  { weight: 5, arbitrary: message.map((delta) => chunk(delta)) as fc.Arbitrary<unknown> },
  fc.record(
    {
      id: odd,
      model: odd,
      created: odd,
      choices: orOdd(fc.array(orOdd(choice), { maxLength: 3 })),
      usage: orOdd(usage),
      error: odd,
    },
    { requiredKeys: ["choices"] },
  ),
  odd,
);
const written = fc.record({
  value: event,
  end: fc.constantFrom("\n", "\r\n", "\r"),
  before: fc.constantFrom("", "", ": ping\n\n", "event: message\n", "event: error\n", "id: 1\n"),
  space: fc.constantFrom("data: ", "data:", "data:  "),
});
/** A stream of events of any kind, in any form. */
const stream = fc
  .record({
    events: fc.array(written, { maxLength: 10 }),
    mark: fc.constantFrom("", "\ufeff", "\n"),
    isDone: fc.boolean(),
    last: fc.boolean(),
  })
  .map(({ events, mark, isDone, last }) => {
    const frames = events.map(({ value, end, before, space }) =>
      `${before}${space}${JSON.stringify(value)}\n\n`.replaceAll("\n", end),
    );
    return `${mark}${frames.join("")}${last ? frame(chunk({}, "stop")) : ""}${isDone ? "data: [DONE]\n\n" : ""}`;
  });
const whole = fc.oneof(
  fc.record(
    { choices: orOdd(fc.array(orOdd(choice), { maxLength: 3 })), usage: orOdd(usage), id: odd, model: odd, error: odd },
    { requiredKeys: ["choices"] },
  ),
  fc.jsonValue(),
);
const anyBody = fc.oneof(
  stream,
  whole.map((value) => JSON.stringify(value)),
  fc.string({ unit: "binary" }),
);
const places = fc.array(fc.nat(), { maxLength: 30 });

const formats = [StreamFormat.OPENAI, StreamFormat.SEED, StreamFormat.UNSPECIFIED];
const options = fc.record({
  format: fc.constantFrom(...formats),
  passToolCalls: fc.boolean(),
  id: fc.constantFrom(undefined, "chatcmpl-first"),
});
/** Ids that are made up differ from reading to reading. */
const withoutIds = (value: unknown) => JSON.stringify(value).replace(/call_[0-9a-f]{24}/g, "call_made_up");

const counts = (told: { prompt_tokens: number; completion_tokens: number; total_tokens: number } | undefined) =>
  told === undefined ? [] : [told.prompt_tokens, told.completion_tokens, told.total_tokens];

describe("whatever an endpoint sends", () => {
  test("an answer is the same wherever its bytes are cut, and its text is that of its deltas", () => {
    fc.assert(
      fc.property(anyBody, places, (body, at) => {
        const bytes = Buffer.from(body);
        const uncut = read([bytes]);
        const uncutText = withoutIds({ ...uncut, failure: undefined });
        for (const pieces of [cut(bytes, at), [...bytes].map((byte) => Buffer.of(byte))]) {
          expect(withoutIds({ ...read(pieces), failure: undefined })).toBe(uncutText);
        }
        if (uncut.failure === undefined && !uncut.content.startsWith("<think>")) {
          expect([uncut.said, uncut.thought]).toEqual([uncut.content, uncut.reasoning]);
        }
      }),
      { numRuns: 400 },
    );
  });

  test("an answer is made of checked types, or fails with a reason", () => {
    fc.assert(
      fc.property(anyBody, (body) => {
        const { failure, deltas, usage: told, ...answer } = read(body);
        expect(failure === undefined || failure instanceof ConnectError).toBe(true);
        for (const part of [answer.content, answer.reasoning, answer.model, ...deltas.map(({ delta }) => delta)]) {
          expect(typeof part === "string" && part.isWellFormed() && !part.includes("\0")).toBe(true);
        }
        for (const { id, type, function: called } of answer.toolCalls) {
          expect([typeof id, type, typeof called.name, typeof called.arguments]).toEqual([
            "string",
            "function",
            "string",
            "string",
          ]);
          expect(id).not.toBe("");
        }
        expect(["stop", "length", "tool_calls", "content_filter"]).toContain(answer.finishReason);
        for (const count of counts(told)) expect(Number.isSafeInteger(count) && count >= 0).toBe(true);
        if (answer.providerFields !== "") expect(JSON.parse(answer.providerFields).calls).toHaveLength(answer.toolCalls.length);
      }),
      { numRuns: 1_000 },
    );
  });

  test("a client's stream is the same wherever its bytes are cut", () => {
    fc.assert(
      fc.property(options, anyBody, places, (tap, body, at) => {
        const bytes = Buffer.from(body);
        const uncut = tapped(tap, [bytes]);
        const pieces = tapped(tap, cut(bytes, at));
        expect([withoutIds(pieces.output), pieces.error]).toEqual([withoutIds(uncut.output), uncut.error]);
        expect(withoutIds(pieces.tap.toolCalls)).toBe(withoutIds(uncut.tap.toolCalls));
        expect(pieces.tap.text).toBe(uncut.tap.text);
      }),
      { numRuns: 400 },
    );
  });

  test("a client's stream has one role, no empty choices and types that SDKs read, or fails with a reason", () => {
    fc.assert(
      fc.property(anyBody, fc.boolean(), (body, passToolCalls) => {
        const { frames, error, tap } = tapped({ format: StreamFormat.OPENAI, passToolCalls }, body);
        expect(error === undefined || error.message.startsWith("[")).toBe(true);
        for (const count of counts(tap.usage)) expect(Number.isSafeInteger(count) && count >= 0).toBe(true);
        const roles = new Map<unknown, number>();
        for (const { choices = [] } of frames) {
          expect(choices.length).toBeGreaterThan(0);
          for (const { index, delta, finish_reason } of choices as {
            index: unknown;
            delta: Record<string, unknown>;
            finish_reason?: unknown;
          }[]) {
            expect(Number.isInteger(index)).toBe(true);
            expect([typeof delta, typeof (delta.content ?? ""), typeof (finish_reason ?? "")]).toEqual([
              "object",
              "string",
              "string",
            ]);
            if (delta.role !== undefined) roles.set(index, (roles.get(index) ?? 0) + 1);
            for (const piece of (delta.tool_calls ?? []) as { index: unknown; function: { arguments?: unknown } }[]) {
              expect([typeof piece.index, typeof (piece.function.arguments ?? "")]).toEqual(["number", "string"]);
            }
          }
        }
        expect([...roles.values()].every((times) => times === 1)).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });

  test("a whole answer is a completion that clients read, or fails with a reason", () => {
    fc.assert(
      fc.property(anyBody, (body) => {
        try {
          const { bytes, json, usage: told, calls } = readCompletion(Buffer.from(body));
          expect(JSON.parse(bytes.toString())).toEqual(JSON.parse(JSON.stringify(json)));
          for (const count of counts(told)) expect(Number.isSafeInteger(count) && count >= 0).toBe(true);
          for (const { message } of json.choices as { message: Record<string, unknown> }[]) {
            expect([typeof message, typeof (message.content ?? "")]).toEqual(["object", "string"]);
          }
          expect(calls.every(({ id, function: called }) => id !== "" && typeof called.arguments === "string")).toBe(true);
        } catch (error) {
          if (!(error instanceof ConnectError)) throw error;
        }
      }),
      { numRuns: 1_000 },
    );
  });
});

test("no text is lost: that of texts and parts, in order, in every form of a stream", () => {
  const said = fc.oneof(
    text.map((value) => ({ value, delta: { content: value as unknown } })),
    text.map((value) => ({ value, delta: { content: [{ type: "text", text: value }] as unknown } })),
    text.map((value) => ({ value, delta: { role: "assistant", content: value as unknown, reasoning: "hm" } })),
    odd.filter((value) => typeof value !== "string").map((value) => ({ value: "", delta: { vendor: value } })),
  );
  fc.assert(
    fc.property(fc.array(said, { maxLength: 20 }), fc.boolean(), (events, asMessage) => {
      const chunks = events.map(({ delta }) =>
        asMessage ? { ...head, choices: [{ index: 0, message: delta, finish_reason: null }] } : chunk(delta),
      );
      const body = [...chunks, chunk({}, "stop")].map(frame).join("");
      const expected = events.map(({ value }) => value).join("");
      expect(tapped({ format: StreamFormat.OPENAI, passToolCalls: false }, body).tap.text).toBe(expected);
      expect(read(body).content).toBe(expected);
    }),
    { numRuns: 300 },
  );
});
