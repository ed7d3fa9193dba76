import type { ConnectError } from "@connectrpc/connect";
import { StreamFormat } from "@turnwright/contract/agent/v1/completion_service";
import { ExecutionStatus } from "@turnwright/contract/tool/v1/tool";
import { detailOf, ErrorReason, reasonOf } from "@turnwright/platform/errors";
import { type ScriptedReply, wholeCompletion } from "@turnwright/testing/scripted-model";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ClientFrame, eventData, eventJson } from "../model/stream-fixture.ts";
import { asUser, type OrchestratorFixture, startOrchestrator } from "../orchestrator-fixture.ts";

let mesh: OrchestratorFixture;

beforeEach(async () => {
  mesh = await startOrchestrator({ AGENT_MAX_ITERATIONS: "3" });
});

afterEach(() => mesh.close());

const user = { role: "user", content: "hi" };
const bytesOf = (body: object | string) =>
  Buffer.from(typeof body === "string" ? body : JSON.stringify({ messages: [user], ...body }));

async function complete(body: object | string) {
  const answer = await mesh.completions.complete({ body: bytesOf(body) }, asUser);
  return { ...answer, json: JSON.parse(Buffer.from(answer.body).toString()) };
}

async function stream(body: object | string, format: StreamFormat = StreamFormat.UNSPECIFIED) {
  const batches: Buffer[] = [];
  let usage: unknown;
  for await (const batch of mesh.completions.streamComplete({ body: bytesOf(body), format }, asUser)) {
    batches.push(Buffer.from(batch.frames));
    usage = batch.usage;
  }
  const text = Buffer.concat(batches).toString();
  return { text, data: eventData(text), frames: eventJson(text), usage };
}

async function failureOf(work: Promise<unknown>) {
  const error = await work.then(
    () => expect.fail("it succeeded"),
    (caught: ConnectError) => caught,
  );
  return { reason: reasonOf(error), param: detailOf(error)?.param, message: error.rawMessage };
}

const sent = (index: number) =>
  mesh.model.requests[index]?.body as { tools?: { function: { name: string } }[]; messages: unknown[]; [field: string]: unknown };
const toolNames = (index: number) => sent(index).tools?.map((tool) => tool.function.name);
const textIn = (frames: readonly ClientFrame[]) => frames.map(({ choices }) => choices?.[0]?.delta?.content ?? "").join("");

const callsFor = (...names: string[]): ScriptedReply => ({
  calls: names.map((name, index) => ({ id: `call_${name}_${index}`, name, arguments: `{"at":${index}}` })),
});
const clientTool = { type: "function", function: { name: "mine", parameters: { type: "object" } } };

describe("the request that the model gets", () => {
  it("is the client's, byte for byte, when nothing is added", async () => {
    const body = `{ "model":"gpt-x",  "messages":[{"role":"user","content":"h\\u00e9"}], "tools":[${JSON.stringify(clientTool)}], "seed":1.50 }`;
    mesh.model.reply({ text: "hello" });
    await complete(body);
    expect(mesh.model.requests[0]?.bytes.toString()).toBe(body);
  });

  it("names the default model where the client names none", async () => {
    for (const body of [{}, { model: "" }, { model: null }]) {
      mesh.model.reply({ text: "hello" });
      await complete(body);
      expect(sent(mesh.model.requests.length - 1).model).toBe("gpt-test");
    }
  });

  it("offers the server's tools that need no person", async () => {
    for (const body of [{}, { tools: null }, { tools: [] }, { tool_choice: "auto" }]) {
      mesh.model.reply({ text: "hello" });
      await complete(body);
      expect(toolNames(mesh.model.requests.length - 1)).toEqual(["calculator", "web_search"]);
    }
  });

  it("offers no more tools than the token allows", async () => {
    mesh.identity.allowedTools = ["web_search", "send_mail"];
    mesh.model.reply({ text: "hello" });
    await complete({});
    expect(toolNames(0)).toEqual(["web_search"]);
  });

  it("offers no tools, and says nothing of tools, when there are none to use", async () => {
    mesh.identity.allowedTools = ["unheard_of"];
    for (const body of [
      { tools: [], tool_choice: "auto", parallel_tool_calls: true },
      { tools: null, tool_choice: "none" },
    ]) {
      mesh.model.reply({ text: "hello" });
      await complete(body);
      expect(Object.keys(sent(mesh.model.requests.length - 1)).sort()).toEqual(["messages", "model"]);
    }
  });

  it("offers no server tools when the client chooses none", async () => {
    mesh.model.reply({ text: "hello" });
    await complete({ tool_choice: "none" });
    expect(sent(0)).not.toHaveProperty("tools");
    expect(sent(0)).not.toHaveProperty("tool_choice");
  });

  it("keeps a client's own tools and their choice, in the older form too", async () => {
    const named = { type: "function", function: { name: "mine" } };
    mesh.model.reply({ text: "hello" }, { text: "hello" });
    await complete({ tools: [clientTool], tool_choice: named });
    await complete({ functions: [{ name: "mine" }], function_call: "auto" });
    expect(sent(0)).toMatchObject({ tools: [clientTool], tool_choice: named });
    expect(sent(1)).toMatchObject({ functions: [{ name: "mine" }], function_call: "auto" });
    expect(sent(1)).not.toHaveProperty("tools");
  });

  it("asks for a stream and its usage exactly when the answer is streamed", async () => {
    mesh.model.reply({ text: "hello" }, { text: "hello" }, { text: "hello" });
    await stream({ stream: true, stream_options: { include_usage: false, other: 1 } });
    await stream({});
    await complete({ stream: true, stream_options: { include_usage: true } });
    expect(sent(0)).toMatchObject({ stream: true, stream_options: { include_usage: true, other: 1 } });
    expect(sent(1)).toMatchObject({ stream: true, stream_options: { include_usage: true } });
    expect(sent(2)).not.toHaveProperty("stream");
    expect(sent(2)).not.toHaveProperty("stream_options");
  });
});

