import { create as createMessage } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { CommitRunRequest } from "@turnwright/contract/conversation/v1/journal_service";
import { RunContextSchema, RunStatus } from "@turnwright/contract/conversation/v1/run";
import { ExecutionStatus } from "@turnwright/contract/tool/v1/tool";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { ScriptedReply } from "@turnwright/testing/scripted-model";
import { describe, expect, test } from "vitest";
import { asUser } from "../../testing/orchestrator.ts";
import { callsFor, create, mesh, roles, sent, useOrchestrator } from "../../testing/runs.ts";

useOrchestrator();

/** Refusals that the same call would get again: by our rules, by the transport, by the database, by a defect. */
const refusals = {
  validation: () => fail(ErrorReason.INVALID_REQUEST, "calls[0].name: value length must be at most 200 characters"),
  "too large a message": () => new ConnectError("Sent message larger than max (9000000 vs. 8388608)", Code.ResourceExhausted),
  "an unexpected error": () => new ConnectError("invalid int32: 12.5", Code.Internal),
  "a conflict": () => fail(ErrorReason.CONFLICT, "There is such a message."),
};
const kinds = Object.keys(refusals) as (keyof typeof refusals)[];

/** A turn in which the model gives these replies. */
const turn =
  (...replies: ScriptedReply[]) =>
  () => {
    mesh.model.reply(...replies);
    return create();
  };

/** The commits and calls of runs, each with a turn that makes it. */
const places: Record<string, { method: string; status?: RunStatus; start: () => Promise<unknown> }> = {
  "the commit of an answer": {
    method: "CommitRun",
    status: RunStatus.COMPLETED,
    start: turn({ text: "Hello." }),
  },
  "the commit of tool calls": {
    method: "CommitRun",
    status: RunStatus.RUNNING,
    start: turn(callsFor("calculator")),
  },
  "the commit of approvals": {
    method: "CommitRun",
    status: RunStatus.WAITING,
    start: turn(callsFor("send_mail")),
  },
  "the commit for a review": {
    method: "CommitRun",
    status: RunStatus.NEEDS_REVIEW,
    start() {
      mesh.onExecute(() => ({ status: ExecutionStatus.UNKNOWN, error: "Nobody knows." }));
      mesh.model.reply(callsFor("calculator"));
      return create();
    },
  },
  "the commit of a pause": {
    method: "CommitRun",
    status: RunStatus.QUEUED,
    async start() {
      mesh.model.reply({ status: 503, error: "away" }, { status: 503, error: "away" }, { status: 503, error: "away" });
      await mesh.runs.createRun({ message: "hi" }, asUser);
      await expect.poll(ended, { timeout: 10_000 }).toBe(true);
      throw new Error("ended");
    },
  },
  "the commit of a failure": {
    method: "CommitRun",
    status: RunStatus.FAILED,
    start: turn({ status: 400, error: "no" }),
  },
  "every commit": { method: "CommitRun", start: turn(callsFor("calculator")) },
  "the execution of calls": {
    method: "ExecuteCalls",
    start: turn(callsFor("calculator", "web_search"), { text: "I see." }),
  },
  "the check of a call": {
    method: "CheckCall",
    start: turn(callsFor("send_mail"), { text: "I see." }),
  },
  "the list of tools": { method: "DescribeTools", start: () => create() },
};

const ended = () =>
  mesh.log.some((entry) => /^(commit (FAILED|COMPLETED)|abandon )/.test(entry)) &&
  (mesh.journal.run?.status === RunStatus.FAILED || mesh.journal.run?.status === RunStatus.COMPLETED);

describe.each(kinds)("%s", (kind) => {
  test.each(Object.keys(places))("of %s leaves no run running, and the next message is answered", async (name) => {
    const place = places[name] as (typeof places)[string];
    mesh.onCall((method, request) => {
      const { status } = request as CommitRunRequest;
      if (method === place.method && (place.status === undefined || place.status === status)) throw refusals[kind]();
    });
    const outcome = await place.start().then(
      () => "answered",
      () => "failed",
    );
    await expect.poll(ended, { timeout: 5_000 }).toBe(true);
    expect(outcome).toBe(mesh.journal.run?.status === RunStatus.COMPLETED ? "answered" : "failed");
    expect(mesh.model.requests.length).toBeLessThanOrEqual(name === "the commit of a pause" ? 3 : 2);
    const stored = mesh.journal.commits.findLast(({ status }) => status === RunStatus.FAILED)?.error;
    const told = stored ?? mesh.log.findLast((entry) => entry.startsWith("abandon "));
    if (mesh.journal.run?.status === RunStatus.FAILED) expect(told).toMatch(/\w{3}/);

    mesh.onCall(() => {});
    mesh.onExecute(() => ({ status: ExecutionStatus.SUCCESS, output: "1" }));
    mesh.model.reply({ text: "Still here." });
    // The failed turn may have left a scripted answer.
    expect((await create("again")).response).toMatch(/^(Still here|I see)\.$/);
  });
});

