import { StreamFormat } from "@turnwright/contract/agent/v1/completion_service";
import { ErrorReason, reasonOf } from "@turnwright/platform/errors";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cut, eventData, eventJson } from "../../../testing/stream.ts";
import { chunk, finished, frame, head, opening, stream } from "../../../testing/written-streams.ts";
import { StreamTap, type TapOptions } from "./stream-tap.ts";

const mixed = { format: StreamFormat.UNSPECIFIED, passToolCalls: true };
const openai = { format: StreamFormat.OPENAI, passToolCalls: true };
const seed = { format: StreamFormat.SEED, passToolCalls: true };

function run(options: TapOptions, pieces: readonly (string | Buffer)[]) {
  const tap = new StreamTap(options);
  const parts = pieces.map((piece) => {
    const { out, failure: thrown } = tap.push(Buffer.from(piece));
    if (thrown !== undefined) throw thrown;
    return out;
  });
  const end = tap.end();
  parts.push(end.out);
  if (end.failure !== undefined) throw end.failure;
  return { tap, output: Buffer.concat(parts.filter((part) => part !== undefined)) };
}

function failure(options: TapOptions, stream: string) {
  try {
    run(options, [stream]);
  } catch (error) {
    return { reason: reasonOf(error), message: (error as Error).message };
  }
  throw new Error("the stream passed");
}

interface Sent {
  before?: string;
  value: { choices: readonly { delta: object }[] };
}

/** A frame as JSON; an absent finish reason is null. */
const plain = (value: object): unknown =>
  JSON.parse(JSON.stringify(value), (_, part) => (part?.delta instanceof Object ? { finish_reason: null, ...part } : part));
const contentOf = ({ value }: Sent): string | null | undefined =>
  (value.choices[0] as { delta: { content?: string | null } }).delta.content;
const isCall = ({ value }: Sent): boolean => "tool_calls" in (value.choices[0] as { delta: object }).delta;
/**
 * The event for a client that has the role: without a second role and without `usage`; undefined when nothing is left.
 */
const said = ({ value }: Sent): object | undefined => {
  const { usage: _usage, ...rest } = value as { usage?: null } & Sent["value"];
  const [choice] = rest.choices as [{ delta: Record<string, unknown> }];
  const { role: _role, ...delta } = choice.delta;
  if (Object.values(delta).every((field) => field === null || field === "") && !("logprobs" in choice)) return undefined;
  return { ...rest, choices: [{ ...choice, delta }] };
};
const textOf = (events: readonly Sent[]) => events.map((sent) => contentOf(sent) ?? "").join("");

describe.each([
  ["mixed", mixed],
  ["OpenAI's", openai],
  ["the seed's", seed],
  ["mixed with server tools", { ...mixed, passToolCalls: false }],
  ["mixed in a later round", { ...mixed, id: "chatcmpl-first" }],
] as const)("in %s format", (_name, options) => {
  test("gives the same output wherever the stream is cut", () => {
    fc.assert(
      fc.property(stream, fc.array(fc.nat(), { maxLength: 40 }), ({ text }, places) => {
        const bytes = Buffer.from(text);
        const whole = run(options, [bytes]);
        const pieces = run(options, cut(bytes, places));
        expect(pieces.output.toString()).toBe(whole.output.toString());
        expect(pieces.tap.finishReason).toBe(whole.tap.finishReason);
        expect(pieces.tap.toolCalls).toEqual(whole.tap.toolCalls);
      }),
      { numRuns: 300 },
    );
  });
});

test("mixed frames are the original chunks with the text added, without those that say nothing", () => {
  fc.assert(
    fc.property(stream, ({ events, text }) => {
      const frames = eventJson(run(mixed, [text]).output).filter((value) => value.type !== "tool_call");
      const expected = events.flatMap((sent) => {
        if (isCall(sent)) return [];
        const value = said(sent);
        const content = contentOf(sent);
        return value === undefined ? [] : [content ? { ...value, type: "content", delta: content } : value];
      });
      const texts = frames.slice(1, -1).filter(({ choices }) => choices?.[0]?.delta?.tool_calls === undefined);
      expect(texts.map(({ usage: _usage, ...value }) => plain(value))).toEqual(expected.map(plain));
      const { finish_reason } = frames.at(-1)?.choices?.[0] ?? {};
      expect(finish_reason).toBe(events.some(isCall) ? "tool_calls" : "stop");
      expect(frames.at(-1)).toEqual({ ...chunk({}, finish_reason), type: "finish", delta: finish_reason });
    }),
    { numRuns: 300 },
  );
});