describe("a token's models", () => {
  beforeEach(() => {
    mesh.identity.allowedModels = ["gpt-small"];
  });

  it.each([{ model: "gpt-big" }, {}])("refuse others: %j", async (body) => {
    expect(await failureOf(complete(body))).toMatchObject({ reason: ErrorReason.MODEL_NOT_ALLOWED, param: "model" });
    expect(await failureOf(stream(body))).toMatchObject({ reason: ErrorReason.MODEL_NOT_ALLOWED, param: "model" });
    expect(mesh.model.requests).toHaveLength(0);
  });

  it("bind the model that is asked, not only the one that is read", async () => {
    const twice = '{"model":"gpt-big","messages":[{"role":"user","content":"hi"}],"\\u006dodel":"gpt-small"}';
    mesh.model.reply({ text: "hello" });
    await complete(twice);
    const request = mesh.model.requests[0]?.bytes.toString() ?? "";
    expect(request).toContain('"model":"gpt-small"');
    expect(request).not.toContain("gpt-big");
    expect(await failureOf(complete(twice.replace("gpt-small", "gpt-big")))).toMatchObject({
      reason: ErrorReason.MODEL_NOT_ALLOWED,
    });
  });

  it.each(["Model", "MODEL", "models", "fallbacks", "context_window_fallbacks"])("refuse the detour over %s", async (field) => {
    const body = { model: "gpt-small", [field]: ["gpt-big"] };
    expect(await failureOf(complete(body))).toMatchObject({ reason: ErrorReason.MODEL_NOT_ALLOWED, param: field });
    mesh.identity.allowedModels = ["*"];
    mesh.model.reply({ text: "hello" });
    await complete(body);
    expect(mesh.model.requests).toHaveLength(1);
  });

  it("decide what is listed", async () => {
    expect((await mesh.completions.listModels({}, asUser)).data).toEqual([]);
    mesh.identity.allowedModels = ["gpt-other"];
    expect((await mesh.completions.listModels({}, asUser)).data.map(({ id }) => id)).toEqual(["gpt-other"]);
    mesh.identity.allowedModels = [];
    expect((await mesh.completions.listModels({}, asUser)).data.map(({ id }) => id)).toEqual(["gpt-test", "gpt-other"]);
  });
});

describe("a plain completion", () => {
  it("is the model's own bytes", async () => {
    mesh.model.reply({ text: "hello there" });
    const answer = await complete({});
    expect(Buffer.from(answer.body).toString()).toBe(wholeCompletion({ text: "hello there" }));
    expect(answer).toMatchObject({ model: "scripted", usage: { promptTokens: 10, completionTokens: 5, totalTokens: 15 } });
    expect(mesh.executed).toHaveLength(0);
  });

  it("gives a client's tool calls back", async () => {
    mesh.model.reply(callsFor("mine"), callsFor("mine"));
    const answer = await complete({ tools: [clientTool] });
    expect(answer.json.choices[0]).toMatchObject({
      finish_reason: "tool_calls",
      message: { tool_calls: [{ function: { name: "mine" } }] },
    });
    const streamed = await stream({ tools: [clientTool] });
    expect(streamed.frames.filter(({ type }) => type === "tool_call")).toHaveLength(1);
    expect(streamed.frames.at(-1)).toMatchObject({ type: "finish", delta: "tool_calls" });
    expect(mesh.executed).toHaveLength(0);
  });

  it.each([
    ["garbage", "<html>"],
    ["null", "null"],
    ["no choices", "{}"],
  ])("fails on %s", async (_name, raw) => {
    mesh.model.reply({ raw: [raw] });
    expect(await failureOf(complete({}))).toMatchObject({ reason: ErrorReason.MODEL_FAILED });
  });

  it("refuses several answers together with the server's tools", async () => {
    expect(await failureOf(complete({ n: 2 }))).toMatchObject({ reason: ErrorReason.INVALID_REQUEST, param: "n" });
    mesh.model.reply({ text: "hello" });
    await complete({ n: 2, tool_choice: "none" });
    expect(sent(0).n).toBe(2);
  });
});

