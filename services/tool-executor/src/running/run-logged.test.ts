import { ErrorReason, fail } from "@turnwright/platform/errors";
import { createFailureLog } from "@turnwright/platform/failure-log";
import { createLoggedLines } from "@turnwright/testing/logged-lines";
import { expect, test } from "vitest";
import { z } from "zod";
import { attempt } from "../../testing/attempt.ts";
import { checkArguments } from "../calls/checked-call.ts";
import { defineTool, type Tool } from "../tool-definition/define-tool.ts";
import { registerTool } from "../tool-definition/registered-tool.ts";
import { runLogged } from "./run-logged.ts";
import { Slots } from "./slots.ts";

const secret = "someone.special@example.com";

/** Runs a tool with an argument and gives the lines of the log. */
async function linesOf(init: Partial<Tool>, signal?: AbortSignal) {
  const { logger, lines } = createLoggedLines();
  const tool = defineTool({
    name: "mailer",
    description: "A tool.",
    parameters: z.object({ to: z.string() }),
    effect: "read",
    timeoutMs: 5_000,
    version: "1",
    execute: () => null,
    ...(init as object),
  });
  const call = checkArguments(registerTool(tool as Tool), "call_1", JSON.stringify({ to: secret }));
  const running = { slots: new Slots(1), logger, failures: createFailureLog(logger) };
  const result = await runLogged(running, call, { ...attempt(signal), runId: "run", conversationId: "conversation" });
  return { result, lines };
}
const thrown = (error: unknown) => () => {
  throw error;
};
const ids = { tool: "mailer", call_id: "call_1", run_id: "run", conversation_id: "conversation", user_id: "u" };

test("a tool call that fails is logged once, with the code of its cause and without the tool's words", async () => {
  const refused = Object.assign(new Error(`connect to ${secret}`), { code: "ECONNREFUSED" });
  const { lines, result } = await linesOf({ execute: thrown(new Error(`no mail to ${secret}`, { cause: refused })) });
  expect(result).toMatchObject({ status: "failed", error: `no mail to ${secret}` });
  expect(lines).toMatchObject([
    {
      level: "warn",
      msg: "tool call failed",
      ...ids,
      reason: "ERROR_REASON_TOOL_FAILED",
      cause: "ECONNREFUSED",
      outcome: "failed",
      duration_ms: expect.any(Number),
      at: expect.stringMatching(/run-logged\.test\.ts:\d+:\d+$/),
    },
  ]);
  expect(JSON.stringify(lines)).not.toContain(secret);
});

test("words of ours about a failed tool call are logged, unless they repeat its arguments", async () => {
  const cause = Object.assign(new Error("x"), { status: 502 });
  const ours = (words: string) => fail(ErrorReason.TOOL_FAILED, words, { cause });
  const told = await linesOf({ execute: thrown(ours("The search API answered with status 502.")) });
  expect(told.lines).toMatchObject([{ level: "warn", status: 502, error: "The search API answered with status 502." }]);
  const quoting = await linesOf({ execute: thrown(ours(`${secret} cannot be reached.`)) });
  expect(quoting.lines).toMatchObject([{ level: "warn", status: 502, reason: "ERROR_REASON_TOOL_FAILED" }]);
  expect(JSON.stringify(quoting.lines)).not.toContain(secret);
});

test("a tool call that runs into its time limit is logged with that reason, also when its outcome is unknown", async () => {
  const deaf = () => new Promise(() => {});
  const late = await linesOf({ timeoutMs: 5, execute: deaf });
  expect(late.lines.filter(({ msg }) => msg === "tool call failed")).toMatchObject([
    { level: "warn", reason: "ERROR_REASON_TOOL_TIMEOUT", error: "The tool ran into its time limit of 5 ms.", ...ids },
  ]);
  const once = await linesOf({ timeoutMs: 5, effect: "once", execute: deaf });
  expect(once.lines.filter(({ msg }) => msg === "tool call failed")).toMatchObject([{ level: "warn", outcome: "unknown" }]);
});

test("a tool call that succeeds, is cancelled or was asked for wrongly is no warning", async () => {
  expect((await linesOf({})).lines).toEqual([]);
  expect((await linesOf({}, AbortSignal.abort())).lines).toEqual([]);
  const wrong = fail(ErrorReason.INVALID_TOOL_ARGUMENTS, `to: no such ${secret}`, { param: "to" });
  const { lines } = await linesOf({ execute: thrown(wrong) });
  expect(lines).toMatchObject([
    { level: "info", msg: "tool call refused", reason: "ERROR_REASON_INVALID_TOOL_ARGUMENTS", ...ids },
  ]);
  expect(JSON.stringify(lines)).not.toContain(secret);
});
