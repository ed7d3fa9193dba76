import { create as createMessage } from "@bufbuild/protobuf";
import { RunContextSchema, RunStatus } from "@turnwright/contract/conversation/v1/run";
import { ExecutionStatus } from "@turnwright/contract/tool/v1/tool";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { describe, expect, test } from "vitest";
import { asUser } from "../../testing/orchestrator.ts";
import { approve, failureOf, lastCommit, mesh, roles, useOrchestrator } from "../../testing/runs.ts";

useOrchestrator();

const args = '{ "to":9007199254740993 , "text":"\\u0041" }';
const tryTool = (toolName: string, argumentsJson = args) => mesh.trials.tryTool({ toolName, argumentsJson }, asUser);

describe("the trial of a tool that needs no approval", () => {
  test("runs at once, with the arguments byte for byte, and stores no run", async () => {
    mesh.onExecute(() => ({ status: ExecutionStatus.SUCCESS, output: '{"big":9007199254740993}', durationMs: 3 }));
    expect(await tryTool("calculator")).toMatchObject({
      status: "completed",
      outputJson: '{"big":9007199254740993}',
      durationMs: 3,
      runId: "",
    });
    expect(mesh.executed).toMatchObject([{ runId: "", calls: [{ name: "calculator", arguments: args, grant: "" }] }]);
    expect(mesh.log).toEqual(["execute calculator"]);
  });

  test("that fails is told so", async () => {
    mesh.onExecute(() => ({ status: ExecutionStatus.FAILED, error: "It is broken." }));
    expect(await tryTool("calculator")).toMatchObject({ status: "failed", error: "It is broken.", outputJson: "" });
  });

  test("waits after all when the tool has come to need approval", async () => {
    mesh.onExecute(() => ({ status: ExecutionStatus.REFUSED, error: "needs approval", unapprovedVersion: "2" }));
    const { status, approval } = await tryTool("calculator");
    expect(status).toBe("waiting");
    expect(approval).toMatchObject({ toolName: "calculator", toolVersion: "2", arguments: args });
  });
});

describe("the trial of a tool that needs approval", () => {
  test("is a run of this one call, which waits, and calls no model", async () => {
    const { status, approval, runId, conversationId } = await tryTool("send_mail");
    expect(status).toBe("waiting");
    expect(approval).toMatchObject({ runId, conversationId, toolName: "send_mail", toolVersion: "7", arguments: args });
    expect(mesh.log).toEqual(["begin", "commit RUNNING", "commit WAITING"]);
    expect(mesh.executed).toEqual([]);

    expect(await approve(true)).toMatchObject({ status: "approved", response: expect.stringContaining("send_mail has ended") });
    expect(mesh.executed).toMatchObject([{ runId, calls: [{ name: "send_mail", arguments: args }] }]);
    expect(roles()).toEqual(["user", "assistant", "tool send_mail", "assistant"]);
    expect(lastCommit()).toMatchObject({ status: RunStatus.COMPLETED, cost: 0, usage: { totalTokens: 0 }, finishReason: "stop" });
    expect(mesh.model.requests).toEqual([]);
  });

  test("needs no model that its key may use", async () => {
    mesh.identity.allowedModels = ["gpt-other"];
    expect((await tryTool("send_mail")).status).toBe("waiting");
    expect((await approve(false, "no")).status).toBe("rejected");
    expect(mesh.executed).toEqual([]);
    expect(mesh.journal.messages[2]?.content).toContain("rejected this call: no");
    expect(mesh.model.requests).toEqual([]);
  });

  test("goes on with its call in another process when the first one dies before the call is stored", async () => {
    mesh.journal.beforeCommit = () => {
      throw fail(ErrorReason.STALE_EPOCH, "taken over");
    };
    // Its client follows the run wherever it is driven.
    const waiting = tryTool("send_mail").catch(() => undefined);
    await expect.poll(() => mesh.journal.run).toBeDefined();
    mesh.journal.beforeCommit = () => {};
    const { journal } = mesh;
    const state = JSON.stringify({ trial: { name: "send_mail", arguments: args } });
    const run = { ...journal.run, id: crypto.randomUUID(), epoch: 2, state, node: "think" };
    journal.abandoned.push(
      createMessage(RunContextSchema, { run: run as never, conversation: journal.conversation, messages: journal.messages }),
    );
    const { approvals } = await journal.reached(RunStatus.WAITING);
    expect(approvals).toMatchObject([{ toolName: "send_mail", arguments: args }]);
    expect(mesh.model.requests).toEqual([]);
    void waiting;
  });
});

describe("a trial is refused", () => {
  test("as its call would be, before anything is stored", async () => {
    mesh.onCall((method) => {
      if (method === "CheckCall") throw fail(ErrorReason.INVALID_TOOL_ARGUMENTS, "to: wrong", { param: "to" });
    });
    expect(await failureOf(tryTool("send_mail"))).toMatchObject({ reason: ErrorReason.INVALID_TOOL_ARGUMENTS, param: "to" });
    expect(mesh.log).toEqual([]);
  });

  test.each(["[1]", "{", "null", `${'{"a":'.repeat(40)}1${"}".repeat(40)}`])("with the arguments %s", async (text) => {
    expect(await failureOf(tryTool("send_mail", text))).toMatchObject({ reason: ErrorReason.INVALID_REQUEST });
    expect(mesh.log).toEqual([]);
  });
});