describe("a stream", () => {
  it("is OpenAI's chunks with the seed's fields, and ends with [DONE]", async () => {
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

  it("carries the usage only for who asked", async () => {
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

  it("can be the seed's frames alone", async () => {
    mesh.model.reply({ text: "hello there" });
    expect((await stream({}, StreamFormat.SEED)).data).toEqual([
      '{"type":"content","delta":"hello"}',
      '{"type":"content","delta":" there"}',
      '{"type":"finish","delta":"stop","usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}',
      "[DONE]",
    ]);
  });

  it("can be OpenAI's chunks alone", async () => {
    mesh.model.reply({ text: "hello there" });
    for (const frame of (await stream({}, StreamFormat.OPENAI)).frames) {
      expect(frame).not.toHaveProperty("type");
      expect(frame).not.toHaveProperty("delta");
    }
  });

  it("fails when the model's breaks off, after what came", async () => {
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

  it("closes the model's connection when the client leaves", async () => {
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

  it("are run until the model answers, and all its tokens are counted", async () => {
    mesh.model.reply({ text: "I will look. ", ...callsFor("calculator", "web_search") }, callsFor("web_search"), {
      text: "Done.",
    });
    const answer = await ask();
    expect(answer.text).toBe(form === "whole" ? "Done." : "I will look. Done.");
    expect(answer.usage).toBe(45);
    expect(mesh.log).toEqual(["execute calculator,web_search", "execute web_search"]);
    expect(mesh.executed[0]).toMatchObject({
      runId: "",
      calls: [
        { callId: "call_calculator_0", name: "calculator", arguments: '{"at":0}' },
        { callId: "call_web_search_1", name: "web_search", arguments: '{"at":1}' },
      ],
    });
    expect(sent(1).messages).toEqual([
      user,
      { role: "assistant", content: "I will look. ", tool_calls: [expect.anything(), expect.anything()] },
      { role: "tool", tool_call_id: "call_calculator_0", content: '{"ran":"calculator"}' },
      { role: "tool", tool_call_id: "call_web_search_1", content: '{"ran":"web_search"}' },
    ]);
    expect(toolNames(2)).toEqual(["calculator", "web_search"]);
  });

  it("are told to the model when they fail, are refused or unknown", async () => {
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

  it("end at the iteration limit", async () => {
    mesh.model.reply(callsFor("calculator"), callsFor("calculator"), callsFor("calculator"), { text: "never" });
    expect(await failureOf(ask())).toMatchObject({ reason: ErrorReason.ITERATION_LIMIT });
    expect(mesh.model.requests).toHaveLength(3);
  });

  it("are forced once and not for ever", async () => {
    mesh.model.reply(callsFor("calculator"), { text: "Done." });
    await ask({ tool_choice: "required" });
    expect(sent(0).tool_choice).toBe("required");
    expect(sent(1)).not.toHaveProperty("tool_choice");
  });

  it("get ids where the endpoint gives none", async () => {
    mesh.model.reply({ calls: [{ id: "", name: "calculator", arguments: "{}" }] }, { text: "Done." });
    await ask();
    const id = mesh.executed[0]?.calls[0]?.callId;
    expect(id).toMatch(/^call_/);
    expect(sent(1).messages.slice(1)).toMatchObject([{ tool_calls: [{ id }] }, { tool_call_id: id }]);
  });

  it("run each under an id of its own, though the endpoint reuses its ids in a round, in the next one, and those of the client's history", async () => {
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

  it("run under the caller's token", async () => {
    mesh.model.reply(callsFor("calculator"), { text: "Done." });
    await ask();
    expect(new Set(mesh.seenTokens)).toEqual(new Set(["token-0"]));
  });
});

describe("a stream over several rounds", () => {
  it("reads as one completion: one id, no finish but the last, calls named for readers of the seed's fields", async () => {
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

  it("names calls by the ids that they run under", async () => {
    mesh.model.reply(callsFor("calculator"), callsFor("calculator"), { text: "It is 2." });
    const { frames } = await stream({});
    const ids = mesh.executed.flatMap(({ calls }) => calls.map(({ callId }) => callId));
    expect(new Set(ids).size).toBe(2);
    const named = frames.filter(({ type }) => type === "tool_call").map(({ tool_call }) => tool_call);
    expect(named).toMatchObject(ids.map((id) => ({ id })));
  });

  it("shows nothing of the calls in OpenAI's format", async () => {
    mesh.model.reply(callsFor("calculator"), { text: "It is 2." });
    const { text, frames } = await stream({}, StreamFormat.OPENAI);
    expect(text).not.toContain("tool_call");
    expect(textIn(frames)).toBe("It is 2.");
  });
});
