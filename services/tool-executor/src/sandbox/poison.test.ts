import { existsSync } from "node:fs";
import { join } from "node:path";
import { ErrorReason } from "@turnwright/platform/errors";
import { createLogger } from "@turnwright/platform/logger";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { attempt } from "../../testing/attempt.ts";
import { livingSandboxes } from "../../testing/living-sandboxes.ts";
import type { CallResult } from "../calls/call-result.ts";
import { type CustomTools, loadCustomTools } from "../registry/custom-tools.ts";
import { runTool } from "../running/run-tool.ts";
import { Slots } from "../running/slots.ts";
import type { RegisteredTool } from "../tool-definition/registered-tool.ts";
import { createToolOutbound } from "../tools/tool-outbound.ts";
import { openWall } from "./open-wall.ts";

const { wall } = await openWall("auto");
const outbound = createToolOutbound({ allowedHosts: [] });
const logger = createLogger({ service: "test", level: "silent" });
const slots = new Slots(10);
const memoryMegabytes = 160;
let custom: CustomTools;
const tools = new Map<string, RegisteredTool>();

beforeAll(async () => {
  const dir = join(import.meta.dirname, "../../testing/poison");
  const limits = { memoryBytes: memoryMegabytes * 1_048_576, messageBytes: 4_194_304, chatterBytes: 1_048_576 };
  custom = await loadCustomTools(dir, { limits, wall, outbound });
  for (const one of custom.loaded) {
    if ("fault" in one) throw new Error(`${one.file}: ${one.fault}`);
    tools.set(one.tool.tool.name, one.tool);
  }
  // Started before the tests, which measure calls alone.
  await run("neighbour");
});
afterAll(async () => {
  custom.close();
  await outbound.close();
});

function run(name: string, signal = new AbortController().signal): Promise<CallResult> {
  const registered = tools.get(name) as RegisteredTool;
  return runTool({ slots, logger }, { registered, arguments: {} }, attempt(signal));
}

const overLimit: [tool: string, because: RegExp | string][] = [
  ["endless_loop", "timeout"],
  ["ignores_signal", "timeout"],
  ["regular_expression", "timeout"],
  ["grows_heap", /memory|process ended/],
  ["grows_buffers", /more than its 160 MB of memory/],
  ["huge_output", /result is too long/],
  ["floods_stdout", /wrote more to its output/],
  ["floods_frames", /result is too long/],
  ["floods_log_frames", /sent more than allowed/],
  ["floods_answers", /a call that is not running/],
  ["exits", /process ended/],
  ["rejects_later", /process ended/],
];

const forbidden: [tool: string, because: RegExp][] = [
  ["starts_process", /permission|restricted/i],
  ["starts_worker", /permission|restricted/i],
  ["reads_files", /permission|restricted/i],
  ["writes_files", /permission|restricted/i],
  ["kills_parent", /not permitted/],
  ["slows_executor", /not permitted/],
];

describe("a tool that does harm", () => {
  test.each(overLimit)("%s is stopped within a second of its limit, and its neighbour is unharmed", async (name, because) => {
    // A process is started first: its start does not count as time of the call.
    (await tools.get(name)?.prepare?.(new AbortController().signal))?.release();
    const started = performance.now();
    const ended = run(name).then((outcome) => ({ outcome, tookMs: performance.now() - started }));
    const neighbour = await run("neighbour");
    const neighbourMs = performance.now() - started;
    const { outcome, tookMs } = await ended;
    const limitMs = tools.get(name)?.tool.timeoutMs ?? 0;
    process.stdout.write(
      `${name}: ${outcome.status} after ${Math.round(tookMs)} ms, its limit ${limitMs} ms; neighbour ${Math.round(neighbourMs)} ms\n`,
    );
    if (because === "timeout") expect(outcome.reason).toBe(ErrorReason.TOOL_TIMEOUT);
    else expect(outcome).toMatchObject({ status: "failed", error: expect.stringMatching(because) });
    expect(tookMs - limitMs).toBeLessThan(1_000);
    expect(neighbour).toMatchObject({ status: "success", output: '"unharmed"' });
    // It waits 20 ms itself; the rest is delay caused by its neighbour or by the executor's own thread.
    expect(neighbourMs).toBeLessThan(500);
    expect(await run("neighbour")).toMatchObject({ status: "success" });
  });

  test("cannot keep working between its calls", async () => {
    expect(await run("spins_later")).toMatchObject({ status: "success" });
    const spinning = () => livingSandboxes().filter((line) => line.includes("spins-later.mjs")).length;
    expect(spinning()).toBe(1);
    await expect.poll(spinning, { timeout: 5_000 }).toBe(0);
  });

  test("leaves the outcome of a once call unknown when its process ends under it", async () => {
    expect(await run("exits_once")).toMatchObject({
      status: "unknown",
      reason: ErrorReason.TOOL_FAILED,
      error: expect.stringMatching(/process ended/),
    });
  });

  test.each(forbidden)("%s gets no permission", async (name, because) => {
    expect(await run(name)).toMatchObject({ status: "failed", error: expect.stringMatching(because) });
    expect(existsSync("/tmp/turnwright-poison")).toBe(false);
  });

  test("finds no secret in its environment", async () => {
    process.env.MESH_SECRET_OF_THE_TEST = "canary";
    const outcome = await run("tells_environment");
    delete process.env.MESH_SECRET_OF_THE_TEST;
    expect(outcome).toMatchObject({ status: "success" });
    const seen = Object.keys(JSON.parse((outcome as { output: string }).output));
    expect(seen.filter((name) => !["TZ", "PWD", "SHLVL", "_", "OLDPWD"].includes(name))).toEqual([]);
  });

  test("does not fill the log", async () => {
    const lines: string[] = [];
    const counting = createLogger({
      service: "test",
      level: "info",
      destination: { write: (line: string) => lines.push(line) },
    } as never);
    const registered = tools.get("floods_logs") as RegisteredTool;
    const signal = new AbortController().signal;
    await runTool({ slots, logger: counting }, { registered, arguments: {} }, attempt(signal));
    expect(lines.length).toBeLessThanOrEqual(101);
    for (const line of lines) expect(line.length).toBeLessThan(1_500);
  });

  test("is cancelled with its call", async () => {
    const running = Promise.withResolvers<void>();
    const hearing = createLogger({
      service: "test",
      level: "info",
      destination: { write: () => running.resolve() },
    } as never);
    const controller = new AbortController();
    const known = tools.get("ignores_signal") as RegisteredTool;
    // A time limit far beyond the bound below.
    const registered = { ...known, tool: { ...known.tool, timeoutMs: 10_000 } };
    const call = runTool({ slots, logger: hearing }, { registered, arguments: {} }, attempt(controller.signal));
    await running.promise;
    const started = performance.now();
    controller.abort();
    expect(await call).toMatchObject({ status: "cancelled" });
    expect(performance.now() - started).toBeLessThan(1_000);
  });

  test("is reused after a success, and leaves no process when the executor closes", async () => {
    await run("neighbour");
    const before = livingSandboxes().length;
    for (let i = 0; i < 5; i++) await run("neighbour");
    expect(livingSandboxes().length).toBe(before);
    custom.close();
    await expect.poll(() => livingSandboxes().length).toBe(0);
  });
});
