import { describe, expect, test } from "vitest";
import { chunk, done, sse, stop } from "../../testing/answers.ts";
import { clientTool, complete, sent, stream, textIn, user } from "../../testing/completion.ts";
import { failureOf, mesh, useOrchestrator } from "../../testing/runs.ts";

useOrchestrator();

const call = (rest: object = {}) => ({ id: "a", type: "function", function: { name: "calculator", arguments: "{}" }, ...rest });
const whole = (message: object, finish: string | null = "tool_calls") =>
  JSON.stringify({
    object: "chat.completion",
    choices: [{ index: 0, message: { role: "assistant", ...message }, finish_reason: finish }],
  });
/** An answer with calls, whole and streamed. */
const asking = (message: { tool_calls: object[] }, finish = "tool_calls") => ({
  whole: whole({ content: null, ...message }, finish),
  streamed: sse(
    chunk({ role: "assistant", ...message, tool_calls: undefined }),
    chunk({ tool_calls: message.tool_calls.map((one, index) => ({ index, ...one })) }),
    chunk({}, finish),
    done,
  ),
});

describe.each(["whole", "streamed"] as const)("in the rounds of the server's tools, %s,", (form) => {
  const ask = async (body: object = {}) => {
    if (form === "whole") return (await complete(body)).json.choices[0].message.content;
    return textIn((await stream(body)).frames);
  };
  const reply = (answer: ReturnType<typeof asking>) => mesh.model.reply({ raw: [answer[form]] }, { text: "Done." });

  test("fields that the endpoint wants back go back with the message and its calls", async () => {
    const signed = call({ extra_content: { google: { thought_signature: "c2ln" } } });
    reply(
      asking({ reasoning_content: "I should calculate.", vendor: { x: 1 }, tool_calls: [signed] } as { tool_calls: object[] }),
    );
    expect(await ask()).toBe("Done.");
    expect(sent(1).messages).toEqual([
      user,
      { role: "assistant", content: null, reasoning_content: "I should calculate.", vendor: { x: 1 }, tool_calls: [signed] },
      { role: "tool", tool_call_id: "a", content: '{"ran":"calculator"}' },
    ]);
  });

  test("calls run when the endpoint says stop, with an object for arguments and without ids", async () => {
    reply(asking({ tool_calls: [{ function: { name: "calculator", arguments: { a: 1 } } }] }, "stop"));
    expect(await ask()).toBe("Done.");
    expect(mesh.executed[0]?.calls).toMatchObject([{ name: "calculator", arguments: '{"a":1}' }]);
  });

  test("calls of an answer that was cut do not run, and the client is told", async () => {
    for (const reason of ["length", "content_filter"]) {
      mesh.model.reply({
        raw: [asking({ tool_calls: [call({ function: { name: "calculator", arguments: '{"a":1' } })] }, reason)[form]],
      });
      if (form === "whole") {
        const [choice] = (await complete({})).json.choices;
        expect([choice.finish_reason, choice.message.tool_calls]).toEqual([reason, undefined]);
      } else {
        const { frames } = await stream({});
        expect(frames.flatMap(({ choices }) => choices?.[0]?.finish_reason ?? [])).toEqual([reason]);
        expect(JSON.stringify(frames)).not.toContain("tool_call");
      }
    }
    expect(mesh.executed).toHaveLength(0);
  });

  test("a call that names no tool is answered to the model as an error", async () => {
    reply(asking({ tool_calls: [call({ function: { name: "", arguments: "{}" } }), call({ id: "b" })] }));
    expect(await ask()).toBe("Done.");
    expect(mesh.executed[0]?.calls.map(({ callId }) => callId)).toEqual(["b"]);
    expect(sent(1).messages.slice(2)).toMatchObject([
      { tool_call_id: "a" },
      { tool_call_id: "b", content: '{"ran":"calculator"}' },
    ]);
    expect(JSON.stringify(sent(1).messages[2])).toContain("error");
    expect(JSON.stringify(sent(1).messages)).not.toContain("problem");
  });

  test("messages of the client in odd forms break nothing", async () => {
    const odd = [{ role: "assistant", content: "x", tool_calls: null }, user];
    reply(asking({ tool_calls: [call()] }));
    expect(await ask({ messages: odd })).toBe("Done.");
  });
});

test("an answer in the form that was not asked for reaches the client in the one that was", async () => {
  mesh.model.reply(
    {
      raw: [sse(chunk({ role: "assistant", content: "hel" }), chunk({ content: "lo" }), stop, done)],
      contentType: "text/event-stream",
    },
    { raw: [sse(chunk({ content: "half" }))], contentType: "text/event-stream" },
  );
  expect((await complete({})).json.choices[0]).toMatchObject({ message: { content: "hello" }, finish_reason: "stop" });
  expect((await failureOf(complete({}))).message).toContain("ended before its answer");
});

test("a usage that the endpoint does not tell is estimated, and says so", async () => {
  const silent = [chunk({ content: "word ".repeat(40) }), stop, { ...chunk({}), choices: [], usage: { prompt_tokens: -1 } }];
  mesh.model.reply({ raw: [sse(...silent, done)] });
  const { frames } = await stream({ tools: [clientTool], stream_options: { include_usage: true } });
  const { usage } = frames.at(-1) as { usage?: Record<string, number> };
  expect(usage).toMatchObject({ completion_tokens: 50, estimated_tokens: expect.any(Number) });
  expect(usage?.total_tokens).toBe((usage?.prompt_tokens ?? 0) + 50);
});
