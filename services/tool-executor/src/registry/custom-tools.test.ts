import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ConfigError } from "@turnwright/platform/config/env";
import { afterEach, expect, test, vi } from "vitest";
import { openWall } from "../sandbox/open-wall.ts";
import type { Tool } from "../tool-definition/define-tool.ts";
import { createToolOutbound } from "../tools/tool-outbound.ts";
import { loadRegistry, type Registry } from "./registry.ts";

const { wall } = await openWall("auto");
const outbound = createToolOutbound({ allowedHosts: [] });
const folders: string[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true });
});

async function folder(files: Record<string, string>): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), "tools-"));
  folders.push(made);
  for (const [name, text] of Object.entries(files)) await writeFile(join(made, name), text);
  return made;
}

function load(dir: string): Promise<Registry> {
  return loadRegistry({
    config: {
      TOOLS_DIR: dir,
      TOOLS_MAX_CONCURRENT: 10,
      TOOLS_MEMORY_LIMIT: 256,
      WEB_SEARCH_API_KEY: undefined,
      WEB_SEARCH_BASE_URL: "https://api.search.brave.com",
    },
    outbound,
    wall,
  });
}

async function faultsOf(files: Record<string, string>): Promise<string[]> {
  const error = await load(await folder(files)).catch((thrown: unknown) => thrown);
  if (!(error instanceof ConfigError)) throw new Error("no ConfigError", { cause: error });
  return [...error.faults];
}

const plainTool = (name: string) => `export default {
  name: "${name}",
  description: "Greets.",
  parameters: { type: "object", properties: { who: { type: "string", minLength: 2 } }, required: ["who"] },
  effect: "read",
  timeoutMs: 1000,
  version: "1",
  execute: ({ who }) => "Hello " + who,
};`;

test("plain objects with a JSON Schema load from .js, .mjs and .ts files beside the built-in tools", async () => {
  const dir = await folder({
    "a.mjs": plainTool("greet_a"),
    "b.js": plainTool("greet_b"),
    "c.ts": `const who: string = "x";\n${plainTool("greet_c")}`,
    "notes.md": "no tool",
    "c.test.ts": "throw new Error('a test is no tool');",
    "types.d.ts": "export {};",
  });
  const registry = await load(dir);
  const names = registry.specs.map(({ definition }) => definition?.function?.name);
  expect(names).toEqual([
    "calculator",
    "current_time",
    "fetch_url",
    "greet_a",
    "greet_b",
    "greet_c",
    "http_request",
    "run_javascript",
    "web_search",
  ]);
  const greet = registry.find("greet_a", { allowedTools: [] } as never);
  expect(greet.spec.definition?.function?.parameters).toMatchObject({ required: ["who"] });
  expect(greet.parse('{"who":"you"}')).toEqual({ who: "you" });
  expect(() => greet.parse('{"who":"u"}')).toThrow(/who: /);
  expect(() => greet.parse("{}")).toThrow(/who: /);
});

test("the example tool loads and rolls", async () => {
  const registry = await load(fileURLToPath(new URL("../../../../examples/tools", import.meta.url)));
  const { tool, parse } = registry.find("roll_dice", { allowedTools: [] } as never);
  const signal = new AbortController().signal;
  const result = await tool.execute(parse('{"count":3}'), { signal, logger: undefined as never, callKey: "k" });
  expect(result).toEqual({ rolls: [expect.any(Number), expect.any(Number), expect.any(Number)], sum: expect.any(Number) });
});

test("the example with a probe finds the order that its call placed, and reports when there is none", async () => {
  const orders: { id: string; total: number; reference: string }[] = [];
  vi.stubGlobal("fetch", async (url: string, init: RequestInit = {}) => {
    if (init.method === "POST") {
      const made = { id: `o${orders.length}`, total: 3, reference: JSON.parse(String(init.body)).reference };
      orders.push(made);
      return Response.json(made);
    }
    return Response.json(orders.filter(({ reference }) => reference === new URL(url).searchParams.get("reference")));
  });
  try {
    const { default: tool } = (await import("../../../../examples/tools/order.ts")) as { default: Tool };
    const args = { article: "tea", count: 1 };
    const context = (callKey: string) => ({ signal: new AbortController().signal, logger: undefined as never, callKey });
    expect(await tool.probe?.(args, context("run:call"))).toEqual({ status: "not_started" });
    expect(await tool.execute(args, context("run:call"))).toEqual({ id: "o0", total: 3 });
    expect(await tool.probe?.(args, context("run:call"))).toEqual({ status: "completed", output: { id: "o0", total: 3 } });
    expect(await tool.probe?.(args, context("run:other"))).toEqual({ status: "not_started" });
  } finally {
    vi.unstubAllGlobals();
  }
});

