import { create as createMessage } from "@bufbuild/protobuf";
import { RunContextSchema, RunSchema, RunStatus } from "@turnwright/contract/conversation/v1/run";
import { ExecutionStatus } from "@turnwright/contract/tool/v1/tool";
import { ErrorReason } from "@turnwright/platform/errors";
import { describe, expect, test } from "vitest";
import { complete } from "../../testing/completion.ts";
import { asUser, testUser } from "../../testing/orchestrator.ts";
import {
  approve,
  callsFor,
  create,
  failureOf,
  lastCommit,
  mesh,
  roles,
  sent,
  streamEvents,
  useOrchestrator,
} from "../../testing/runs.ts";
import { agentConfig, answerLimit } from "../config.ts";
import { maxStoredText } from "../graph/think.ts";

useOrchestrator();

describe("a plain run", () => {
  test("stores the message first and the answer in one commit, and responds with the stored answer", async () => {
    mesh.model.reply({ text: "Hello there.", model: "gpt-test-2" });
    const answer = await create();
    expect(mesh.log).toEqual(["begin", "commit COMPLETED"]);
    expect(answer).toMatchObject({
      conversationId: mesh.journal.conversation.id,
      response: "Hello there.",
      message: {
        role: "assistant",
        content: "Hello there.",
        sequenceNumber: 2,
        model: "gpt-test-2",
        promptTokens: 10,
        completionTokens: 5,
      },
    });
    expect(mesh.journal.commits[0]).toMatchObject({
      epoch: 1,
      node: "respond",
      agent: "general",
      model: "gpt-test",
      usage: { promptTokens: 10, completionTokens: 5, totalTokens: 15 },
      toolCalls: 0,
      events: [{ type: "completed" }],
    });
  });

  test("asks the model with the agent's prompt, the context and the tools, including those that need approval", async () => {
    mesh.model.reply({ text: "First." }, { text: "Second." });
    await create("one");
    await mesh.agent.sendMessage({ conversationId: mesh.journal.conversation.id, message: "two" }, asUser);
    expect(sent(1)).toMatchObject({
      model: "gpt-test",
      stream: true,
      stream_options: { include_usage: true },
    });
    // The built-in agents leave sampling to the model.
    expect(sent(1)).not.toHaveProperty("temperature");
    expect(sent(1)).not.toHaveProperty("max_tokens");
    expect(sent(1).messages.map(({ role, content }) => [role, content])).toEqual([
      ["system", expect.stringContaining("helpful assistant")],
      ["user", "one"],
      ["assistant", "First."],
      ["user", "two"],
    ]);
    expect(sent(1).tools?.map((tool) => tool.function.name)).toEqual(["calculator", "send_mail", "web_search"]);
  });

  test("streams the answer as it arrives, and ends with the stored answer", async () => {
    mesh.model.reply({ text: "Hello there." });
    const events = await streamEvents();
    expect(events.map(({ type, delta }) => [type, delta])).toEqual([
      ["started", ""],
      ["content", "Hello"],
      ["content", " there."],
      ["finish", "stop"],
    ]);
    expect(events[0]).toMatchObject({
      conversationId: mesh.journal.conversation.id,
      runId: mesh.journal.run?.id,
      agentType: "general",
      // The deprecated name.
      agent: "general",
    });
    expect(events[3]).toMatchObject({ message: { content: "Hello there.", sequenceNumber: 2 }, usage: { totalTokens: 15 } });
  });

  test("does not report its end before it is stored", async () => {
    const gate = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    mesh.journal.beforeCommit = () => {
      reached.resolve();
      return gate.promise;
    };
    mesh.model.reply({ text: "Hello" });
    const seen: string[] = [];
    const reading = (async () => {
      for await (const event of mesh.agent.streamTurn({ message: "hi" }, asUser)) seen.push(event.type);
    })();
    await reached.promise;
    expect(seen).not.toContain("finish");
    gate.resolve();
    await reading;
    expect(seen.at(-1)).toBe("finish");
  });
});

