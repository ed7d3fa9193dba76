import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ErrorReason, reasonOf } from "@turnwright/platform/errors";
import { createLogger } from "@turnwright/platform/logger";
import { afterEach, expect, test } from "vitest";
import { attempt } from "../../testing/attempt.ts";
import { livingSandboxes } from "../../testing/living-sandboxes.ts";
import type { CallResult } from "../calls/call-result.ts";
import { type CustomTools, loadCustomTools } from "../registry/custom-tools.ts";
import { runTool } from "../running/run-tool.ts";
import { Slots } from "../running/slots.ts";
import { createToolOutbound } from "../tools/tool-outbound.ts";
import { Crowd } from "./crowd.ts";
import { openWall } from "./open-wall.ts";
import type { SandboxLimits } from "./sandbox.ts";

const { wall } = await openWall("auto");
const outbound = createToolOutbound({ allowedHosts: [] });
const logger = createLogger({ service: "test", level: "silent" });
const limits: SandboxLimits = { memoryBytes: 268_435_456, messageBytes: 4_194_304, chatterBytes: 1_048_576 };
const opened: { dir: string; custom: CustomTools }[] = [];
afterEach(async () => {
  for (const { dir, custom } of opened.splice(0)) {
    custom.close();
    await rm(dir, { recursive: true });
  }
});

/** The text of a file with a tool. */
function toolText(init: { name: string; body: string; timeoutMs?: number; parameters?: string; before?: string }): string {
  const { name, body, timeoutMs = 5_000, parameters = "{ type: 'object', properties: {} }", before = "" } = init;
  return `${before}
export default { name: "${name}", description: "d", parameters: ${parameters}, effect: "read", timeoutMs: ${timeoutMs}, version: "1",
  async execute(args, { signal }) { ${body} } };`;
}

async function open(texts: readonly string[], options: { crowd?: Crowd; limits?: SandboxLimits } = {}) {
  const dir = await mkdtemp(join(tmpdir(), "tools-"));
  for (const [i, text] of texts.entries()) await writeFile(join(dir, `${i}.mjs`), text);
  const custom = await loadCustomTools(dir, { limits: options.limits ?? limits, wall, outbound }, options.crowd);
  opened.push({ dir, custom });
  const tools = custom.loaded.map((one) => {
    if ("fault" in one) throw new Error(one.fault);
    return one.tool;
  });
  const slots = new Slots(10);
  return {
    dir,
    tools,
    run(i = 0, json = "{}"): Promise<CallResult> {
      const registered = tools[i];
      if (registered === undefined) throw new Error("no such tool");
      const signal = new AbortController().signal;
      return runTool({ slots, logger }, { registered, arguments: registered.parse(json) }, attempt(signal));
    },
  };
}

function processesOf(dir: string): number {
  return livingSandboxes().filter((command) => command.includes(`${dir}/`)).length;
}

test("the time limit of a call does not include the start of its process", async () => {
  const body = "await delay(5, undefined, { signal }); return 1;";
  const before = `import { setTimeout as delay } from "node:timers/promises";
    const started = Date.now() + 1_000;
    while (Date.now() < started);`;
  const { run } = await open([toolText({ name: "quick", timeoutMs: 800, before, body })]);
  const outcomes = await Promise.all([run(), run(), run()]);
  expect(outcomes.map(({ status }) => status)).toEqual(["success", "success", "success"]);
});

test("the crowd limits the idle processes of all files together", async () => {
  const texts = Array.from({ length: 7 }, (_, i) => toolText({ name: `tool_${i}`, body: "return 1;" }));
  const { dir, run } = await open(texts, { crowd: new Crowd(2) });
  await expect.poll(() => processesOf(dir)).toBe(2);
  for (let i = 0; i < texts.length; i += 1) expect(await run(i)).toMatchObject({ status: "success" });
  await expect.poll(() => processesOf(dir)).toBe(2);
});

test("a process near its limit of processor time is replaced between calls, not killed during one", async () => {
  const body = "const end = Date.now() + 400; while (Date.now() < end); return process.pid;";
  const { run } = await open([toolText({ name: "spins", timeoutMs: 1_500, body })], { limits: { ...limits, cpuSeconds: 4 } });
  const pids: string[] = [];
  // On a busy machine a call takes less of the processor's time, and more calls fit.
  while (new Set(pids).size < 2 && pids.length < 40) {
    const outcome = await run();
    expect(outcome).toMatchObject({ status: "success" });
    pids.push(String(outcome.output));
  }
  expect(new Set(pids).size).toBe(2);
  expect(pids[1]).toBe(pids[0]);
});

test("a tool's regular expressions run in its process only, under its time limit", async () => {
  const parameters =
    "{ type: 'object', properties: { s: { type: 'string', minLength: 2, pattern: '^(a+)+$' } }, required: ['s'] }";
  const { run, tools } = await open([toolText({ name: "matches", timeoutMs: 300, parameters, body: "return 1;" })]);
  expect(tools[0]?.spec.definition?.function?.parameters).toMatchObject({ properties: { s: { pattern: "^(a+)+$" } } });
  expect(await run(0, '{"s":"aa"}')).toMatchObject({ status: "success" });
  const refused = await run(0, '{"s":"ab"}');
  expect(refused.status === "failed" && reasonOf(refused.cause)).toBe(ErrorReason.INVALID_TOOL_ARGUMENTS);
  expect(() => tools[0]?.parse('{"s":"a"}')).toThrow(/s: /);
  expect(await run(0, JSON.stringify({ s: `${"a".repeat(60)}b` }))).toMatchObject({
    status: "failed",
    reason: ErrorReason.TOOL_TIMEOUT,
  });
});

test("a tool's own schema may transform arguments, and check them beyond JSON Schema", async () => {
  const parameters =
    "z.object({ n: z.string().transform(Number).refine((n) => n !== 3, 'is not three'), m: z.int().default(7) })";
  const zod = import.meta.resolve("zod");
  const { run } = await open([
    toolText({ name: "adds", before: `import { z } from ${JSON.stringify(zod)};`, parameters, body: "return args;" }),
  ]);
  expect(await run(0, '{"n":"4"}')).toMatchObject({ status: "success", output: '{"n":4,"m":7}' });
  expect(await run(0, '{"n":"3"}')).toMatchObject({ status: "failed", error: "n: is not three" });
});