test("the seed's frames hold the whole text and no fields of OpenAI's", () => {
  fc.assert(
    fc.property(stream, ({ events, text }) => {
      const frames = eventJson(run(seed, [text]).output).filter(({ type }) => type === "content");
      expect(frames.map(({ delta }) => delta).join("")).toBe(textOf(events));
      for (const value of frames) expect(Object.keys(value)).toEqual(["type", "delta"]);
    }),
  );
});

test("the text is kept for the next model call when the tools are the server's", () => {
  fc.assert(
    fc.property(stream, ({ events, text }) => {
      expect(run({ ...mixed, passToolCalls: false }, [text]).tap.text).toBe(textOf(events));
    }),
  );
});

test("OpenAI's format passes the endpoint's own bytes", () => {
  const passing = stream.filter(({ events }) =>
    events.every(
      (sent) =>
        said(sent) !== undefined && sent.before !== "event: message" && !/"(?:role|tool_calls)"/.test(JSON.stringify(sent.value)),
    ),
  );
  fc.assert(
    fc.property(passing, fc.array(fc.nat(), { maxLength: 10 }), ({ text }, places) => {
      const sent = text
        .replaceAll("\r\n", "\n")
        .replace(/\n{3,}/g, "\n\n")
        .replaceAll(": ping\n\n", "")
        .replace("data: [DONE]\n\n", "");
      expect(run(openai, cut(Buffer.from(text), places)).output.toString()).toBe(sent);
    }),
  );
});

test("text and finish in one frame become two frames for clients that read the seed's fields", () => {
  const both = frame(chunk({ content: "bye" }, "length"));
  expect(eventJson(run(mixed, [opening, both]).output).slice(1)).toEqual([
    { ...chunk({ content: "bye" }), type: "content", delta: "bye" },
    { ...chunk({}, "length"), type: "finish", delta: "length" },
  ]);
  expect(eventData(run(seed, [both]).output)).toEqual(['{"type":"content","delta":"bye"}']);
  expect(eventJson(run(openai, [opening, both]).output).slice(1)).toEqual([chunk({ content: "bye" }), chunk({}, "length")]);
});

test("a finish reason before the delta is recognized", () => {
  const early = `data: {"id":"a","choices":[{"finish_reason":"stop","index":0,"delta":{"content":"x"}}]}\n\n`;
  expect(run(mixed, [early]).tap.finishReason).toBe("stop");
});

test("several answers in one chunk are kept apart, and the finish of any of them counts", () => {
  const choice = (index: number, content: string, finish_reason: string | null = null) => ({
    index,
    delta: { content },
    finish_reason,
  });
  const two = { ...head, choices: [choice(0, "a"), choice(1, "b", "stop")] };
  const { output } = run(mixed, [frame({ ...head, choices: [choice(0, ""), choice(1, "")] }), frame(two)]);
  const frames = eventJson(output);
  const texts = frames.flatMap(({ choices }) => choices?.map(({ index, delta }) => [index, delta?.content ?? ""]) ?? []);
  expect(texts.filter(([, text]) => text !== "")).toEqual([
    [0, "a"],
    [1, "b"],
  ]);
  expect(frames.at(-1)).toEqual({
    ...chunk({}, "stop"),
    choices: [{ ...choice(1, ""), delta: {}, finish_reason: "stop" }],
    type: "finish",
    delta: "stop",
  });
});

test("data over several lines is one chunk", () => {
  const [left, right] = JSON.stringify(chunk({ content: "x" })).split(',"choices"');
  expect(eventJson(run(mixed, [opening, `data: ${left}\ndata: ,"choices"${right}\n\n`, finished]).output)[1]).toEqual({
    ...chunk({ content: "x" }),
    type: "content",
    delta: "x",
  });
});

test("the usage chunk is read and held back", () => {
  const usage = { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7, prompt_tokens_details: { cached_tokens: 2 } };
  for (const options of [mixed, openai, seed]) {
    const { tap, output } = run(options, [finished, frame({ ...head, choices: [], usage }), "data: [DONE]\n\n"]);
    expect(tap.usage).toEqual(usage);
    expect(output.toString()).not.toContain("usage");
    expect(output.toString()).not.toContain("DONE");
  }
});