describe("the choice of agent and model", () => {
  test("is the router's, the request's, or the conversation's", async () => {
    const prompts: string[] = [];
    const ask = async (work: () => Promise<unknown>) => {
      mesh.model.reply({ text: "ok" });
      await work();
      prompts.push(sent(mesh.model.requests.length - 1).messages[0]?.content ?? "");
    };
    const { id } = mesh.journal.conversation;
    await ask(() => create("fix this function"));
    await ask(() => create("fix this function", { agentType: "researcher" }));
    await ask(() => mesh.agent.sendMessage({ conversationId: id, message: "hi" }, asUser));
    await ask(() => mesh.agent.sendMessage({ conversationId: id, message: "hi", agentType: "general", model: "gpt-x" }, asUser));
    const [engineer, researcher, bound, general] = prompts;
    expect(engineer).toContain("engineer");
    expect(researcher).toContain("researcher");
    expect(bound).toBe(researcher);
    expect(general).toContain("helpful assistant");
    expect(sent(3).model).toBe("gpt-x");
  });

  test("falls back on the router when a conversation's agent no longer exists", async () => {
    mesh.journal.conversation.agentType = "retired";
    mesh.model.reply({ text: "ok" });
    await mesh.agent.sendMessage({ conversationId: mesh.journal.conversation.id, message: "fix it" }, asUser);
    expect(lastCommit()).toMatchObject({ status: RunStatus.COMPLETED, agent: "coder" });
  });

  test("refuses an agent that does not exist before anything is stored", async () => {
    expect(await failureOf(create("hi", { agentType: "pilot" }))).toMatchObject({
      reason: ErrorReason.INVALID_REQUEST,
      param: "agent_type",
      message: expect.stringContaining("general, coder, researcher"),
    });
    expect(mesh.log).toEqual([]);
  });

  test.each([{ model: "gpt-big" }, {}, { agentType: "coder" }])(
    "refuses a model that the token may not use before anything is stored: %j",
    async (rest) => {
      mesh.identity.allowedModels = ["gpt-small"];
      expect(await failureOf(create("hi", rest))).toMatchObject({ reason: ErrorReason.MODEL_NOT_ALLOWED, param: "model" });
      expect(mesh.log).toEqual([]);
    },
  );

  test("refuses to resume with a model that the key may no longer use", async () => {
    mesh.model.reply(callsFor("send_mail"));
    await create();
    mesh.identity.allowedModels = ["gpt-small"];
    expect(await failureOf(approve(true))).toMatchObject({ reason: ErrorReason.MODEL_NOT_ALLOWED });
    expect(lastCommit()).toMatchObject({ status: RunStatus.FAILED });
  });
});

