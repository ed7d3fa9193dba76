import { StreamFormat } from "@turnwright/contract/agent/v1/completion_service";
import { ExecutionStatus } from "@turnwright/contract/tool/v1/tool";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { describe, expect, test } from "vitest";
import { bytesOf, clientTool, complete, sent, stream, textIn, toolNames, user } from "../../testing/completion.ts";
import { asUser } from "../../testing/orchestrator.ts";
import { callsFor, failureOf, mesh, useOrchestrator } from "../../testing/runs.ts";

useOrchestrator();

describe("a stream", () => {
  test("has OpenAI's chunks with the seed's fields, and ends with [DONE]", async () => {
    mesh.model.reply({ text: "hello there" });
    const { data, frames, usage } = await stream({});
    expect(frames.map(({ type, delta }) => [type, delta])).toEqual([
      [undefined, undefined],
      ["content", "hello"],
      ["content", " there"],
      ["finish", "stop"],
    ]);
    expect(textIn(frames)).toBe("hello there");
    expect(data.at(-1)).toBe("[DONE]");
    expect(usage).toMatchObject({ totalTokens: 15 });
  });

  test("carries the usage only for clients that ask for it", async () => {
    mesh.model.reply({ text: "hello" }, { text: "hello" }, { text: "hello" });
    expect((await stream({})).text).not.toContain("usage");
    const asked = await stream({ stream_options: { include_usage: true } });
    expect(asked.frames.at(-1)).toMatchObject({
      id: "chatcmpl-scripted",
      object: "chat.completion.chunk",
      choices: [],
      usage: { total_tokens: 15 },
    });
    expect((await stream({}, StreamFormat.OPENAI)).text).not.toContain("usage");
  });

  test("can have the seed's frames alone", async () => {
    mesh.model.reply({ text: "hello there" });
    expect((await stream({}, StreamFormat.SEED)).data).toEqual([
      '{"type":"content","delta":"hello"}',
      '{"type":"content","delta":" there"}',
      '{"type":"finish","delta":"stop","usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}',
      "[DONE]",
    ]);
  });

  test("can have OpenAI's chunks alone", async () => {
    mesh.model.reply({ text: "hello there" });
    for (const frame of (await stream({}, StreamFormat.OPENAI)).frames) {
      expect(frame).not.toHaveProperty("type");
      expect(frame).not.toHaveProperty("delta");
    }
  });

  test("fails when the model's stream breaks off, after the pieces that arrived", async () => {
    mesh.model.reply({ text: "one two three", cutAfter: 3 });
    const frames: string[] = [];
    const work = (async () => {
      for await (const batch of mesh.completions.streamComplete({ body: bytesOf({}) }, asUser))
        frames.push(Buffer.from(batch.frames).toString());
    })();
    expect(await failureOf(work)).toMatchObject({ reason: ErrorReason.MODEL_FAILED });
    expect(frames.join("")).toContain("one");
    expect(frames.join("")).not.toContain("[DONE]");
  });

  test("closes the model's connection when the client leaves", async () => {
    const gate = Promise.withResolvers<void>();
    mesh.model.reply({ text: "one two three", pauseAfter: { pieces: 2, gate: gate.promise } });
    const controller = new AbortController();
    const batches = mesh.completions.streamComplete({ body: bytesOf({}) }, { ...asUser, signal: controller.signal });
    const iterator = batches[Symbol.asyncIterator]();
    await iterator.next();
    controller.abort();
    expect(await (await mesh.model.request(0)).aborted).toBe(true);
    gate.resolve();
  });
});

