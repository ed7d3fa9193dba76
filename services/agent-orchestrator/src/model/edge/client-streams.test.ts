import { ErrorReason } from "@turnwright/platform/errors";
import { describe, expect, test } from "vitest";
import { chunk, done, mixed, openai, read, seed, sse, stop, tapped } from "../../../testing/answers.ts";
import type { ClientFrame } from "../../../testing/stream.ts";

const server = { ...openai, passToolCalls: false };
const call = (rest: object = {}) => ({ index: 0, id: "a", type: "function", function: { name: "f", arguments: "{}" }, ...rest });
const withChoices = (choices: unknown) => ({ ...chunk({}), choices });
/** The plain loop over a stream: what it puts together. */
const loop = (frames: readonly ClientFrame[]) =>
  (frames as { choices: [{ delta: { content?: string | null } }] }[])
    .map(({ choices: [choice] }) => choice.delta.content ?? "")
    .join("");
const rolesIn = (frames: readonly ClientFrame[]) => JSON.stringify(frames).split('"role":"assistant"').length - 1;
const reasonsIn = (frames: readonly ClientFrame[]) =>
  frames.flatMap(({ choices }) => choices?.flatMap((choice) => choice.finish_reason ?? []));

describe.each([
  ["OpenAI's", openai],
  ["the mixed", mixed],
  ["OpenAI's, with server tools,", server],
] as const)("a client of %s format", (_name, options) => {
  test.each<[string, string]>([
    ["a role in the first chunk", sse(chunk({ role: "assistant", content: "" }), chunk({ content: "hello" }), stop)],
    ["no role at all", sse(chunk({ content: "hel" }), chunk({ content: "lo" }), stop)],
    ["a role on every chunk", sse(...["", "hel", "lo"].map((content) => chunk({ role: "assistant", content })), stop)],
    [
      "chunks that say nothing",
      sse(
        chunk({ role: "assistant" }),
        chunk({}),
        chunk(null),
        chunk({ content: null }),
        chunk({ content: "" }),
        chunk({ content: "hello" }),
        stop,
      ),
    ],
    ["chunks without choices", sse(withChoices([]), withChoices(null), { id: "x" }, chunk({ content: "hello" }), stop)],
    ["parts", sse(chunk({ content: [{ type: "text", text: "hel" }] }), chunk({ content: ["lo"] }), stop)],
    ["messages", sse(withChoices([{ index: 0, message: { role: "assistant", content: "hello" }, finish_reason: "stop" }]))],
    [
      "JSON",
      JSON.stringify({
        ...withChoices([{ index: 0, message: { content: "hello" }, finish_reason: "stop" }]),
        object: "chat.completion",
      }),
    ],
    [
      "usage on every chunk",
      sse(chunk({ content: "hello" }, null, { usage: { prompt_tokens: 1 } }), chunk({}, "stop", { usage: { prompt_tokens: 1 } })),
    ],
    ["a usage chunk", sse(chunk({ content: "hello" }), stop, { ...withChoices([]), usage: { prompt_tokens: 1 } }, done)],
    ["no finish reason but [DONE]", sse(chunk({ content: "hello" }), done)],
    ["an empty finish reason", sse(chunk({ content: "hello" }, ""), stop)],
    ["two finish reasons", sse(chunk({ content: "hello" }), stop, stop)],
    ["text behind the finish reason", sse(chunk({ content: "hel" }, "stop"), chunk({ content: "lo" }))],
    ["ids, times and models of other types", sse(chunk({ content: "hello" }, null, { id: 5, created: "x", model: null }), stop)],
  ])("gets one role, the text and one finish reason from a stream with %s", (_kind, stream) => {
    const { frames, error } = tapped(options, stream);
    expect(error).toBeUndefined();
    expect(loop(frames)).toBe("hello");
    expect(rolesIn(frames)).toBe(1);
    expect(rolesIn(frames.slice(0, 1))).toBe(1);
    expect(reasonsIn(frames)).toEqual(["stop"]);
    for (const { id = "", created = 0, model = "", object, choices, usage } of frames as (ClientFrame & { usage?: unknown })[]) {
      expect([typeof id, typeof created, typeof model, object, choices?.length]).toEqual([
        "string",
        "number",
        "string",
        "chat.completion.chunk",
        1,
      ]);
      expect(usage ?? null).toBeNull();
    }
  });

  test("gets the text before an error, also when both come in one piece", () => {
    for (const failing of [
      { error: { message: "overloaded" } },
      withChoices([{ index: 0, delta: {}, finish_reason: "error" }]),
    ]) {
      const { frames, error } = tapped(options, sse(chunk({ content: "Half an ans" }), failing));
      expect(loop(frames)).toBe("Half an ans");
      expect(reasonsIn(frames)).toEqual([]);
      expect(error?.reason).toBe(ErrorReason.MODEL_FAILED);
    }
  });

  test("gets reasoning as the endpoint sends it, and that of parts as reasoning_content", () => {
    const deltas = [
      { reasoning_content: "a" },
      { reasoning: "b" },
      { reasoning_details: [{ type: "reasoning.text", text: "c" }] },
    ];
    const { frames } = tapped(options, sse(...deltas.map((delta) => chunk(delta)), stop));
    expect(frames.slice(0, 3).map(({ choices }) => choices?.[0]?.delta)).toMatchObject(deltas);
    const parts = chunk({
      content: [
        { type: "thinking", thinking: [{ type: "text", text: "hm" }] },
        { type: "text", text: "5" },
      ],
    });
    expect(tapped(options, sse(parts, stop)).frames[0]?.choices?.[0]?.delta).toMatchObject({
      content: "5",
      reasoning_content: "hm",
    });
  });

  test("gets the reasons of an answer that was cut", () => {
    for (const reason of ["length", "content_filter", "MAX_TOKENS"]) {
      const { frames, tap } = tapped(options, sse(chunk({ content: "x", tool_calls: [call()] }), chunk({}, reason)));
      expect(reasonsIn(frames)).toEqual([reason]);
      expect([tap.wantsServerTools, tap.toolCalls, frames.some(({ type }) => type === "tool_call")]).toEqual([false, [], false]);
    }
  });

  test("gets the seed's text once for each chunk, without frames that have no choice", () => {
    const { frames } = tapped(
      { ...options, format: mixed.format },
      sse(chunk({ content: "hello" }), chunk({ tool_calls: [call()] }), stop),
    );
    expect(frames.filter(({ type }) => type === "content").map(({ delta }) => delta)).toEqual(["hello"]);
    expect(frames.every(({ choices }) => choices?.length === 1)).toBe(true);
  });
});