test("a tapped stream: usage that an endpoint reports on every chunk is not counted twice", () => {
  const counted = (tokens: number) => ({ usage: { prompt_tokens: 5, completion_tokens: tokens, total_tokens: 5 + tokens } });
  const frames = [frame(chunk({ content: "a" }, null, counted(1))), frame(chunk({ content: "b" }, "stop", counted(2)))];
  expect(run(mixed, frames).tap.usage).toEqual({ prompt_tokens: 5, completion_tokens: 2, total_tokens: 7 });
});

test("a stream without a finish reason and without [DONE] fails", () => {
  for (const options of [mixed, openai, seed]) {
    expect(failure(options, frame(chunk({ content: "half" }))).reason).toBe(ErrorReason.MODEL_FAILED);
    expect(failure(options, "data: [DONE]\n\n").reason).toBe(ErrorReason.MODEL_FAILED);
    expect(failure(options, "").reason).toBe(ErrorReason.MODEL_FAILED);
  }
});

test("a stream with a finish reason is whole without [DONE] or a last blank line", () => {
  expect(run(mixed, [frame(chunk({ content: "x" })), finished.trimEnd()]).tap.finishReason).toBe("stop");
});

test("an error frame fails with the endpoint's text", () => {
  expect(failure(mixed, frame({ error: { message: "overloaded" } }))).toEqual({
    reason: ErrorReason.MODEL_FAILED,
    message: "[unavailable] overloaded",
  });
  expect(failure(seed, frame({ error: "broken" })).message).toContain("broken");
  expect(failure(openai, "data: <html>\n\n").reason).toBe(ErrorReason.MODEL_FAILED);
  expect(failure(openai, "data: null\n\n").reason).toBe(ErrorReason.MODEL_FAILED);
});

describe("tool calls", () => {
  const calls = [
    { index: 1, id: "b", function: { name: "second", arguments: "" } },
    { index: 0, id: "a", function: { name: "first", arguments: "" } },
    { index: 1, function: { arguments: '{"x":' } },
    { index: 0, function: { arguments: "{}" } },
    { index: 1, function: { arguments: "1}" } },
  ];
  const streamed = [...calls.map((call) => frame(chunk({ tool_calls: [call] }))), frame(chunk({}, "tool_calls"))];
  const whole = [
    { id: "a", type: "function", function: { name: "first", arguments: "{}" } },
    { id: "b", type: "function", function: { name: "second", arguments: '{"x":1}' } },
  ];

  test("are assembled by their indexes", () => {
    expect(run(mixed, streamed).tap.toolCalls).toEqual(whole);
  });

  test("pass when they are the client's, and are sent whole to clients that read the seed's fields", () => {
    const frames = eventJson(run(mixed, streamed).output);
    expect(frames.filter(({ type }) => type === undefined)).toHaveLength(calls.length);
    expect(frames.filter(({ type }) => type === "tool_call").map((value) => value.tool_call)).toEqual(whole);
    expect(frames.at(-1)).toMatchObject({ type: "finish", delta: "tool_calls" });
    expect(run(openai, [opening, ...streamed]).output.toString()).toBe([opening, ...streamed].join(""));
    expect(eventJson(run(seed, streamed).output).map(({ type }) => type)).toEqual(["tool_call", "tool_call"]);
  });

  test("are hidden with their finish reason when they are the server's", () => {
    const { tap, output } = run({ ...mixed, passToolCalls: false }, [
      opening,
      frame(chunk({ content: "let me see" })),
      ...streamed,
    ]);
    expect(eventJson(output).slice(1)).toEqual([{ ...chunk({ content: "let me see" }), type: "content", delta: "let me see" }]);
    expect(tap.wantsServerTools).toBe(true);
    expect(tap.text).toBe("let me see");
  });

  test("get stable ids when the endpoint sends none", () => {
    const { tap } = run(mixed, [
      frame(chunk({ tool_calls: [{ index: 0, function: { name: "f", arguments: "{}" } }] })),
      frame(chunk({}, "stop")),
    ]);
    expect(tap.toolCalls[0]?.id).toMatch(/^call_/);
    expect(tap.toolCalls[0]?.id).toBe(tap.toolCalls[0]?.id);
  });
});

test("later rounds keep the first round's id", () => {
  const later = [frame({ ...chunk({ content: "x" }), id: "other" }), frame({ ...chunk({}, "stop"), id: "other" })];
  for (const options of [mixed, openai]) {
    const { output, tap } = run({ ...options, id: "chatcmpl-first" }, later);
    expect(eventJson(output).map(({ id }) => id)).toEqual(["chatcmpl-first", "chatcmpl-first"]);
    expect(tap.envelope.id).toBe("chatcmpl-first");
  }
});