test("a folder anywhere, with a package.json of its own, imports zod and define-tool in every form of module", async () => {
  const tool = (name: string) => `defineTool({
    name: "${name}", description: text, parameters: z.object({ who: z.string().min(2) }), effect: "read", timeoutMs: 1000,
    version: "1", execute: ({ who }) => "Hello " + who })`;
  const dir = await folder({
    "package.json": '{ "name": "tools-of-a-shop" }',
    "a.ts": `import { defineTool } from "@turnwright/tool-executor/define-tool";
      import * as z from "zod/v4";
      import { text } from "./lib/text.ts";
      export default ${tool("greet_a")};`,
    "b.js": `const { defineTool } = require("@turnwright/tool-executor/define-tool");
      const { z } = require("zod");
      const text = "Greets.";
      module.exports = ${tool("greet_b")};`,
  });
  await mkdir(join(dir, "lib"));
  await writeFile(join(dir, "lib/text.ts"), 'import { z } from "zod";\nexport const text: string = z.string().parse("Greets.");');
  const registry = await load(dir);
  for (const name of ["greet_a", "greet_b"]) {
    const { tool: found, parse } = registry.find(name, { allowedTools: [] } as never);
    const context = { signal: new AbortController().signal, logger: undefined as never, callKey: "k" };
    expect(await found.execute(parse('{"who":"you"}'), context)).toBe("Hello you");
    expect(() => parse('{"who":"u"}')).toThrow(/who: /);
  }
  registry.close();
});

test("one error lists every faulty file with its fault", async () => {
  const faults = await faultsOf({
    "a-syntax.mjs": "export default {",
    "b-throws.mjs": "throw new Error('broken on load');",
    "c-nothing.mjs": "export const tool = 1;",
    "d-fields.mjs": "export default { name: 'has space', description: '', effect: 'maybe', timeoutMs: 0 };",
    "e-array.mjs": plainTool("array").replace('type: "object"', 'type: "array"'),
    "f-good.mjs": plainTool("good"),
    "g-twice.mjs": plainTool("good"),
    "h-builtin.mjs": plainTool("calculator"),
    "i-missing.mjs": "import './not-there.mjs'; export default {};",
    "j-probe.mjs": plainTool("probed").replace("execute:", "probe: () => null, execute:"),
  });
  expect(faults.map((fault) => /\/([a-j])-/.exec(fault)?.[1])).toEqual(["a", "b", "c", "d", "e", "g", "h", "i", "j"]);
  const text = faults.join("\n");
  for (const part of [
    "broken on load",
    "no default export",
    "name: must be",
    "effect: ",
    "timeoutMs: ",
    "version: ",
    "execute: ",
    "parameters: must be",
    "another tool with the name good",
    "another tool with the name calculator",
    "not-there",
    "probe: belongs to the effect once",
  ]) {
    expect(text).toContain(part);
  }
});

test("each fault is one line, also where an error has several", async () => {
  const faults = await faultsOf({
    "a.js": "require('not-there');",
    "b.mjs": "throw new Error('first\\n  second');",
  });
  expect(faults).toHaveLength(2);
  for (const fault of faults) expect(fault).toMatch(/^TOOLS_DIR: .*[^\n]$/);
  expect(faults[1]).toContain("first second");
});

test("a missing folder and a file are faults", async () => {
  const file = join(await folder({ "a.mjs": "" }), "a.mjs");
  await expect(load(file)).rejects.toThrow(/TOOLS_DIR: .*a\.mjs: cannot be read: ENOTDIR/);
  await expect(load("/nowhere/tools")).rejects.toThrow(/TOOLS_DIR: \/nowhere\/tools: cannot be read/);
});
