import { randomUUID } from "node:crypto";
import { toJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { detailOf, ErrorReason, reasonOf } from "@turnwright/platform/errors";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { createExecutorFixture, type ExecutorFixture, type ExecutorProcess } from "../../testing/executor.ts";
import { defineTool } from "../tool-definition/define-tool.ts";

let fixture: ExecutorFixture;
let executor: ExecutorProcess;

const base = { description: "A tool.", parameters: z.object({}), timeoutMs: 1_000, version: "1" };
const tools = [
  defineTool({ ...base, name: "broken", effect: "read", execute: () => Promise.reject(new Error("it broke")) }),
  defineTool({
    ...base,
    name: "slow",
    effect: "read",
    timeoutMs: 5,
    execute: (_args, { signal }) =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true })),
  }),
];

beforeAll(async () => {
  fixture = await createExecutorFixture();
  executor = await fixture.start({ tools });
});
afterAll(() => fixture.stop());

const calling = (name: string, args: unknown = {}, id = "call_1") => ({
  id,
  type: "function",
  function: { name, arguments: typeof args === "string" ? args : JSON.stringify(args) },
});

test("users see only the tools of their token, sorted by name", async () => {
  const names = async (allowedTools: string[]) => {
    const process = await fixture.start({ identity: { allowedTools } });
    return (await process.tools.listTools({})).tools.map((definition) => definition.function?.name);
  };
  expect(await names([])).toEqual(["calculator", "current_time", "fetch_url", "http_request", "run_javascript", "web_search"]);
  expect(await names(["*"])).toHaveLength(6);
  expect(await names(["web_search", "calculator", "gone"])).toEqual(["calculator", "web_search"]);
});

test("users see facts about the same tools", async () => {
  const process = await fixture.start({ identity: { allowedTools: ["http_request", "calculator", "gone"] } });
  const { tools, details } = await process.tools.listTools({});
  expect(details.map(({ name }) => name)).toEqual(tools.map((definition) => definition.function?.name));
  const { tools: specs } = await process.executions.describeTools({});
  const versionOf = (name: string) => specs.find(({ definition }) => definition?.function?.name === name)?.version;
  expect(details).toMatchObject([
    { name: "calculator", effect: "read", requiresApproval: false, version: versionOf("calculator"), source: "built_in" },
    { name: "http_request", effect: "once", requiresApproval: true, version: versionOf("http_request"), source: "built_in" },
  ]);
  for (const { timeoutMs } of details) expect(timeoutMs).toBeGreaterThan(0);
});

test("services see every tool with its full specification", async () => {
  const process = await fixture.start({ identity: { allowedTools: ["calculator"] } });
  const { tools: specs } = await process.executions.describeTools({});
  expect(specs.map(({ definition }) => definition?.function?.name)).toHaveLength(6);
  for (const spec of specs) {
    expect(spec.timeoutMs).toBeGreaterThan(0);
    expect(spec.version).not.toBe("");
    expect(spec.definition?.function?.parameters).toMatchObject({ type: "object" });
  }
});

test("a direct call returns the bare output and is recorded", async () => {
  const userId = randomUUID();
  const process = await fixture.start({ identity: { userId } });
  const { result } = await process.tools.executeTool({ call: calling("calculator", { expression: "1337 * 42" }, "direct_1") });
  expect(result && toJson(ValueSchema, result)).toEqual({ expression: "1337 * 42", result: 56154 });
  await process.stop();
  const { rows } = await fixture.pool.query("select * from tool_executions where user_id = $1", [userId]);
  expect(rows).toMatchObject([
    {
      run_id: null,
      tool_call_id: "direct_1",
      tool_name: "calculator",
      status: "success",
      effect: "read",
      input: { expression: "1337 * 42" },
      output: { expression: "1337 * 42", result: 56154 },
    },
  ]);
  expect(rows[0].completed_at).toBeInstanceOf(Date);
});

test.each([
  ["an unknown tool", calling("nothing"), ErrorReason.UNKNOWN_TOOL, ""],
  ["a tool that needs approval", calling("http_request", { method: "GET", url: "x" }), ErrorReason.APPROVAL_REQUIRED, ""],
  ["arguments that are not JSON", calling("calculator", "{"), ErrorReason.INVALID_TOOL_ARGUMENTS, "function.arguments"],
  ["a missing argument", calling("calculator"), ErrorReason.INVALID_TOOL_ARGUMENTS, "expression"],
  ["a private address", calling("fetch_url", { url: "http://10.0.0.1/" }), ErrorReason.INVALID_TOOL_ARGUMENTS, "url"],
  ["a tool that throws", calling("broken"), ErrorReason.TOOL_FAILED, ""],
  ["a tool over its time", calling("slow"), ErrorReason.TOOL_TIMEOUT, ""],
])("%s fails with its reason", async (_name, call, reason, param) => {
  const error = await executor.tools.executeTool({ call }).catch((thrown: unknown) => thrown);
  expect(reasonOf(error)).toBe(reason);
  expect(detailOf(error)?.param).toBe(param);
});

