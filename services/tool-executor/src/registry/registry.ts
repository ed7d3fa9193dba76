import type { Identity } from "@turnwright/contract/auth/v1/identity";
import type { ToolDetails, ToolSpec } from "@turnwright/contract/tool/v1/tool";
import { ConfigError } from "@turnwright/platform/config/env";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { allows } from "@turnwright/platform/identity/identity";
import type { Outbound } from "@turnwright/platform/outbound/outbound";
import type { ToolConfig } from "../config.ts";
import { Crowd } from "../sandbox/crowd.ts";
import type { SandboxLimits } from "../sandbox/sandbox.ts";
import type { Wall } from "../sandbox/wall.ts";
import type { Tool } from "../tool-definition/define-tool.ts";
import { type RegisteredTool, registerTool } from "../tool-definition/registered-tool.ts";
import { calculator } from "../tools/calculator.ts";
import { currentTime } from "../tools/current-time.ts";
import { createFetchUrl } from "../tools/fetch-url.ts";
import { createHttpRequest } from "../tools/http-request.ts";
import { createRunJavascript } from "../tools/run-javascript.ts";
import { createWebSearch } from "../tools/web-search.ts";
import { loadCustomTools } from "./custom-tools.ts";

/** The tools of this executor. */
export interface Registry {
  /** Sorted by name. */
  readonly specs: readonly ToolSpec[];
  /** The tools that an identity may use, sorted by name. */
  specsFor(identity: Identity): ToolSpec[];
  /** Facts about the same tools, in the same order. */
  detailsFor(identity: Identity): Omit<ToolDetails, "$typeName">[];
  /** Throws UNKNOWN_TOOL, TOOL_NOT_ALLOWED. */
  find(name: string, identity: Identity): RegisteredTool;
  /** Ends the processes of custom tools. */
  close(): void;
}

/**
 * Collects the built-in tools, `tools` and those of TOOLS_DIR. Rejects with ConfigError, which lists every faulty file.
 */
export async function loadRegistry(deps: {
  config: Pick<
    ToolConfig,
    "TOOLS_DIR" | "TOOLS_MEMORY_LIMIT" | "TOOLS_MAX_CONCURRENT" | "WEB_SEARCH_API_KEY" | "WEB_SEARCH_BASE_URL"
  >;
  outbound: Outbound;
  /** The kernel's wall around the processes of tools. */
  wall: Wall;
  /** Tools of the program that embeds the executor. */
  tools?: readonly Tool[];
}): Promise<Registry> {
  const { config, outbound, wall } = deps;
  const place = { limits: sandboxLimits(config.TOOLS_MEMORY_LIMIT), outbound, wall };
  const crowd = new Crowd(config.TOOLS_MAX_CONCURRENT);
  const javascript = createRunJavascript(place, crowd);
  const tools = new Map<string, RegisteredTool>();
  for (const tool of [
    registerTool(calculator),
    registerTool(currentTime),
    registerTool(createFetchUrl(outbound)),
    registerTool(createHttpRequest(outbound)),
    javascript.registered,
    registerTool(createWebSearch({ apiKey: config.WEB_SEARCH_API_KEY, baseUrl: config.WEB_SEARCH_BASE_URL })),
  ]) {
    tools.set(tool.tool.name, from("built_in", tool));
  }
  for (const tool of deps.tools ?? []) tools.set(tool.name, from("embedded", registerTool(tool)));
  let close = () => javascript.close();
  if (config.TOOLS_DIR !== undefined) {
    const faults: string[] = [];
    const custom = await loadCustomTools(config.TOOLS_DIR, place, crowd);
    close = () => {
      javascript.close();
      custom.close();
    };
    for (const loaded of custom.loaded) {
      if ("fault" in loaded) faults.push(`TOOLS_DIR: ${loaded.file}: ${loaded.fault}`);
      else if (tools.has(loaded.tool.tool.name)) {
        faults.push(`TOOLS_DIR: ${loaded.file}: there is another tool with the name ${loaded.tool.tool.name}`);
      } else tools.set(loaded.tool.tool.name, from("folder", loaded.tool));
    }
    if (faults.length > 0) {
      close();
      throw new ConfigError(faults);
    }
  }
  return makeRegistry(tools, close);
}

/** A tool whose spec names where it comes from. */
function from(source: "built_in" | "embedded" | "folder", registered: RegisteredTool): RegisteredTool {
  return { ...registered, spec: { ...registered.spec, source } };
}

/** The limits of a sandbox with this much memory. */
function sandboxLimits(megabytes: number): SandboxLimits {
  return { memoryBytes: megabytes * 1_048_576, messageBytes: 4_194_304, chatterBytes: 1_048_576 };
}

function makeRegistry(tools: ReadonlyMap<string, RegisteredTool>, close: () => void): Registry {
  const sorted = [...tools.values()].sort((a, b) => (a.tool.name < b.tool.name ? -1 : 1));
  const usable = ({ allowedTools }: Identity) => sorted.filter(({ tool }) => allows(allowedTools, tool.name));
  return {
    close,
    specs: sorted.map(({ spec }) => spec),
    specsFor: (identity) => usable(identity).map(({ spec }) => spec),
    detailsFor: (identity) =>
      usable(identity).map(({ tool: { name, effect }, spec: { requiresApproval, timeoutMs, version, source } }) => ({
        name,
        effect,
        requiresApproval,
        timeoutMs,
        version,
        source,
      })),
    find(name, { allowedTools }) {
      const registered = tools.get(name);
      if (registered === undefined)
        throw fail(ErrorReason.UNKNOWN_TOOL, `There is no tool with the name ${JSON.stringify(name)}.`);
      if (!allows(allowedTools, name)) throw fail(ErrorReason.TOOL_NOT_ALLOWED, `This token may not use the tool ${name}.`);
      return registered;
    },
  };
}