describe("a refused call", () => {
  test("is told to the model as an error, and the calls beside it run", async () => {
    mesh.onCall((method, request) => {
      const calls = (request as { calls?: { name: string }[] }).calls ?? [];
      if (method === "ExecuteCalls" && calls.some(({ name }) => name === "web_search")) throw refusals.validation();
    });
    mesh.model.reply(callsFor("calculator", "web_search"), { text: "I see." });
    expect((await create()).response).toBe("I see.");
    const [, , ran, refused] = sent(1).messages.slice(-4);
    expect([ran?.content, refused?.content]).toEqual([
      '{"ran":"calculator"}',
      expect.stringMatching(/^\{"error":"The executor did not take this call.*at most 200 characters"\}$/),
    ]);
  });

  test("whose results are too large together are cut to what one commit takes", async () => {
    const output = JSON.stringify("x".repeat(1_500_000));
    mesh.onExecute(() => ({ status: ExecutionStatus.SUCCESS, output }));
    mesh.model.reply(callsFor("calculator", "calculator", "calculator"), { text: "I see." });
    await create();
    const results = mesh.journal.messages.filter(({ role }) => role === "tool").map(({ content }) => content);
    expect(results.map(({ length }) => length < 1_000)).toEqual([false, false, true]);
    expect(results[2]).toContain("1500002 bytes is left out");
  });
});

describe("a bad tool call", () => {
  const calls = (name: string, args = "{}", id = "call_1") => ({ calls: [{ id, name, arguments: args }] });
  const many = { calls: Array.from({ length: 300 }, (_, at) => ({ id: `call_${at}`, name: "calculator", arguments: "{}" })) };

  test.each([
    ["without a name", calls("")],
    ["with a name of 150 characters", calls("x".repeat(150))],
    ["with a name of 250 characters", calls("x".repeat(250))],
    ["with NUL in its name", calls("calc\0ulator")],
    ["with half a surrogate pair in its name", calls("calc\ud800")],
    ["with arguments that are no JSON", calls("calculator", '{"a":')],
    ["with a list as arguments", calls("calculator", "[1]")],
    ["with arguments of 300 KiB", calls("calculator", `{"a":"${"x".repeat(300 * 1_024)}"}`)],
    ["with arguments of 5 MB", calls("calculator", `{"a":"${"x".repeat(5_000_000)}"}`)],
    ["with arguments that nest too deeply", calls("calculator", `${'{"a":'.repeat(60)}1${"}".repeat(60)}`)],
    ["among 300", many],
  ])("%s is answered with an error in the commit that stores it, and does not run", async (_, reply) => {
    mesh.model.reply(reply, { text: "Sorry." });
    expect((await create()).response).toBe("Sorry.");
    expect(mesh.executed).toHaveLength(0);
    const [intent] = mesh.journal.commits;
    const [assistant, ...results] = intent?.messages ?? [];
    expect(assistant?.toolCalls).toHaveLength(Math.min(reply.calls.length, 128));
    expect(results.map(({ toolCallId }) => toolCallId)).toEqual(assistant?.toolCalls.map(({ id }) => id));
    for (const { content } of results) expect(JSON.parse(content)).toEqual({ error: expect.stringMatching(/\w/) });
    for (const { function: called } of assistant?.toolCalls ?? []) {
      expect(called?.name).toMatch(/^(calculator|invalid_tool_call)$/);
      expect(called?.arguments).toBe("{}");
    }
    expect(mesh.model.requests).toHaveLength(2);
    expect(Buffer.byteLength(JSON.stringify(sent(1)))).toBeLessThan(120_000);
  });

  test.each(["x".repeat(5_000), "", "a b", "ü"])("with the id %j gets an id of ours and runs", async (id) => {
    mesh.model.reply(calls("calculator", "{}", id), { text: "4" });
    await create();
    expect(mesh.executed[0]?.calls[0]?.callId).toMatch(/^call_\w{24}$/);
  });

  test("leaves good calls beside it alone", async () => {
    const [good] = callsFor("calculator").calls ?? [];
    const bad = { id: "bad", name: "", arguments: "{" };
    mesh.model.reply({ calls: [bad, ...(good === undefined ? [] : [good])] }, { text: "4" });
    await create();
    expect(mesh.executed.map((request) => request.calls.map(({ name }) => name))).toEqual([["calculator"]]);
    expect(roles()).toEqual(["user", "assistant", "tool invalid_tool_call", "tool calculator", "assistant"]);
  });

  test("that the model repeats ends with the limit of rounds", async () => {
    mesh.model.reply(calls(""), calls(""), calls(""), { text: "never" });
    await expect(create()).rejects.toThrow("3 times without an answer");
    expect(mesh.model.requests).toHaveLength(3);
  });
});

