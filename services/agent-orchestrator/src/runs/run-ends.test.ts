import { create as createMessage } from "@bufbuild/protobuf";
import { MessageSchema } from "@turnwright/contract/conversation/v1/conversation";
import { LoggedEventSchema, RunInfoSchema, RunStatus } from "@turnwright/contract/conversation/v1/run";
import { ExecutionStatus } from "@turnwright/contract/tool/v1/tool";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { describe, expect, test, vi } from "vitest";
import { asUser, startOrchestrator, testUser } from "../../testing/orchestrator.ts";
import { callsFor, create, failureOf, lastCommit, mesh, roles, streamEvents, useOrchestrator } from "../../testing/runs.ts";

useOrchestrator();

describe("a failure", () => {
  test("of the model is committed and reported", async () => {
    mesh.model.reply({ status: 400, error: "context too long" });
    expect(await failureOf(create())).toMatchObject({ reason: ErrorReason.MODEL_REJECTED, message: "context too long" });
    expect(mesh.log).toEqual(["begin", "commit FAILED"]);
    expect(lastCommit()).toMatchObject({ error: "context too long", node: "respond" });
  });

  test("in mid-stream ends the stream after the pieces that arrived", async () => {
    mesh.model.reply({ text: "one two three", cutAfter: 3 });
    const seen: string[] = [];
    const reading = (async () => {
      for await (const { type } of mesh.agent.streamTurn({ message: "hi" }, asUser)) seen.push(type);
    })();
    expect(await failureOf(reading)).toMatchObject({ reason: ErrorReason.MODEL_FAILED });
    expect(seen).toEqual(["started", "content", "content"]);
    expect(lastCommit()?.status).toBe(RunStatus.FAILED);
  });

  test("of an executor keeps the messages before it", async () => {
    mesh.onExecute(() => {
      throw fail(ErrorReason.CONFLICT, "The executor cannot hold this.");
    });
    mesh.model.reply(callsFor("calculator"));
    expect(await failureOf(create())).toMatchObject({ reason: ErrorReason.CONFLICT });
    expect(lastCommit()).toMatchObject({ status: RunStatus.FAILED, error: "The executor cannot hold this." });
  });

  test("by a short outage of an executor or the journal is waited out", async () => {
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
    // The journal recognizes a repeated commit by the sequence number of the entry before it.
    expect(mesh.journal.commits.map(({ seq }) => seq)).toEqual([0, 1]);
    expect(roles()).toEqual(["user", "assistant", "tool calculator", "assistant"]);
  });

  test("that is unexpected is not described in the record", async () => {
    mesh.model.reply(callsFor("calculator"));
    mesh.onExecute(() => ({ callId: "another", status: ExecutionStatus.SUCCESS }) as never);
    expect(await failureOf(create())).toMatchObject({ reason: ErrorReason.INTERNAL });
    expect(lastCommit()?.status).toBe(RunStatus.FAILED);
  });

  test("to commit, because another worker owns the run, leaves the run alone", async () => {
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

  test("of the journal to store the messages ends the run without them, and the model is not asked again", async () => {
    mesh.journal.beforeCommit = ({ messages }) => {
      if (messages.length > 0) throw fail(ErrorReason.INVALID_REQUEST, "messages[0].content: is too long");
    };
    mesh.model.reply({ text: "An answer that no record takes." });
    const error = "A step of the run could not be stored: messages[0].content: is too long";
    expect(await failureOf(create())).toMatchObject({ reason: ErrorReason.INTERNAL, message: error });
    expect(mesh.log).toEqual(["begin", "commit FAILED"]);
    expect(lastCommit()).toMatchObject({ status: RunStatus.FAILED, error, messages: [] });
    expect(mesh.model.requests).toHaveLength(1);
  });

  test("of the model to count whole tokens is no failure of the run: they are estimated", async () => {
    const usage = { prompt_tokens: 12.5, completion_tokens: -3, total_tokens: 15.75 };
    mesh.model.reply({ text: "Hello.", usage });
    expect((await create()).response).toBe("Hello.");
    const { promptTokens = 0, completionTokens = 0 } = lastCommit()?.usage ?? {};
    expect(promptTokens).toBeGreaterThan(100);
    expect(completionTokens).toBe(2);
  });

  test("of the journal executes no tool whose intent is not stored", async () => {
    mesh.journal.beforeCommit = ({ status }) => {
      if (status === RunStatus.RUNNING) throw fail(ErrorReason.INTERNAL, "The journal broke.");
    };
    mesh.model.reply(callsFor("calculator"));
    expect(await failureOf(create())).toMatchObject({ reason: ErrorReason.INTERNAL });
    expect(mesh.executed).toHaveLength(0);
  });
});

describe("a caller that leaves", () => {
  test("does not stop a run that it waited for", async () => {
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

  test("does not stop a run that it watched", async () => {
    const gate = Promise.withResolvers<void>();
    mesh.model.reply({ text: "one two", pauseAfter: { pieces: 2, gate: gate.promise } });
    for await (const event of mesh.agent.streamTurn({ message: "hi" }, asUser)) if (event.type === "content") break;
    gate.resolve();
    expect((await mesh.journal.reached(RunStatus.COMPLETED)).messages[0]?.content).toBe("one two");
  });

  test("leaves no run that no worker drives", async () => {
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
  test("stops its tools for good at its deadline: no worker will ask for them again", async () => {
    const brief = await startOrchestrator({ AGENT_RUN_TIMEOUT: "100ms" });
    brief.onExecute(() => new Promise(() => {}));
    brief.model.reply({ calls: [{ id: "c1", name: "calculator", arguments: "{}" }] });
    const work = brief.agent.createConversation({ message: "hi" }, asUser);
    expect(await failureOf(work)).toMatchObject({ reason: ErrorReason.DEADLINE_EXCEEDED });
    await expect.poll(() => brief.log).toContain("cancel c1");
    await brief.close();
  });

  test("ends at its deadline: the model call is aborted and the run fails", async () => {
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

  test("renews its credentials", async () => {
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

  test("ends when its credential was revoked", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    mesh.onMint(() => {
      throw fail(ErrorReason.RUN_CREDENTIAL_ENDED, "The credential was revoked.");
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

  test("goes on with its old token during an outage of auth", async () => {
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
  test("ends its runs and their tools, and each run states the cause", async () => {
    mesh.model.reply(callsFor("calculator"));
    const begun = Promise.withResolvers<void>();
    mesh.onExecute(() => {
      begun.resolve();
      return new Promise(() => {});
    });
    const answer = failureOf(create());
    await begun.promise;
    await mesh.revoke(testUser.tokenId);
    await expect(answer).resolves.toMatchObject({ reason: ErrorReason.INVALID_TOKEN });
    expect(lastCommit()).toMatchObject({ status: RunStatus.FAILED, error: "The credential that the run acted with has ended." });
  });

  test("leaves other credentials' runs alone", async () => {
    mesh.model.reply(callsFor("calculator"), { text: "42" });
    mesh.onExecute(async (call) => {
      await mesh.revoke(crypto.randomUUID());
      return { status: ExecutionStatus.SUCCESS, output: call.name } as never;
    });
    await expect(create()).resolves.toMatchObject({ response: "42" });
  });
});

describe("a run that another worker has claimed", () => {
  test("is dropped: its tools are stopped, nothing more is committed, and a waiting client gets the other worker's answer", async () => {
    mesh.model.reply(callsFor("calculator"));
    const begun = Promise.withResolvers<void>();
    mesh.onExecute(() => {
      begun.resolve();
      return new Promise(() => {});
    });
    const watched = streamEvents();
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
