import { createLogger } from "@turnwright/platform/logger";
import { afterAll, describe, expect, test } from "vitest";
import { attempt } from "../../testing/attempt.ts";
import { runTool } from "../running/run-tool.ts";
import { Slots } from "../running/slots.ts";
import { openWall } from "../sandbox/open-wall.ts";
import { createRunJavascript } from "./run-javascript.ts";
import { createToolOutbound } from "./tool-outbound.ts";

const logger = createLogger({ service: "test", level: "silent" });
const slots = new Slots(10);
const { wall } = await openWall("auto");
const outbound = createToolOutbound({ allowedHosts: [] });
const limits = { memoryBytes: 268_435_456, messageBytes: 4_194_304, chatterBytes: 1_048_576 };
const javascript = createRunJavascript({ limits, wall, outbound });
const { registered } = javascript;
afterAll(async () => {
  javascript.close();
  await outbound.close();
});

async function run(code: string, input?: unknown): Promise<unknown> {
  const args = registered.parse(JSON.stringify({ code, input }));
  const { status, output, error } = await runTool({ slots, logger }, { registered, arguments: args }, attempt());
  return output === null ? { [status]: error } : JSON.parse(output);
}

async function reportsError(code: string, error: string): Promise<void> {
  const outcome = (await run(code)) as Record<string, string>;
  expect(Object.values(outcome).join()).toContain(error);
  expect(await run("1 + 1")).toEqual({ result: 2, logs: [] });
}

describe("run_javascript", () => {
  test.each([
    ["6 * 7", 42],
    ["[1, 2, 3].map((n) => n * input.factor)", [10, 20, 30]],
    ["const o = { a: [1, { b: null }] }; o", { a: [1, { b: null }] }],
    ["undefined", null],
    ["(async () => { await null; return 'later'; })()", "later"],
    ["'ü' + String.fromCodePoint(0x1f600)", "ü😀"],
    ["input.__proto__ === Object.prototype", true],
  ])("%s", async (code, result) => {
    expect(await run(code, { factor: 10 })).toEqual({ result, logs: [] });
  });

  test("returns the script's log lines, within limits", async () => {
    const { result, logs } = (await run(
      "console.log('a', 1, {b: 2}); for (let i = 0; i < 1e4; i++) console.error('x'.repeat(1e4)); 'done'",
    )) as {
      result: string;
      logs: string[];
    };
    expect(result).toBe("done");
    expect(logs[0]).toBe('a 1 {"b":2}');
    expect(logs).toHaveLength(100);
    for (const line of logs) expect(line.length).toBeLessThanOrEqual(1_000);
  });

  test.each([
    ["throw new TypeError('no such thing')", "TypeError: no such thing"],
    ["const = 1", "SyntaxError"],
    ["(async () => { throw new RangeError('later'); })()", "RangeError: later"],
    ["new Promise(() => {})", "never settles"],
    ["const a = []; for (;;) a.push('x'.repeat(1e6))", "memory"],
    ["const f = () => f(); f()", "stack"],
  ])("reports the error of %s", reportsError);

  // At the same time: each takes a processor, or its share of one, until its limit.
  test.concurrent.each([
    ["for (;;);", "The script took longer than 4000 ms."],
    ["try { for (;;); } catch {} for (;;);", "The script took longer than 4000 ms."],
    ["/^(a+)+$/.test('a'.repeat(40) + 'b')", "The script took longer than 4000 ms."],
  ])("reports the error of %s", reportsError);

  test("finds nothing but the language", async () => {
    const names = [
      "process",
      "require",
      "fetch",
      "setTimeout",
      "Buffer",
      "WebAssembly",
      "std",
      "os",
      "module",
      "global",
      "Worker",
      "__json",
    ];
    expect(await run(`[${names.map((name) => `typeof ${name}`)}]`)).toEqual({ result: names.map(() => "undefined"), logs: [] });
    expect(await run("globalThis.constructor.constructor('return typeof process')()")).toEqual({ result: "undefined", logs: [] });
    expect(await run("console.log.constructor('return typeof process')()")).toEqual({ result: "undefined", logs: [] });
    expect(JSON.stringify(await run("import('node:fs')"))).toMatch(/failed|error/i);
  });

  test("shares nothing between scripts", async () => {
    await run("globalThis.leak = 'secret'; Object.prototype.leak = 'secret'; Array.prototype.map = () => 'broken'; 1");
    expect(await run("[typeof leak, ({}).leak === undefined, [1].map((n) => n + 1)]")).toEqual({
      result: ["undefined", true, [2]],
      logs: [],
    });
  });

  test("refuses code beyond its limit", () => {
    expect(() => registered.parse(JSON.stringify({ code: "1;".repeat(40_000) }))).toThrow("code");
  });
});