describe.each(["whole", "streamed"] as const)("the server's tools, %s", (form) => {
  const ask = async (body: object = {}) => {
    if (form === "whole") {
      const { json, usage } = await complete(body);
      return { text: json.choices[0].message.content as string, usage: usage?.totalTokens, id: json.id as string };
    }
    const { frames, usage } = await stream(body);
    return { text: textIn(frames), usage: (usage as { totalTokens: number }).totalTokens, id: frames[0]?.id };
  };

  test("are called until the model answers, and all its tokens are counted", async () => {
    mesh.model.reply({ text: "I will look. ", ...callsFor("calculator", "web_search") }, callsFor("web_search"), {
      text: "Done.",
    });
    const answer = await ask();
    expect(answer.text).toBe(form === "whole" ? "Done." : "I will look. Done.");
    expect(answer.usage).toBe(45);
    expect(mesh.log).toEqual(["execute calculator", "execute web_search", "execute web_search"]);
    expect(mesh.executed.slice(0, 2)).toMatchObject([
      { runId: "", calls: [{ callId: "call_calculator_0", name: "calculator", arguments: '{"at":0}' }] },
      { runId: "", calls: [{ callId: "call_web_search_1", name: "web_search", arguments: '{"at":1}' }] },
    ]);
    expect(sent(1).messages).toEqual([
      user,
      { role: "assistant", content: "I will look. ", tool_calls: [expect.anything(), expect.anything()] },
      { role: "tool", tool_call_id: "call_calculator_0", content: '{"ran":"calculator"}' },
      { role: "tool", tool_call_id: "call_web_search_1", content: '{"ran":"web_search"}' },
    ]);
    expect(toolNames(2)).toEqual(["calculator", "web_search"]);
  });

  test("that the executor refuses, or whose results are too large, are answered to the model with an error", async () => {
    mesh.onCall((method, request) => {
      const [call] = (request as { calls?: { name: string }[] }).calls ?? [];
      if (method === "ExecuteCalls" && call?.name === "calculator") {
        throw fail(ErrorReason.TOO_LARGE, "The message is too large.");
      }
    });
    const output = JSON.stringify("x".repeat(2_000_000));
    mesh.onExecute(() => ({ status: ExecutionStatus.SUCCESS, output }));
    mesh.model.reply(callsFor("calculator", "web_search", "web_search", "web_search"), { text: "Done." });
    expect((await ask()).text).toBe("Done.");
    const results = sent(1).messages.slice(-4) as { content: string }[];
    expect(results.map(({ content }) => content.length > 1_000)).toEqual([false, true, true, false]);
    expect(results[0]?.content).toContain("The message is too large.");
    expect(results[3]?.content).toContain("2000002 bytes is left out");
  });

  test("report to the model that they failed, were refused or are unknown", async () => {
    mesh.onExecute((call) =>
      call.name === "calculator"
        ? { status: ExecutionStatus.FAILED, error: "division by zero" }
        : { status: ExecutionStatus.REFUSED, error: `There is no tool ${call.name}.` },
    );
    mesh.model.reply(callsFor("calculator", "teleport"), { text: "Sorry." });
    expect((await ask()).text).toBe("Sorry.");
    expect(sent(1).messages.slice(2)).toMatchObject([
      { content: '{"error":"division by zero"}' },
      { content: '{"error":"There is no tool teleport."}' },
    ]);
  });

  test("end at the iteration limit", async () => {
    mesh.model.reply(callsFor("calculator"), callsFor("calculator"), callsFor("calculator"), { text: "never" });
    expect(await failureOf(ask())).toMatchObject({ reason: ErrorReason.ITERATION_LIMIT });
    expect(mesh.model.requests).toHaveLength(3);
  });

  test("are forced in the first round only", async () => {
    mesh.model.reply(callsFor("calculator"), { text: "Done." });
    await ask({ tool_choice: "required" });
    expect(sent(0).tool_choice).toBe("required");
    expect(sent(1)).not.toHaveProperty("tool_choice");
  });

  test("get ids when the endpoint sends none", async () => {
    mesh.model.reply({ calls: [{ id: "", name: "calculator", arguments: "{}" }] }, { text: "Done." });
    await ask();
    const id = mesh.executed[0]?.calls[0]?.callId;
    expect(id).toMatch(/^call_/);
    expect(sent(1).messages.slice(1)).toMatchObject([{ tool_calls: [{ id }] }, { tool_call_id: id }]);
  });

  test("are each called under a unique id, even if the endpoint reuses ids within a round, across rounds and from the client's history", async () => {
    const call = (at: number) => ({ id: "call_0", name: "calculator", arguments: `{"at":${at}}` });
    mesh.onExecute(({ arguments: args }) => ({ status: ExecutionStatus.SUCCESS, output: args }));
    const history = [
      {
        role: "assistant",
        content: null,
        tool_calls: [{ ...clientTool, id: "call_0", function: { name: "mine", arguments: "{}" } }],
      },
      { role: "tool", tool_call_id: "call_0", content: "{}" },
    ];
    mesh.model.reply({ calls: [call(0), call(1)] }, { calls: [call(2)] }, { text: "Done." });
    await ask({ messages: [user, ...history] });
    const ids = mesh.executed.flatMap(({ calls }) => calls.map(({ callId }) => callId));
    expect(new Set([...ids, "call_0"]).size).toBe(4);
    const messages = sent(2).messages.slice(3) as {
      tool_calls?: { id: string }[];
      tool_call_id?: string;
      content: string | null;
    }[];
    expect(messages.flatMap(({ tool_calls }) => tool_calls?.map(({ id }) => id) ?? [])).toEqual(ids);
    const results = messages.filter(({ tool_call_id }) => tool_call_id !== undefined);
    expect(results.map(({ tool_call_id, content }) => [tool_call_id, content])).toEqual(
      ids.map((id, at) => [id, `{"at":${at}}`]),
    );
  });

  test("are called with the caller's token", async () => {
    mesh.model.reply(callsFor("calculator"), { text: "Done." });
    await ask();
    expect(new Set(mesh.seenTokens)).toEqual(new Set(["token-0"]));
  });
});

describe("a stream over several rounds", () => {
  test("reads as one completion: one id, one finish reason at the end, whole calls for clients that read the seed's fields", async () => {
    mesh.model.reply({ id: "chatcmpl-a", ...callsFor("calculator") }, { id: "chatcmpl-b", text: "It is 2." });
    const { frames } = await stream({ stream_options: { include_usage: true } });
    expect(new Set(frames.map(({ id }) => id))).toEqual(new Set(["chatcmpl-a"]));
    expect(frames.flatMap(({ choices }) => choices?.[0]?.finish_reason ?? [])).toEqual(["stop"]);
    expect(frames.filter(({ type }) => type === "tool_call").map(({ tool_call }) => tool_call?.function.name)).toEqual([
      "calculator",
    ]);
    expect(frames.some(({ choices }) => choices?.[0]?.delta?.tool_calls)).toBe(false);
    expect(frames.at(-1)).toMatchObject({ usage: { total_tokens: 30 } });
  });

  test("names calls by the ids that they are executed under", async () => {
    mesh.model.reply(callsFor("calculator"), callsFor("calculator"), { text: "It is 2." });
    const { frames } = await stream({});
    const ids = mesh.executed.flatMap(({ calls }) => calls.map(({ callId }) => callId));
    expect(new Set(ids).size).toBe(2);
    const named = frames.filter(({ type }) => type === "tool_call").map(({ tool_call }) => tool_call);
    expect(named).toMatchObject(ids.map((id) => ({ id })));
  });

  test("hides the calls in OpenAI's format", async () => {
    mesh.model.reply(callsFor("calculator"), { text: "It is 2." });
    const { text, frames } = await stream({}, StreamFormat.OPENAI);
    expect(text).not.toContain("tool_call");
    expect(textIn(frames)).toBe("It is 2.");
  });
});