describe("tools", () => {
  test("are committed as intents before they are executed, and their results with the next step", async () => {
    mesh.model.reply({ text: "Let me see.", ...callsFor("calculator", "web_search") }, { text: "Done." });
    await create();
    expect(mesh.log).toEqual(["begin", "commit RUNNING", "execute calculator,web_search", "commit COMPLETED"]);
    expect(
      mesh.journal.commits.map(({ messages, toolCalls, node }) => [messages.map(({ role }) => role), toolCalls, node]),
    ).toEqual([
      [["assistant"], 0, "act"],
      [["tool", "tool", "assistant"], 2, "respond"],
    ]);
    const [intent] = mesh.journal.commits;
    expect(intent?.events[0]?.type).toBe("tool_intent");
    expect(JSON.parse(intent?.state ?? "")).toMatchObject({ messageId: intent?.messages[0]?.id, iteration: 1 });
    expect(mesh.executed[0]).toMatchObject({
      runId: mesh.journal.run?.id,
      conversationId: mesh.journal.conversation.id,
      epoch: 1,
      messageId: intent?.messages[0]?.id,
      calls: [
        { callId: "call_calculator_0", name: "calculator", arguments: '{"at":0}', grant: "" },
        { callId: "call_web_search_1", name: "web_search", arguments: '{"at":1}', grant: "" },
      ],
    });
    expect(sent(1).messages.slice(2)).toMatchObject([
      { role: "assistant", content: "Let me see.", tool_calls: [{ id: "call_calculator_0" }, { id: "call_web_search_1" }] },
      { role: "tool", tool_call_id: "call_calculator_0", content: '{"ran":"calculator"}' },
      { role: "tool", tool_call_id: "call_web_search_1", content: '{"ran":"web_search"}' },
    ]);
  });

  test("are shown to watchers, with the usage of all model calls", async () => {
    mesh.model.reply(callsFor("calculator"), { text: "Done." });
    const events = await streamEvents();
    expect(events.map(({ type }) => type)).toEqual(["started", "tool_call", "tool_result", "content", "finish"]);
    expect(events[1]?.toolCall).toMatchObject({
      id: "call_calculator_0",
      function: { name: "calculator", arguments: '{"at":0}' },
    });
    expect(events[2]).toMatchObject({ result: '{"ran":"calculator"}', toolCall: { id: "call_calculator_0" } });
    expect(events[4]?.usage?.totalTokens).toBe(30);
  });

  test("report to the model that they failed or do not exist", async () => {
    mesh.onExecute((call) => ({ status: ExecutionStatus.REFUSED, error: `There is no tool ${call.name}.` }));
    mesh.model.reply(callsFor("teleport"), { text: "Sorry." });
    expect((await create()).response).toBe("Sorry.");
    expect(sent(1).messages.at(-1)?.content).toBe('{"error":"There is no tool teleport."}');
  });

  test("are executed again in a later round under unique ids, even if the endpoint reuses its ids", async () => {
    mesh.model.reply(callsFor("calculator"), callsFor("calculator"), { text: "Done." });
    await create();
    const ids = mesh.executed.flatMap(({ calls }) => calls.map(({ callId }) => callId));
    expect(ids).toHaveLength(2);
    expect(new Set(ids).size).toBe(2);
    expect(
      sent(2)
        .messages.filter(({ role }) => role === "tool")
        .map(({ tool_call_id }) => tool_call_id),
    ).toEqual(ids);
  });

  test.each([
    ["the same id twice", "call_0", "call_0"],
    ["no ids", "", ""],
    ["ids that are too long for the ledger", `a${"x".repeat(300)}`, `b${"x".repeat(300)}`],
    ["ids of other characters than visible ASCII", "call\0", "call\ud800"],
  ])("that come in one round with %s are two calls, everywhere under the same ids", async (_, first, second) => {
    mesh.onExecute((call) => ({ status: ExecutionStatus.SUCCESS, output: call.arguments }));
    const calls = [first, second].map((id, index) => ({ id, name: "calculator", arguments: `{"at":${index}}` }));
    mesh.model.reply({ calls }, { text: "Done." });
    const events = await streamEvents();
    const ids = mesh.executed.flatMap((round) => round.calls.map(({ callId }) => callId));
    expect(new Set(ids).size).toBe(2);
    for (const id of ids) expect(id).toMatch(/^[!-~]{1,200}$/);
    const idsOf = (type: string) => events.filter((event) => event.type === type).map(({ toolCall }) => toolCall?.id);
    expect(idsOf("tool_call")).toEqual(ids);
    expect(idsOf("tool_result")).toEqual(ids);
    const [asking, ...answers] = mesh.journal.messages.slice(1, 4);
    expect(asking?.toolCalls.map(({ id }) => id)).toEqual(ids);
    expect(answers.map(({ toolCallId, content }) => [toolCallId, content])).toEqual(ids.map((id, at) => [id, `{"at":${at}}`]));
    const [, asked, ...results] = sent(1).messages.slice(1);
    expect(asked).toMatchObject({ tool_calls: ids.map((id) => ({ id })) });
    expect(results.map(({ tool_call_id }) => tool_call_id)).toEqual(ids);
  });

  test("get new ids when the run is taken over and its first rounds are no longer in the context", async () => {
    const run = createMessage(RunSchema, {
      ...testUser,
      id: crypto.randomUUID(),
      conversationId: mesh.journal.conversation.id,
      epoch: 2,
    });
    const earlier = { role: "assistant", toolCalls: [{ id: "call_later", function: { name: "calculator", arguments: "{}" } }] };
    const messages = [earlier, { role: "tool", toolCallId: "call_later", content: "1" }];
    mesh.journal.run = { ...run, status: RunStatus.RUNNING };
    mesh.model.reply(callsFor("calculator"), { text: "Done." });
    mesh.journal.abandoned.push(createMessage(RunContextSchema, { run, conversation: mesh.journal.conversation, messages }));
    await mesh.journal.reached(RunStatus.COMPLETED);
    const [id] = mesh.executed.flatMap(({ calls }) => calls.map(({ callId }) => callId));
    // A round that is missing from the context may have used the model's id.
    expect(id).not.toBe("call_calculator_0");
    expect(mesh.journal.messages[0]?.toolCalls.map((call) => call.id)).toEqual([id]);
  });

  test("end at the iteration limit, and the run fails", async () => {
    mesh.model.reply(callsFor("calculator"), callsFor("calculator"), callsFor("calculator"), { text: "never" });
    expect(await failureOf(create())).toMatchObject({ reason: ErrorReason.ITERATION_LIMIT });
    expect(mesh.model.requests).toHaveLength(3);
    expect(lastCommit()).toMatchObject({
      status: RunStatus.FAILED,
      events: [{ type: "failed", payload: expect.stringContaining("ITERATION_LIMIT") }],
    });
    expect(roles()).toEqual(["user", ...Array(3).fill(["assistant", "tool calculator"]).flat()]);
  });

  test("with an unknown outcome send the run to review", async () => {
    mesh.onExecute((call) =>
      call.name === "calculator" ? { status: ExecutionStatus.SUCCESS, output: "4" } : { status: ExecutionStatus.UNKNOWN },
    );
    mesh.model.reply(callsFor("calculator", "web_search"), { text: "never" });
    expect(await failureOf(create())).toMatchObject({
      reason: ErrorReason.TOOL_FAILED,
      message: expect.stringMatching(/web_search took effect/),
    });
    expect(mesh.log).toEqual(["begin", "commit RUNNING", "execute calculator,web_search", "commit NEEDS_REVIEW"]);
    expect(lastCommit()).toMatchObject({ node: "act", error: "", messages: [{ role: "tool", name: "calculator" }] });
    expect(JSON.parse(lastCommit()?.events[0]?.payload ?? "")).toEqual({
      calls: [{ id: "call_web_search_1", name: "web_search", arguments: '{"at":1}' }],
    });
  });
});