test("a tool that the token may not use is refused before its arguments are checked", async () => {
  const process = await fixture.start({ identity: { allowedTools: ["current_time"] } });
  const error = await process.tools.executeTool({ call: calling("calculator", "{") }).catch((thrown: unknown) => thrown);
  expect(reasonOf(error)).toBe(ErrorReason.TOOL_NOT_ALLOWED);
});

test("a batch keeps the order and has failures in their places", async () => {
  const { results } = await executor.tools.batchExecuteTools({
    calls: [
      calling("calculator", { expression: "2+2" }),
      calling("broken"),
      calling("nothing"),
      calling("calculator", { expression: "1/0" }),
      calling("calculator", {}),
    ],
  });
  expect(results.map((value) => toJson(ValueSchema, value))).toEqual([
    { expression: "2+2", result: 4 },
    { error: "it broke" },
    { error: expect.stringContaining("nothing") },
    { expression: "1/0", error: "division by zero" },
    { error: expect.stringContaining("expression") },
  ]);
});

test("outputs that are too large together are left out of a batch, and so is one that is too large by itself", async () => {
  const sized = (name: string, effect: () => unknown) => defineTool({ ...base, name, effect: "read", execute: effect });
  const tools = [sized("text", () => "x".repeat(2_000_000)), sized("numbers", () => Array(900_000).fill(0))];
  const process = await fixture.start({ tools });
  const calls = ["text", "text", "text", "text", "calculator"].map((name) => calling(name, { expression: "1+1" }));
  const { results } = await process.tools.batchExecuteTools({ calls });
  const left = { error: expect.stringContaining("The call ran. Its output is left out") };
  expect(results.map((value) => toJson(ValueSchema, value))).toEqual([
    expect.stringMatching(/^x+$/),
    expect.stringMatching(/^x+$/),
    expect.stringMatching(/^x+$/),
    left,
    { expression: "1+1", result: 2 },
  ]);
  const alone = await process.tools.executeTool({ call: calling("numbers") }).catch((thrown: unknown) => thrown);
  expect(detailOf(alone)).toMatchObject({ reason: ErrorReason.TOOL_FAILED });
  expect(String(alone)).toContain("The call ran");
});

test("TOOLS_MAX_CONCURRENT limits the tools that run at once, over all calls", async () => {
  let running = 0;
  let most = 0;
  const tool = defineTool({
    ...base,
    name: "counted",
    effect: "read",
    async execute() {
      running += 1;
      most = Math.max(most, running);
      await new Promise<void>((resolve) => setImmediate(resolve));
      running -= 1;
    },
  });
  const process = await fixture.start({ tools: [tool], config: { TOOLS_MAX_CONCURRENT: 3 } });
  const calls = Array.from({ length: 16 }, () => calling("counted"));
  await Promise.all([process.tools.batchExecuteTools({ calls }), process.tools.batchExecuteTools({ calls })]);
  expect(most).toBe(3);
});

test("a direct call that the database cannot record still returns its output", async () => {
  const process = await fixture.start({ identity: { userId: "not-a-uuid" } });
  const { result } = await process.tools.executeTool({ call: calling("calculator", { expression: "1" }) });
  expect(result && toJson(ValueSchema, result)).toEqual({ expression: "1", result: 1 });
  await process.stop();
});

test("ids and arguments with NUL characters do no harm", async () => {
  const nul = "a\0b";
  const direct = executor.tools.executeTool({ call: calling("calculator", { expression: nul }, nul) });
  expect(reasonOf(await direct.catch((thrown: unknown) => thrown))).toBe(ErrorReason.INVALID_REQUEST);
  const { result } = await executor.tools.executeTool({ call: calling("calculator", { expression: nul }) });
  expect(result && toJson(ValueSchema, result)).toMatchObject({ error: expect.any(String) });
  const runId = randomUUID();
  const asked = executor.executions.executeCalls({ runId, calls: [{ callId: nul, name: "calculator", arguments: "{}" }] });
  expect(reasonOf(await asked.catch((thrown: unknown) => thrown))).toBe(ErrorReason.INVALID_REQUEST);
  const stored = await executor.execute({ runId, name: "calculator", args: { expression: nul } });
  expect(JSON.parse(stored.output)).toMatchObject({ expression: nul });
  expect(await executor.execute({ runId, name: "calculator", args: { expression: nul } })).toEqual(stored);
});
