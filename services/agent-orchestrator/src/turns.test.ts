import { create as createMessage, type MessageInitShape } from "@bufbuild/protobuf";
import type { ConnectError } from "@connectrpc/connect";
import type { StreamTurnResponse } from "@turnwright/contract/agent/v1/agent_service";
import { MessageSchema } from "@turnwright/contract/conversation/v1/conversation";
import {
  LoggedEventSchema,
  RunContextSchema,
  RunInfoSchema,
  RunSchema,
  RunStatus,
} from "@turnwright/contract/conversation/v1/run";
import { ExecutionStatus } from "@turnwright/contract/tool/v1/tool";
import { detailOf, ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import type { ScriptedReply } from "@turnwright/testing/scripted-model";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { asUser, type OrchestratorFixture, startOrchestrator, testUser } from "./orchestrator-fixture.ts";

let mesh: OrchestratorFixture;

beforeEach(async () => {
  mesh = await startOrchestrator({ AGENT_MAX_ITERATIONS: "3" });
});

afterEach(async () => {
  vi.useRealTimers();
  await mesh.close();
});

const create = (message = "hi", rest: object = {}) => mesh.agent.createConversation({ message, ...rest }, asUser);
const approve = (approved: boolean, reason = "") =>
  mesh.agent.approveConversation({ conversationId: mesh.journal.conversation.id, approved, reason }, asUser);

async function turnEvents(message = "hi"): Promise<StreamTurnResponse[]> {
  const events: StreamTurnResponse[] = [];
  for await (const event of mesh.agent.streamTurn({ message }, asUser)) events.push(event);
  return events;
}

async function failureOf(work: Promise<unknown>) {
  const error = await work.then(
    () => expect.fail("it succeeded"),
    (caught: ConnectError) => caught,
  );
  return { reason: reasonOf(error), param: detailOf(error)?.param, message: error.rawMessage };
}

const sent = (index: number) =>
  mesh.model.requests[index]?.body as {
    model: string;
    messages: { role: string; content: string | null; [field: string]: unknown }[];
    tools?: { function: { name: string } }[];
    [field: string]: unknown;
  };
const callsFor = (...names: string[]): ScriptedReply => ({
  calls: names.map((name, index) => ({ id: `call_${name}_${index}`, name, arguments: `{"at":${index}}` })),
});
const roles = () => mesh.journal.messages.map(({ role, name }) => (name === "" ? role : `${role} ${name}`));
const lastCommit = () => mesh.journal.commits.at(-1);

describe("a plain turn", () => {
  it("stores the message first, the answer in one commit, and answers with what is stored", async () => {
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

  it("asks the model with the agent's prompt, the context and the tools, those that need a person among them", async () => {
    mesh.model.reply({ text: "First." }, { text: "Second." });
    await create("one");
    await mesh.agent.sendMessage({ conversationId: mesh.journal.conversation.id, message: "two" }, asUser);
    expect(sent(1)).toMatchObject({
      model: "gpt-test",
      temperature: 0.7,
      max_tokens: 4096,
      stream: true,
      stream_options: { include_usage: true },
    });
    expect(sent(1).messages.map(({ role, content }) => [role, content])).toEqual([
      ["system", expect.stringContaining("helpful assistant")],
      ["user", "one"],
      ["assistant", "First."],
      ["user", "two"],
    ]);
    expect(sent(1).tools?.map((tool) => tool.function.name)).toEqual(["calculator", "send_mail", "web_search"]);
  });

  it("streams as it comes, and ends with the stored answer", async () => {
    mesh.model.reply({ text: "Hello there." });
    const events = await turnEvents();
    expect(events.map(({ type, delta }) => [type, delta])).toEqual([
      ["started", ""],
      ["content", "Hello"],
      ["content", " there."],
      ["finish", "stop"],
    ]);
    expect(events[0]).toMatchObject({
      conversationId: mesh.journal.conversation.id,
      runId: mesh.journal.run?.id,
      agent: "general",
    });
    expect(events[3]).toMatchObject({ message: { content: "Hello there.", sequenceNumber: 2 }, usage: { totalTokens: 15 } });
  });

  it("does not say that it ended before it is stored", async () => {
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
  it("is the router's, the request's, or the conversation's", async () => {
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

  it("falls back on the router where a conversation's agent is gone", async () => {
    mesh.journal.conversation.agentType = "retired";
    mesh.model.reply({ text: "ok" });
    await mesh.agent.sendMessage({ conversationId: mesh.journal.conversation.id, message: "fix it" }, asUser);
    expect(lastCommit()).toMatchObject({ status: RunStatus.COMPLETED, agent: "coder" });
  });

  it("refuses an agent that does not exist before anything is stored", async () => {
    expect(await failureOf(create("hi", { agentType: "pilot" }))).toMatchObject({
      reason: ErrorReason.INVALID_REQUEST,
      param: "agent_type",
      message: expect.stringContaining("general, coder, researcher"),
    });
    expect(mesh.log).toEqual([]);
  });

  it.each([{ model: "gpt-big" }, {}, { agentType: "coder" }])(
    "refuses a model that the token may not use before anything is stored: %j",
    async (rest) => {
      mesh.identity.allowedModels = ["gpt-small"];
      expect(await failureOf(create("hi", rest))).toMatchObject({ reason: ErrorReason.MODEL_NOT_ALLOWED, param: "model" });
      expect(mesh.log).toEqual([]);
    },
  );

  it("refuses to go on with a model that the approver's token may not use", async () => {
    mesh.model.reply(callsFor("send_mail"));
    await create();
    mesh.identity.allowedModels = ["gpt-small"];
    expect(await failureOf(approve(true))).toMatchObject({ reason: ErrorReason.MODEL_NOT_ALLOWED });
    expect(lastCommit()).toMatchObject({ status: RunStatus.FAILED });
  });
});

describe("tools", () => {
  it("are committed as intents before they run, and their results with the next step", async () => {
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

  it("are shown to who watches, with the usage of all model calls", async () => {
    mesh.model.reply(callsFor("calculator"), { text: "Done." });
    const events = await turnEvents();
    expect(events.map(({ type }) => type)).toEqual(["started", "tool_call", "tool_result", "content", "finish"]);
    expect(events[1]?.toolCall).toMatchObject({
      id: "call_calculator_0",
      function: { name: "calculator", arguments: '{"at":0}' },
    });
    expect(events[2]).toMatchObject({ result: '{"ran":"calculator"}', toolCall: { id: "call_calculator_0" } });
    expect(events[4]?.usage?.totalTokens).toBe(30);
  });

  it("are told to the model when they fail or do not exist", async () => {
    mesh.onExecute((call) => ({ status: ExecutionStatus.REFUSED, error: `There is no tool ${call.name}.` }));
    mesh.model.reply(callsFor("teleport"), { text: "Sorry." });
    expect((await create()).response).toBe("Sorry.");
    expect(sent(1).messages.at(-1)?.content).toBe('{"error":"There is no tool teleport."}');
  });

  it("run again in a later round although the endpoint reuses its ids, under ids of their own", async () => {
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

  it.each([
    ["the same id twice", "call_0", "call_0"],
    ["no ids", "", ""],
    ["ids that are too long for the ledger", `a${"x".repeat(300)}`, `b${"x".repeat(300)}`],
    ["ids of other characters than visible ASCII", "call\0", "call\ud800"],
  ])("that come in one round with %s are two calls, everywhere under the same ids", async (_, first, second) => {
    mesh.onExecute((call) => ({ status: ExecutionStatus.SUCCESS, output: call.arguments }));
    const calls = [first, second].map((id, index) => ({ id, name: "calculator", arguments: `{"at":${index}}` }));
    mesh.model.reply({ calls }, { text: "Done." });
    const events = await turnEvents();
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

  it("get ids of their own where the run is taken over and its first rounds are not in the context any more", async () => {
    const run = createMessage(RunSchema, { id: crypto.randomUUID(), conversationId: mesh.journal.conversation.id, epoch: 2 });
    const earlier = { role: "assistant", toolCalls: [{ id: "call_later", function: { name: "calculator", arguments: "{}" } }] };
    const messages = [earlier, { role: "tool", toolCallId: "call_later", content: "1" }];
    mesh.journal.run = { ...run, status: RunStatus.RUNNING };
    mesh.model.reply(callsFor("calculator"), { text: "Done." });
    mesh.journal.abandoned.push(createMessage(RunContextSchema, { run, conversation: mesh.journal.conversation, messages }));
    await mesh.journal.reached(RunStatus.COMPLETED);
    const [id] = mesh.executed.flatMap(({ calls }) => calls.map(({ callId }) => callId));
    // A round of which nothing is known may have had the model's id.
    expect(id).not.toBe("call_calculator_0");
    expect(mesh.journal.messages[0]?.toolCalls.map((call) => call.id)).toEqual([id]);
  });

  it("end at the iteration limit, and the run fails", async () => {
    mesh.model.reply(callsFor("calculator"), callsFor("calculator"), callsFor("calculator"), { text: "never" });
    expect(await failureOf(create())).toMatchObject({ reason: ErrorReason.ITERATION_LIMIT });
    expect(mesh.model.requests).toHaveLength(3);
    expect(lastCommit()).toMatchObject({
      status: RunStatus.FAILED,
      events: [{ type: "failed", payload: expect.stringContaining("ITERATION_LIMIT") }],
    });
    expect(roles()).toEqual(["user", ...Array(3).fill(["assistant", "tool calculator"]).flat()]);
  });

  it("whose outcome nobody knows end the run for a person to look at", async () => {
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

describe("an approval", () => {
  beforeEach(() => {
    mesh.model.reply(callsFor("calculator", "send_mail"), { text: "All done." });
  });

  it("parks the run with its free siblings done", async () => {
    const events = await turnEvents();
    expect(mesh.log).toEqual(["begin", "commit RUNNING", "execute calculator", "commit WAITING"]);
    expect(lastCommit()).toMatchObject({
      node: "act",
      messages: [{ role: "tool", toolCallId: "call_calculator_0" }],
      approvals: [{ callId: "call_send_mail_1", toolName: "send_mail", toolVersion: "7", arguments: '{"at":1}' }],
      events: [{ type: "parked" }],
    });
    expect(events.slice(-2)).toMatchObject([
      { type: "pending_approval", toolCall: { id: "call_send_mail_1" } },
      { type: "finish", delta: "pending_approval" },
    ]);
  });

  it("is said to who waits for the answer", async () => {
    const answer = await create();
    expect(answer.response).toBe("pending_approval");
    expect(answer.message).toBeUndefined();
  });

  it("resumes with the grant, and runs nothing twice", async () => {
    await create();
    const answer = await approve(true, "fine");
    expect(answer).toMatchObject({
      status: "approved",
      response: "All done.",
      conversation: { id: mesh.journal.conversation.id },
    });
    expect(mesh.log.slice(4)).toEqual(["decide", "execute send_mail", "commit COMPLETED"]);
    expect(mesh.executed[1]).toMatchObject({
      epoch: 2,
      calls: [{ callId: "call_send_mail_1", arguments: '{"at":1}', grant: "grant for call_send_mail_1" }],
    });
    expect(roles()).toEqual(["user", "assistant", "tool calculator", "tool send_mail", "assistant"]);
  });

  it("may change the arguments", async () => {
    mesh.journal.decorate = (decision) => ({ ...decision, arguments: '{"at":"edited"}' });
    await create();
    await approve(true);
    expect(mesh.executed[1]?.calls[0]?.arguments).toBe('{"at":"edited"}');
  });

  it("may be refused: the model is told why, and nothing runs", async () => {
    await create();
    expect(await approve(false, "not on a Sunday")).toMatchObject({ status: "rejected", response: "All done." });
    expect(mesh.executed).toHaveLength(1);
    expect(sent(1).messages.at(-1)).toMatchObject({
      role: "tool",
      tool_call_id: "call_send_mail_1",
      content: expect.stringContaining("not on a Sunday"),
    });
  });

  it("may be needed again", async () => {
    await create();
    const second = await startOrchestrator();
    second.model.reply(callsFor("send_mail"), callsFor("send_mail"), { text: "Done at last." });
    await second.agent.createConversation({ message: "hi" }, asUser);
    const { id: conversationId } = second.journal.conversation;
    const again = await second.agent.approveConversation({ conversationId, approved: true }, asUser);
    expect(again.status).toBe("pending_approval");
    expect(again.response).toBeUndefined();
    expect(await second.agent.approveConversation({ conversationId, approved: true }, asUser)).toMatchObject({
      response: "Done at last.",
    });
    expect(second.executed.map(({ calls }) => calls.length)).toEqual([1, 1]);
    await second.close();
  });

  it("must be given, and must be waited for", async () => {
    const { id: conversationId } = mesh.journal.conversation;
    expect(await failureOf(mesh.agent.approveConversation({ conversationId }, asUser))).toMatchObject({
      reason: ErrorReason.INVALID_REQUEST,
      param: "approved",
    });
    expect(await failureOf(approve(true))).toMatchObject({ reason: ErrorReason.NOTHING_TO_APPROVE });
  });

  it("is not asked for a tool that the token may not use: the executor refuses it", async () => {
    mesh.identity.allowedTools = ["calculator"];
    expect((await create()).response).toBe("All done.");
    expect(mesh.log).toContain("execute calculator,send_mail");
  });
});

describe("a failure", () => {
  it("of the model is committed and said", async () => {
    mesh.model.reply({ status: 400, error: "context too long" });
    expect(await failureOf(create())).toMatchObject({ reason: ErrorReason.MODEL_REJECTED, message: "context too long" });
    expect(mesh.log).toEqual(["begin", "commit FAILED"]);
    expect(lastCommit()).toMatchObject({ error: "context too long", node: "respond" });
  });

  it("in mid-stream ends the stream after what came", async () => {
    mesh.model.reply({ text: "one two three", cutAfter: 3 });
    const seen: string[] = [];
    const reading = (async () => {
      for await (const { type } of mesh.agent.streamTurn({ message: "hi" }, asUser)) seen.push(type);
    })();
    expect(await failureOf(reading)).toMatchObject({ reason: ErrorReason.MODEL_FAILED });
    expect(seen).toEqual(["started", "content", "content"]);
    expect(lastCommit()?.status).toBe(RunStatus.FAILED);
  });

  it("of an executor keeps what was said", async () => {
    mesh.onExecute(() => {
      throw fail(ErrorReason.TOO_LARGE, "The executor cannot hold this.");
    });
    mesh.model.reply(callsFor("calculator"));
    expect(await failureOf(create())).toMatchObject({ reason: ErrorReason.TOO_LARGE });
    expect(lastCommit()).toMatchObject({ status: RunStatus.FAILED, error: "The executor cannot hold this." });
  });

  it("of an executor or the journal that is away for a moment is waited for", async () => {
    const away = new Set(["executor", "journal"]);
    mesh.onExecute(() => {
      if (away.delete("executor")) throw fail(ErrorReason.UNAVAILABLE, "The executor is away.");
      return { status: ExecutionStatus.SUCCESS, output: "4" };
    });
    mesh.journal.beforeCommit = ({ status }) => {
      if (status === RunStatus.COMPLETED && away.delete("journal")) {
        throw fail(ErrorReason.DATABASE_UNAVAILABLE, "PostgreSQL does not answer.");
      }
    };
    mesh.model.reply(callsFor("calculator"), { text: "four" });
    expect((await create()).response).toBe("four");
    expect(away.size).toBe(0);
    // By the number of the entry before it the journal knows a step that it has committed already.
    expect(mesh.journal.commits.map(({ seq }) => seq)).toEqual([0, 1]);
    expect(roles()).toEqual(["user", "assistant", "tool calculator", "assistant"]);
  });

  it("that nobody foresaw is not told to the record", async () => {
    mesh.model.reply(callsFor("calculator"));
    mesh.onExecute(() => ({ callId: "another", status: ExecutionStatus.SUCCESS }) as never);
    expect(await failureOf(create())).toMatchObject({ reason: ErrorReason.INTERNAL });
    expect(lastCommit()?.status).toBe(RunStatus.FAILED);
  });

  it("to commit because another owns the run leaves it alone", async () => {
    mesh.journal.beforeCommit = () => {
      throw fail(ErrorReason.STALE_EPOCH, "A newer epoch owns the run.");
    };
    mesh.journal.info = createMessage(RunInfoSchema, { status: "cancelled", lastEventId: "1" });
    mesh.journal.events.push(createMessage(LoggedEventSchema, { seq: 1, type: "cancelled" }));
    mesh.model.reply(callsFor("calculator"));
    expect(await failureOf(create())).toMatchObject({ reason: ErrorReason.RUN_CANCELLED });
    expect(mesh.executed).toHaveLength(0);
    expect(mesh.log).toEqual(["begin"]);
  });

  it("of the journal does not run a tool whose intent is not stored", async () => {
    mesh.journal.beforeCommit = ({ status }) => {
      if (status === RunStatus.RUNNING) throw fail(ErrorReason.INTERNAL, "The journal broke.");
    };
    mesh.model.reply(callsFor("calculator"));
    expect(await failureOf(create())).toMatchObject({ reason: ErrorReason.INTERNAL });
    expect(mesh.executed).toHaveLength(0);
  });
});

describe("a caller that goes away", () => {
  it("does not stop a turn it waited for", async () => {
    const gate = Promise.withResolvers<void>();
    mesh.model.reply({ text: "one two", pauseAfter: { pieces: 2, gate: gate.promise } });
    const controller = new AbortController();
    const work = mesh.agent.sendMessage(
      { conversationId: mesh.journal.conversation.id, message: "hi" },
      { ...asUser, signal: controller.signal },
    );
    await mesh.model.request(0);
    controller.abort();
    expect(await failureOf(work)).toMatchObject({ reason: ErrorReason.CANCELLED });
    gate.resolve();
    expect((await mesh.journal.reached(RunStatus.COMPLETED)).messages[0]?.content).toBe("one two");
  });

  it("does not stop a turn it watched", async () => {
    const gate = Promise.withResolvers<void>();
    mesh.model.reply({ text: "one two", pauseAfter: { pieces: 2, gate: gate.promise } });
    for await (const event of mesh.agent.streamTurn({ message: "hi" }, asUser)) if (event.type === "content") break;
    gate.resolve();
    expect((await mesh.journal.reached(RunStatus.COMPLETED)).messages[0]?.content).toBe("one two");
  });

  it("does not leave a run behind that nobody drives", async () => {
    const controller = new AbortController();
    const gate = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    mesh.journal.beforeBegin = () => {
      begun.resolve();
      return gate.promise;
    };
    mesh.model.reply({ text: "Hello" });
    const work = mesh.agent.createConversation({ message: "hi" }, { ...asUser, signal: controller.signal });
    await begun.promise;
    controller.abort();
    await failureOf(work);
    gate.resolve();
    expect((await mesh.journal.reached(RunStatus.COMPLETED)).messages[0]?.content).toBe("Hello");
  });
});

describe("a long run", () => {
  it("stops its tools at its deadline for good: nobody will ask for them again", async () => {
    const brief = await startOrchestrator({ AGENT_RUN_TIMEOUT: "100ms" });
    brief.onExecute(() => new Promise(() => {}));
    brief.model.reply({ calls: [{ id: "c1", name: "calculator", arguments: "{}" }] });
    const work = brief.agent.createConversation({ message: "hi" }, asUser);
    expect(await failureOf(work)).toMatchObject({ reason: ErrorReason.DEADLINE_EXCEEDED });
    await expect.poll(() => brief.log).toContain("cancel c1");
    await brief.close();
  });

  it("ends at its deadline: the model is let go, the run fails", async () => {
    const brief = await startOrchestrator({ AGENT_RUN_TIMEOUT: "50ms" });
    const gate = Promise.withResolvers<void>();
    brief.model.reply({ text: "one two", pauseAfter: { pieces: 2, gate: gate.promise } });
    const work = brief.agent.createConversation({ message: "hi" }, asUser);
    expect(await failureOf(work)).toMatchObject({ reason: ErrorReason.DEADLINE_EXCEEDED });
    expect(await (await brief.model.request(0)).aborted).toBe(true);
    expect(brief.journal.commits.at(-1)).toMatchObject({ status: RunStatus.FAILED, error: expect.stringContaining("deadline") });
    gate.resolve();
    await brief.close();
  });

  const laterBy = (ms: number) => vi.setSystemTime(Date.now() + ms);

  it("renews its credentials", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    let minted = 0;
    mesh.onMint(() => `token-${++minted}`);
    mesh.onExecute(() => {
      laterBy(31_000);
      return { status: ExecutionStatus.SUCCESS, output: "1" };
    });
    mesh.model.reply(callsFor("calculator"), callsFor("calculator"), { text: "Done." });
    await create();
    expect(mesh.log.filter((entry) => entry === "mint")).toHaveLength(1);
    expect(mesh.seenTokens.at(-1)).toBe("token-1");
    expect(mesh.seenTokens[0]).toBe("token-0");
    expect(mesh.minted).toEqual([testUser]);
  });

  it("ends when its credential was revoked", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    mesh.onMint(() => {
      throw fail(ErrorReason.INVALID_TOKEN, "The credential was revoked.");
    });
    mesh.onExecute(() => {
      laterBy(31_000);
      return { status: ExecutionStatus.SUCCESS, output: "1" };
    });
    mesh.model.reply(callsFor("calculator"), { text: "never" });
    expect(await failureOf(create())).toMatchObject({ reason: ErrorReason.INVALID_TOKEN });
    expect(mesh.model.requests).toHaveLength(1);
    expect(lastCommit()).toMatchObject({ status: RunStatus.FAILED, messages: [{ role: "tool" }] });
  });

  it("goes on with its old credentials while auth does not answer", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    mesh.onMint(() => {
      throw fail(ErrorReason.UNAVAILABLE, "Auth is away.");
    });
    mesh.onExecute(() => {
      laterBy(31_000);
      return { status: ExecutionStatus.SUCCESS, output: "1" };
    });
    mesh.model.reply(callsFor("calculator"), { text: "Done." });
    expect((await create()).response).toBe("Done.");
  });
});

describe("a credential that ends", () => {
  it("ends its runs and their tools, and the run says why", async () => {
    mesh.model.reply(callsFor("calculator"));
    const begun = Promise.withResolvers<void>();
    mesh.onExecute(() => {
      begun.resolve();
      return new Promise(() => {});
    });
    const turn = failureOf(create());
    await begun.promise;
    mesh.revoke(testUser.tokenId);
    await expect(turn).resolves.toMatchObject({ reason: ErrorReason.INVALID_TOKEN });
    expect(lastCommit()).toMatchObject({ status: RunStatus.FAILED, error: "The credential that the run acted with has ended." });
  });

  it("leaves the runs of others alone", async () => {
    mesh.model.reply(callsFor("calculator"), { text: "42" });
    mesh.onExecute(async (call) => {
      mesh.revoke(crypto.randomUUID());
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      return { status: ExecutionStatus.SUCCESS, output: call.name } as never;
    });
    await expect(create()).resolves.toMatchObject({ response: "42" });
  });
});

describe("a run whose worker is gone", () => {
  const abandoned = (node: string, state: object, messages: readonly MessageInitShape<typeof MessageSchema>[]) => {
    const { journal } = mesh;
    journal.conversation.agentType = "coder";
    journal.run = createMessage(RunSchema, {
      id: crypto.randomUUID(),
      conversationId: journal.conversation.id,
      ...testUser,
      epoch: 2,
      node,
    });
    journal.run.state = JSON.stringify(state);
    journal.abandoned.push(
      createMessage(RunContextSchema, {
        run: journal.run,
        conversation: journal.conversation,
        messages: messages.map((message) => createMessage(MessageSchema, message)),
      }),
    );
    return journal.run.id;
  };
  const fresh = { agent: "", model: "", iteration: 0, messageId: "", waiting: [] };

  it("goes on from the user's message, by a token that is minted for it, with the agent of its conversation", async () => {
    mesh.model.reply({ text: "Here I am." });
    const runId = abandoned("", fresh, [{ id: crypto.randomUUID(), role: "user", content: "Are you there?" }]);
    const commit = await mesh.journal.reached(RunStatus.COMPLETED);
    expect(commit).toMatchObject({ runId, epoch: 2, agent: "coder", messages: [{ content: "Here I am." }] });
    expect(mesh.minted).toEqual([testUser]);
    expect(sent(0).messages.at(-1)).toEqual({ role: "user", content: "Are you there?" });
  });

  it("goes on in the middle of a round: what is answered is not asked for again", async () => {
    mesh.model.reply({ text: "Done." });
    const messageId = crypto.randomUUID();
    const call = (id: string) => ({ id, type: "function", function: { name: "calculator", arguments: "{}" } });
    abandoned("act", { ...fresh, agent: "coder", model: "gpt-test", iteration: 1, messageId }, [
      { id: crypto.randomUUID(), role: "user", content: "Two sums" },
      { id: messageId, role: "assistant", toolCalls: [call("a"), call("b")] },
      { id: crypto.randomUUID(), role: "tool", name: "calculator", toolCallId: "a", content: "1" },
    ]);
    await mesh.journal.reached(RunStatus.COMPLETED);
    expect(mesh.executed.map((request) => request.calls.map((one) => one.callId))).toEqual([["b"]]);
    expect(mesh.executed[0]?.epoch).toBe(2);
  });

  it("ends when the credential that it acted with has ended", async () => {
    mesh.onMint(() => {
      throw fail(ErrorReason.INVALID_TOKEN, "The credential has ended.");
    });
    abandoned("", fresh, [{ id: crypto.randomUUID(), role: "user", content: "Are you there?" }]);
    await expect.poll(() => mesh.log, { timeout: 5_000 }).toContain("abandon The credential that the run acted with has ended.");
    expect(mesh.model.requests).toHaveLength(0);
  });

  it("is tried again while auth does not answer", async () => {
    let asked = 0;
    mesh.onMint(() => {
      asked += 1;
      if (asked < 3) throw fail(ErrorReason.UNAVAILABLE, "away");
      return "token-1";
    });
    mesh.model.reply({ text: "Here I am." });
    abandoned("", fresh, [{ id: crypto.randomUUID(), role: "user", content: "Are you there?" }]);
    await mesh.journal.reached(RunStatus.COMPLETED);
    expect(asked).toBe(3);
  });
});

describe("a run that another worker has claimed", () => {
  it("is let go of: its tools are stopped, nothing more is committed, and who waits gets the other one's answer", async () => {
    mesh.model.reply(callsFor("calculator"));
    const begun = Promise.withResolvers<void>();
    mesh.onExecute(() => {
      begun.resolve();
      return new Promise(() => {});
    });
    const watched = turnEvents();
    await begun.promise;
    const commits = mesh.journal.commits.length;
    const { journal } = mesh;
    const id = journal.run?.id ?? "";
    journal.info = createMessage(RunInfoSchema, { id, status: "completed", lastEventId: "3" });
    const message = createMessage(MessageSchema, { role: "assistant", content: "By another." });
    journal.events.push(
      createMessage(LoggedEventSchema, { seq: 2, type: "recovered" }),
      createMessage(LoggedEventSchema, {
        seq: 3,
        type: "completed",
        payload: '{"finish_reason":"stop"}',
        messages: [message],
      }),
    );
    journal.lost.add(id);
    const events = await watched;
    expect(events.map(({ type, eventId }) => [type, eventId])).toEqual([
      ["started", "0"],
      ["tool_call", "0.1"],
      ["reset", "2"],
      ["content", "2.11"],
      ["finish", "3"],
    ]);
    expect(events[2]?.since).toBe("1");
    expect(events.at(-1)?.message?.content).toBe("By another.");
    expect(journal.commits).toHaveLength(commits);
  });
});