describe("a client with tools of its own gets calls", () => {
  const deltasOf = (...deltas: object[]) =>
    tapped(openai, sse(...deltas.map((delta) => chunk(delta)), stop)).frames.flatMap(
      ({ choices }) => choices?.[0]?.delta?.tool_calls ?? [],
    );

  test("under an index each, where the endpoint sends the same one for all", () => {
    expect(deltasOf({ tool_calls: [call()] }, { tool_calls: [call({ id: "b" })] })).toMatchObject([
      { index: 0, id: "a" },
      { index: 1, id: "b" },
    ]);
  });

  test("with their name once, ids and text for arguments, and their extra fields", () => {
    const object = { function: { name: "f", arguments: { a: 1 } }, extra_content: { google: { thought_signature: "s" } } };
    const [given, ...rest] = deltasOf({ tool_calls: [object, null] }) as { id: string }[];
    expect(given).toEqual({
      index: 0,
      id: expect.stringMatching(/^call_/),
      type: "function",
      ...object,
      function: { name: "f", arguments: '{"a":1}' },
    });
    expect(rest).toEqual([]);
    const resent = ["", '{"a":', "1}"].map((args) => ({ tool_calls: [call({ function: { name: "f", arguments: args } })] }));
    expect(deltasOf(...resent).map((piece) => (piece as { function: { name?: string } }).function.name)).toEqual([
      "f",
      undefined,
      undefined,
    ]);
  });

  test("and tool_calls for the finish reason", () => {
    const { frames } = tapped(openai, sse(chunk({ tool_calls: [call()] }), stop));
    expect(reasonsIn(frames)).toEqual(["tool_calls"]);
    expect(reasonsIn(tapped(openai, sse(chunk({ tool_calls: [call()] }))).frames)).toEqual(["tool_calls"]);
    expect(reasonsIn(tapped(openai, sse(chunk({ content: "x" }), chunk({}, "eos"))).frames)).toEqual(["eos"]);
  });

  test("in the older form as they came", () => {
    const older = { function_call: { name: "f", arguments: "{}" } };
    const { frames } = tapped(openai, sse(chunk(older), chunk({}, "function_call")));
    expect(frames[0]?.choices?.[0]?.delta).toMatchObject(older);
    expect(reasonsIn(frames)).toEqual(["function_call"]);
  });
});