describe("cancelling", () => {
  test.each(kinds.slice(0, 2))("is not held up by an executor that refuses to look at the calls: %s", async (kind) => {
    mesh.model.reply(callsFor("send_mail", "calculator"));
    await create();
    mesh.onCall((method) => {
      if (method === "CancelCalls") throw refusals[kind]();
    });
    await mesh.runs.cancelRun({ runId: mesh.journal.run?.id }, asUser);
    expect(mesh.log.slice(-2)).toEqual(["cancel", "receipt call_send_mail_0 unknown"]);
  });

  test("asks for the calls of an older release in portions that the executor takes", async () => {
    mesh.model.reply(callsFor("send_mail"));
    await create();
    const [asked] = mesh.journal.messages.filter(({ toolCalls }) => toolCalls.length > 0);
    const [call] = asked?.toolCalls ?? [];
    if (asked === undefined || call === undefined) throw new Error("no call was stored");
    asked.toolCalls = Array.from({ length: 200 }, (_, at) => ({ ...call, id: `c${at}` }));
    const portions: number[] = [];
    mesh.onCall((method, request) => {
      if (method === "CancelCalls") portions.push((request as { callIds: string[] }).callIds.length);
    });
    await mesh.runs.cancelRun({ runId: mesh.journal.run?.id }, asUser);
    expect(portions).toEqual([128, 72]);
    expect(mesh.log.filter((entry) => entry.endsWith("not_started"))).toHaveLength(200);
  });
});

describe("a claimed run that fails in the same way", () => {
  const claimAgain = (claims = 1) => {
    const { run, conversation, messages } = mesh.journal;
    if (run === undefined) throw new Error("no run has begun");
    mesh.journal.run = { ...run, epoch: run.epoch + claims, status: RunStatus.RUNNING };
    mesh.journal.abandoned.push(createMessage(RunContextSchema, { run: mesh.journal.run, conversation, messages }));
  };

  test("is ended with the failure that could not be stored, and the model is not asked again", async () => {
    mesh.onCall((method) => {
      if (method === "CommitRun" || method === "AbandonRun") throw refusals.validation();
    });
    mesh.model.reply({ text: "Hello." });
    await expect(create()).rejects.toThrow("could not be stored");
    expect(mesh.journal.run?.status).toBe(RunStatus.RUNNING);
    mesh.onCall(() => {});
    claimAgain();
    await expect.poll(() => mesh.journal.run?.status, { timeout: 5_000 }).toBe(RunStatus.FAILED);
    const error = "A step of the run could not be stored: calls[0].name: value length must be at most 200 characters";
    expect(mesh.log.at(-1)).toBe(`abandon ${error}`);
    expect(mesh.model.requests).toHaveLength(1);
  });

  test("goes on when another worker has driven it meanwhile", async () => {
    mesh.onCall((method) => {
      if (method === "CommitRun" || method === "AbandonRun") throw refusals.validation();
    });
    mesh.model.reply({ text: "Hello." }, { text: "Hello again." });
    await expect(create()).rejects.toThrow("could not be stored");
    mesh.onCall(() => {});
    claimAgain(2);
    expect((await mesh.journal.reached(RunStatus.COMPLETED)).messages.at(-1)?.content).toBe("Hello again.");
  });

  test.each([
    ["auth refuses its token", () => fail(ErrorReason.PERMISSION_DENIED, "agent-orchestrator may not call this.")],
    ["auth has a defect", () => fail(ErrorReason.INTERNAL, "Something went wrong on our side.")],
  ])("is ended after three tries when %s", async (_, refusal) => {
    let tries = 0;
    mesh.onMint(() => {
      tries += 1;
      throw refusal();
    });
    mesh.model.reply(callsFor("send_mail"));
    await create();
    claimAgain();
    await expect.poll(() => mesh.log.at(-1), { timeout: 8_000 }).toBe(`abandon ${refusal().rawMessage}`);
    expect(tries).toBe(3);
  });
});
