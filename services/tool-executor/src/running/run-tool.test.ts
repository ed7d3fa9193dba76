import { ErrorReason, fail } from "@turnwright/platform/errors";
import { createLogger } from "@turnwright/platform/logger";
import { expect, test } from "vitest";
import { z } from "zod";
import { attempt } from "../../testing/attempt.ts";
import { defineTool, type Tool, type ToolContext } from "../tool-definition/define-tool.ts";
import { registerTool } from "../tool-definition/registered-tool.ts";
import { runTool } from "./run-tool.ts";
import { Slots } from "./slots.ts";

const logger = createLogger({ service: "test", level: "silent" });

function run(init: Partial<Tool>, options: { signal?: AbortSignal; slots?: Slots } = {}) {
  const tool = defineTool({
    name: "tool",
    description: "A tool.",
    parameters: z.object({}),
    effect: "read",
    timeoutMs: 5_000,
    version: "1",
    execute: () => null,
    ...init,
  });
  const { signal = new AbortController().signal, slots = new Slots(1) } = options;
  return runTool({ slots, logger }, { registered: registerTool(tool as Tool), arguments: {} }, attempt(signal));
}

const untilAborted = (_args: unknown, { signal }: ToolContext) =>
  new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
const deaf = () => new Promise(() => {});

test("the return value of a tool is its output as JSON; undefined becomes null", async () => {
  expect(await run({ execute: () => ({ a: [1, undefined, Number.NaN] }) })).toMatchObject({ output: '{"a":[1,null,null]}' });
  expect(await run({ execute: async () => undefined })).toMatchObject({ status: "success", output: "null" });
});

test("the error that a tool throws is the call's error, at most 2,000 characters, without NUL", async () => {
  const thrown = (error: unknown) => () => {
    throw error;
  };
  expect(await run({ execute: thrown(new Error("no \0such page")) })).toMatchObject({ status: "failed", error: "no such page" });
  expect(await run({ execute: thrown(fail(ErrorReason.TOOL_FAILED, "bare")) })).toMatchObject({ error: "bare" });
  expect(await run({ execute: thrown("text") })).toMatchObject({ error: "text" });
  const long = await run({ execute: () => Promise.reject(new Error("x".repeat(9_999))) });
  expect(long.error?.length).toBe(2_000);
});

test("a result that is too long, too deep or not JSON is a failure", async () => {
  expect(await run({ execute: () => "\u20ac".repeat(700_000) })).toMatchObject({
    error: expect.stringContaining("larger than 2097152 bytes"),
  });
  const deep = JSON.parse(`${"[".repeat(33)}${"]".repeat(33)}`);
  expect(await run({ execute: () => deep })).toMatchObject({ error: expect.stringContaining("deeper") });
  expect(await run({ execute: () => 1n })).toMatchObject({ status: "failed", error: expect.stringContaining("BigInt") });
});

test("a tool that exceeds its time limit ends with a timeout, or unknown if its effect is once, and frees its slot", async () => {
  const slots = new Slots(1);
  expect(await run({ timeoutMs: 5, execute: untilAborted }, { slots })).toMatchObject({
    status: "failed",
    reason: ErrorReason.TOOL_TIMEOUT,
  });
  expect(await run({ timeoutMs: 5, effect: "once", execute: untilAborted }, { slots })).toMatchObject({
    status: "unknown",
    reason: ErrorReason.TOOL_TIMEOUT,
  });
  expect(await run({ timeoutMs: 5, execute: deaf }, { slots })).toMatchObject({
    status: "failed",
    reason: ErrorReason.TOOL_TIMEOUT,
  });
  expect(await run({}, { slots })).toMatchObject({ status: "success" });
});

test("a tool that succeeds in spite of its signal has succeeded", async () => {
  const controller = new AbortController();
  const execute = (_args: unknown, { signal }: ToolContext) =>
    new Promise((resolve) => {
      signal.addEventListener("abort", () => resolve("sent"), { once: true });
      controller.abort();
    });
  const outcome = await run({ effect: "once", execute }, { signal: controller.signal });
  expect(outcome).toMatchObject({ status: "success", output: '"sent"' });
});

test("a call that is cancelled before it has a slot never begins", async () => {
  const slots = new Slots(1);
  const release = await slots.take("other", new AbortController().signal);
  const controller = new AbortController();
  let begun = false;
  const execute = () => {
    begun = true;
  };
  const waiting = run({ effect: "once", execute }, { signal: controller.signal, slots });
  controller.abort();
  expect(await waiting).toMatchObject({ status: "cancelled" });
  release();
  expect(begun).toBe(false);
});
