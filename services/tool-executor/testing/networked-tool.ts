import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLogger } from "@turnwright/platform/logger";
import type { CallResult } from "../src/calls/call-result.ts";
import { type CustomTools, loadCustomTools } from "../src/registry/custom-tools.ts";
import { runTool } from "../src/running/run-tool.ts";
import { Slots } from "../src/running/slots.ts";
import { openWall } from "../src/sandbox/open-wall.ts";
import { createToolOutbound } from "../src/tools/tool-outbound.ts";
import { attempt } from "./attempt.ts";

const { wall } = await openWall("auto");
const limits = { memoryBytes: 268_435_456, messageBytes: 4_194_304, chatterBytes: 1_048_576 };
const logger = createLogger({ service: "test", level: "silent" });
const closers: (() => unknown)[] = [];

/** Closes the servers and tools that were opened since the last time. */
export async function closeNetworkedTools(): Promise<void> {
  for (const close of closers.splice(0)) await close();
}

/** A server on loopback; `seen` collects the requests that reach it. */
export async function serve(answer: RequestListener): Promise<{ host: string; seen: IncomingMessage[] }> {
  const seen: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    seen.push(request);
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { host: `127.0.0.1:${(server.address() as { port: number }).port}`, seen };
}

/** A custom tool, loaded and ready to run. */
export interface Opened {
  readonly dir: string;
  readonly custom: CustomTools;
  run(args?: object, signal?: AbortSignal): Promise<CallResult>;
}

/** Loads a tool with this body that declares `hosts`; the operator allows `allowed`. */
export async function openTool(init: {
  body: string;
  hosts: readonly string[];
  allowed?: readonly string[];
  before?: string;
}): Promise<Opened> {
  const dir = mkdtempSync(join(tmpdir(), "tools-"));
  const { body, hosts, allowed = hosts, before = "" } = init;
  const text = `${before}
export default { name: "calls", description: "d", parameters: { type: "object" }, effect: "read", timeoutMs: 10_000, version: "1",
  hosts: ${before.includes("const hosts") ? "hosts" : JSON.stringify(hosts)}, async execute(args, { signal }) { ${body} } };`;
  writeFileSync(join(dir, "calls.mjs"), text);
  const outbound = createToolOutbound({ allowedHosts: allowed });
  const custom = await loadCustomTools(dir, { limits, wall, outbound });
  closers.push(async () => {
    custom.close();
    await outbound.close();
    rmSync(dir, { recursive: true });
  });
  return {
    dir,
    custom,
    run(args = {}, signal = new AbortController().signal) {
      const [loaded] = custom.loaded;
      if (loaded === undefined || "fault" in loaded) throw new Error(loaded?.fault);
      const registered = loaded.tool;
      return runTool({ slots: new Slots(10), logger }, { registered, arguments: args as never }, attempt(signal));
    },
  };
}