test("a later round sends no second role, and no frame for its calls", () => {
  const first = tapped(
    server,
    sse(chunk({ role: "assistant", content: null, tool_calls: [call()] }), chunk({}, "tool_calls"), done),
  );
  expect(first.tap.wantsServerTools).toBe(true);
  expect(first.frames.map(({ choices }) => choices?.[0]?.delta)).toEqual([{ role: "assistant", content: null }]);
  const later = tapped(
    { ...server, id: "chatcmpl-1", hasRole: first.tap.hasRole },
    sse(chunk({ role: "assistant", content: "" }), chunk({ content: "It is 2." }), stop),
  );
  expect(rolesIn(later.frames)).toBe(0);
  expect(loop(later.frames)).toBe("It is 2.");
});

test("fields that the endpoint wants back are collected with the calls of the server's tools", () => {
  const extra_content = { google: { thought_signature: "s" } };
  const signed = call({ extra_content });
  const { tap } = tapped(
    server,
    sse(chunk({ reasoning_content: "h" }), chunk({ reasoning_content: "m" }), chunk({ tool_calls: [signed] }), stop),
  );
  expect(tap.extraFields).toEqual({ message: { reasoning_content: "hm" }, calls: [{ extra_content }] });
});

test("the seed's frames have refusals and no reasoning", () => {
  const { output } = tapped(seed, sse(chunk({ reasoning_content: "hm" }), chunk({ refusal: "I cannot" }), stop));
  expect(output).toBe('data: {"type":"content","delta":"I cannot"}\n\n');
});

test("images and other parts beside the text stay in content_parts", () => {
  const image = { type: "image_url", image_url: { url: "data:image/png;base64,AA" } };
  const { frames } = tapped(openai, sse(chunk({ content: [{ type: "text", text: "see" }, image] }), stop));
  expect(frames[0]?.choices?.[0]?.delta).toEqual({ role: "assistant", content: "see", content_parts: [image] });
});

test("[DONE] ends a stream whose connection stays open", () => {
  const { tap, frames } = tapped(openai, [
    Buffer.from(sse(chunk({ content: "hello" }), stop, done)),
    Buffer.from("data: {broken\n\n"),
  ]);
  expect([tap.finishReason, loop(frames)]).toEqual(["stop", "hello"]);
});

test("the text of a last event that is not ended comes before the failure of a cut stream, for runs and for clients", () => {
  const cut = 'data: {"choices":[{"delta":{"content":"one"}}]}\n\ndata: {"choices":[{"delta":{"content":" two"}}]}';
  const run = read(cut);
  expect(run).toMatchObject({ said: "one two", error: { reason: ErrorReason.MODEL_FAILED } });
  const client = tapped(openai, cut);
  expect(client.output).toContain('"content":" two"');
  expect(client.error).toMatchObject({ reason: ErrorReason.MODEL_FAILED });
});