describe("an answer that is larger than a conversation stores", () => {
  test.each([
    ["by its characters", "x".repeat(maxStoredText + 1)],
    ["by what JSON makes of them", "\u0001".repeat(maxStoredText / 5)],
    ["by its bytes", "\u20ac".repeat(maxStoredText / 2)],
  ])("%s ends its run with that cause, and the model is called once", async (_, text) => {
    mesh.model.reply({ text });
    const { reason, message } = await failureOf(create());
    expect(reason).toBe(ErrorReason.ANSWER_TOO_LARGE);
    expect(message).toContain(`larger than the ${maxStoredText} bytes`);
    expect(mesh.model.requests).toHaveLength(1);
  });

  test("is one of more than its limit: one just below it is stored", async () => {
    const text = "x".repeat(maxStoredText - 100);
    mesh.model.reply({ text });
    expect((await create()).response).toBe(text);
  });

  test("by its reasoning ends its run too", async () => {
    const delta = { reasoning_content: "y".repeat(maxStoredText) };
    const chunk = { choices: [{ index: 0, delta, finish_reason: null }] };
    const end = { choices: [{ index: 0, delta: { content: "x" }, finish_reason: "stop" }] };
    mesh.model.reply({ raw: [chunk, end].map((one) => `data: ${JSON.stringify(one)}\n\n`) });
    expect((await failureOf(create())).reason).toBe(ErrorReason.ANSWER_TOO_LARGE);
  });
});

test("a completion is no larger than the messages between the parts, whatever LLM_MAX_ANSWER says", async () => {
  mesh.model.reply({ text: "x".repeat(7.5 * 1024 * 1024) });
  expect((await failureOf(complete({}))).reason).toBe(ErrorReason.ANSWER_TOO_LARGE);
  const limitOf = (env: Record<string, string>) => answerLimit(agentConfig.parse({ MESH_SECRET: "s".repeat(32), ...env }));
  expect(limitOf({ LLM_MAX_ANSWER: "16777216" })).toBe(7_340_032);
  expect(limitOf({ LLM_MAX_ANSWER: "16777216", SERVER_BODY_LIMIT: "16000000" })).toBe(16_000_000);
  expect(limitOf({ LLM_MAX_ANSWER: "100000" })).toBe(100_000);
});
