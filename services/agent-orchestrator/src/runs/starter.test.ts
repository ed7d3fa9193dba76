import { create as createMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { MessageSchema } from "@turnwright/contract/conversation/v1/conversation";
import { RunContextSchema, RunInfoSchema, RunSchema, RunStatus } from "@turnwright/contract/conversation/v1/run";
import { ExecutionStatus } from "@turnwright/contract/tool/v1/tool";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { beforeEach, describe, expect, test } from "vitest";
import { approver, asApprover, testUser } from "../../testing/orchestrator.ts";
import { callsFor, create, failureOf, lastCommit, mesh, sent, useOrchestrator } from "../../testing/runs.ts";

useOrchestrator();

const decide = (approved = true) =>
  mesh.agent.approveConversation({ conversationId: mesh.journal.conversation.id, approved }, asApprover);
const offered = (index: number) => sent(index).tools?.map((tool) => tool.function.name);
const success = { status: ExecutionStatus.SUCCESS, output: "1" };
const why = "The API key that started this run was revoked.";
const refuse = () => {
  throw fail(ErrorReason.RUN_CREDENTIAL_ENDED, why);
};

describe("a run that a key started and another credential decides on", () => {
  beforeEach(async () => {
    mesh.identity.allowedTools = ["send_mail"];
    mesh.model.reply(callsFor("send_mail"), { text: "Sent." });
    await create();
  });

  test("resumes as the key: its tools are offered, its identity acts, its account is charged", async () => {
    expect(await decide()).toMatchObject({ status: "approved", response: "Sent." });
    expect(mesh.minted).toEqual([testUser]);
    expect([offered(0), offered(1)]).toEqual([["send_mail"], ["send_mail"]]);
    expect(mesh.executedAs).toEqual([testUser.tokenId]);
    await mesh.close();
    expect([...new Set(mesh.purse.usage.map(({ tokenId }) => tokenId))]).toEqual([testUser.tokenId]);
  });

  test("is charged to the key's ceiling", async () => {
    mesh.identity.spendLimitMicros = 1_000_000n;
    expect(await failureOf(decide())).toMatchObject({ reason: ErrorReason.SPEND_LIMIT, param: "model" });
  });

  test.each([true, false])(
    "ends with the cause once the key has ended, and executes nothing (approved: %s)",
    async (approved) => {
      mesh.onMint(refuse);
      mesh.journal.info = createMessage(RunInfoSchema, { status: "failed", error: why, lastEventId: "9" });
      mesh.journal.events.push({
        seq: 9,
        type: "failed",
        payload: '{"reason":"ERROR_REASON_RUN_CREDENTIAL_ENDED"}',
      } as never);
      expect(await failureOf(decide(approved))).toMatchObject({ reason: ErrorReason.RUN_CREDENTIAL_ENDED, message: why });
      expect(mesh.log.slice(-3)).toEqual(["decide", "mint", `abandon ${why}`]);
      expect(mesh.executed).toEqual([]);
      expect(mesh.model.requests).toHaveLength(1);
    },
  );

  test("goes on when the decider's credential ends", async () => {
    mesh.onExecute(async () => {
      await mesh.revoke(approver.tokenId);
      return success as never;
    });
    expect(await decide()).toMatchObject({ response: "Sent." });
  });

  test("goes on in the process that took the decision, although it shuts down, within its limit", async () => {
    const limit = new AbortController();
    await mesh.drain(limit.signal);
    mesh.onExecute(async () => success as never);
    expect(await decide()).toMatchObject({ response: "Sent." });
  });

  test("is left to another process when the limit of the one that took the decision is over; the decider is told", async () => {
    await mesh.drain(AbortSignal.abort());
    expect(await failureOf(decide())).toMatchObject({ reason: ErrorReason.RUN_HANDED_OVER });
    expect(mesh.executed).toEqual([]);
  });

  test("goes on when the decider leaves", async () => {
    const gone = new AbortController();
    mesh.onExecute(async () => {
      gone.abort();
      return success as never;
    });
    const { id: conversationId } = mesh.journal.conversation;
    const options = { ...asApprover, signal: gone.signal };
    await mesh.agent.approveConversation({ conversationId, approved: true }, options).catch(() => {});
    expect(await mesh.journal.reached(RunStatus.COMPLETED)).toMatchObject({ messages: [{ role: "tool" }, { content: "Sent." }] });
  });

  test("ends with the key while it runs; the decider learns the cause, which is not their own credential", async () => {
    mesh.onExecute(async () => {
      await mesh.revoke(testUser.tokenId);
      return success as never;
    });
    expect(await failureOf(decide())).toMatchObject({ reason: ErrorReason.RUN_CREDENTIAL_ENDED });
    expect(lastCommit()).toMatchObject({ status: RunStatus.FAILED });
    expect(mesh.model.requests).toHaveLength(1);
  });

  test("ends with a key that ends while auth mints for it", async () => {
    let asked = 0;
    mesh.onMint(async () => {
      asked += 1;
      if (asked > 1) return refuse();
      await mesh.revoke(testUser.tokenId);
      return "token-1";
    });
    mesh.journal.info = createMessage(RunInfoSchema, { status: "failed", error: why, lastEventId: "0" });
    await decide().catch(() => {});
    expect(mesh.log).toContain(`abandon ${why}`);
    expect(mesh.executed).toEqual([]);
  });

  test("waits for auth during an outage", async () => {
    let asked = 0;
    mesh.onMint(() => {
      asked += 1;
      if (asked === 1) throw fail(ErrorReason.UNAVAILABLE, "Auth is away.");
      return "token-1";
    });
    expect(await decide()).toMatchObject({ response: "Sent." });
    expect(asked).toBe(2);
  });
});

describe("a run that a key started and another credential reviews", () => {
  const review = () => {
    mesh.journal.info = createMessage(RunInfoSchema, {
      id: mesh.journal.run?.id,
      status: "needs_review",
      unsettledCalls: [{ id: "call_calculator_0" }],
    });
    const calls = [{ callId: "call_calculator_0", outcome: "not_done" }];
    return mesh.runs.reviewRun({ runId: mesh.journal.run?.id, calls }, asApprover);
  };
  beforeEach(async () => {
    mesh.identity.allowedTools = ["calculator"];
    mesh.model.reply(callsFor("calculator"), { text: "Settled." });
    mesh.onExecute(() => ({ status: ExecutionStatus.UNKNOWN }) as never);
    await create().catch(() => {});
    mesh.onExecute(() => success as never);
  });

  test("resumes as the key", async () => {
    await review();
    await mesh.journal.reached(RunStatus.COMPLETED);
    expect(mesh.minted).toEqual([testUser]);
    expect(offered(1)).toEqual(["calculator"]);
    expect(mesh.executedAs).toEqual([testUser.tokenId, testUser.tokenId]);
  });

  test("ends with the cause once the key has ended", async () => {
    mesh.onMint(refuse);
    await review();
    expect(mesh.log.slice(-2)).toEqual(["mint", `abandon ${why}`]);
    expect(mesh.model.requests).toHaveLength(1);
  });
});

describe("a run", () => {
  test("is driven only as the credential that started it, whatever auth answers", async () => {
    const { journal } = mesh;
    const run = { id: crypto.randomUUID(), conversationId: journal.conversation.id, ...approver, epoch: 2 };
    journal.abandoned.push(
      createMessage(RunContextSchema, { run, conversation: journal.conversation, messages: [{ role: "user" }] }),
    );
    // The fixture's auth answers with another credential than the one asked for; it is asked again.
    await expect.poll(() => mesh.minted.length, { timeout: 5_000 }).toBe(2);
    expect(mesh.model.requests).toEqual([]);
  });
});

describe("a message of a key that was revoked while the message was in flight", () => {
  test("is not answered", async () => {
    await mesh.revoke(testUser.tokenId);
    mesh.onMint(refuse);
    mesh.journal.info = createMessage(RunInfoSchema, { status: "failed", error: why, lastEventId: "1" });
    mesh.journal.events.push({ seq: 1, type: "failed", payload: '{"reason":"ERROR_REASON_RUN_CREDENTIAL_ENDED"}' } as never);
    expect(await failureOf(create())).toMatchObject({ reason: ErrorReason.INVALID_TOKEN, message: why });
    expect(mesh.model.requests).toEqual([]);
  });

  test("is not answered when the secret that admitted it was replaced", async () => {
    await mesh.revoke(testUser.tokenId);
    mesh.onMint(() => {
      mesh.identity.secretVersion = 2;
      return "token-of-the-new-secret";
    });
    mesh.journal.info = createMessage(RunInfoSchema, { status: "failed", error: why, lastEventId: "1" });
    mesh.journal.events.push({ seq: 1, type: "failed", payload: '{"reason":"ERROR_REASON_RUN_CREDENTIAL_ENDED"}' } as never);
    expect(await failureOf(create())).toMatchObject({ reason: ErrorReason.INVALID_TOKEN });
    expect(mesh.model.requests).toEqual([]);
  });

  test("is answered when the key only changed, within its new policy", async () => {
    await mesh.revoke(testUser.tokenId);
    mesh.model.reply({ text: "Hello." });
    expect((await create()).response).toBe("Hello.");
    expect(mesh.minted).toEqual([testUser]);
  });
});

describe("a run whose worker has died", () => {
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

  test("resumes from the user's message, with a token minted for it and its conversation's agent", async () => {
    mesh.model.reply({ text: "Here I am." });
    const runId = abandoned("", fresh, [{ id: crypto.randomUUID(), role: "user", content: "Are you there?" }]);
    const commit = await mesh.journal.reached(RunStatus.COMPLETED);
    expect(commit).toMatchObject({ runId, epoch: 2, agent: "coder", messages: [{ content: "Here I am." }] });
    expect(mesh.minted).toEqual([testUser]);
    expect(sent(0).messages.at(-1)).toEqual({ role: "user", content: "Are you there?" });
  });

  test("resumes in the middle of a round: calls with results are not executed again", async () => {
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

  test("ends when the credential that it acted with has ended", async () => {
    mesh.onMint(() => {
      throw fail(ErrorReason.RUN_CREDENTIAL_ENDED, "The API key that started this run was revoked.");
    });
    abandoned("", fresh, [{ id: crypto.randomUUID(), role: "user", content: "Are you there?" }]);
    await expect.poll(() => mesh.log, { timeout: 5_000 }).toContain("abandon The API key that started this run was revoked.");
    expect(mesh.model.requests).toHaveLength(0);
  });

  test("is retried during an outage of auth", async () => {
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
