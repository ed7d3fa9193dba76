import type { ToolContext } from "../tool-definition/define-tool.ts";
import type { PreparedCall } from "../tool-definition/registered-tool.ts";
import { Crowd } from "./crowd.ts";
import type { ToolCode } from "./launch.ts";
import type { ToolDescription, ToolMethod } from "./messages.ts";
import { type Sandbox, type SandboxPlace, startSandbox } from "./sandbox.ts";

const idleMs = 30_000;

/** The processes of one tool's file. Each runs one call at a time; warm ones are reused. */
export interface SandboxPool {
  /** The description of the file's tool. Rejects with the file's fault. */
  describe(): Promise<ToolDescription>;
  /** A process that is ready for one call. Rejects when none starts, or with the signal's reason. */
  prepare(signal: AbortSignal): Promise<PreparedCall>;
  /** Runs a call, or asks about an earlier one, in a process of its own. */
  call(method: ToolMethod, args: Record<string, unknown>, context: ToolContext): Promise<unknown>;
  /** Ends all processes. */
  close(): void;
}

/**
 * Creates the pool of a file. The caller limits the calls at once; `crowd` limits idle processes. `known` is the tool's
 * version where `describe` is never called.
 */
export function createSandboxPool(
  code: ToolCode,
  place: SandboxPlace,
  { crowd = new Crowd(10), known }: { crowd?: Crowd; known?: string } = {},
): SandboxPool {
  const idle: { sandbox: Sandbox; end(): void; timer: NodeJS.Timeout }[] = [];
  const all = new Set<Sandbox>();
  let version = known;
  let timeoutMs: number | undefined;
  /** Declared by the first process at the start. A later process cannot extend them. */
  let hosts: readonly string[] = [];

  const start = (): Sandbox => {
    crowd.enter();
    const sandbox = startSandbox(code, place, timeoutMs);
    all.add(sandbox);
    return sandbox;
  };
  const drop = (sandbox: Sandbox) => {
    if (all.delete(sandbox)) crowd.leave();
    sandbox.kill();
  };
  const wake = (entry: (typeof idle)[number]): Sandbox => {
    clearTimeout(entry.timer);
    crowd.wake(entry.end);
    idle.splice(idle.indexOf(entry), 1);
    return entry.sandbox;
  };
  const keep = (sandbox: Sandbox) => {
    const end = () => drop(wake(entry));
    const entry = { sandbox, end, timer: setTimeout(end, idleMs).unref() };
    idle.push(entry);
    crowd.rest(end);
  };
  const take = (): Sandbox => {
    for (let entry = idle.at(-1); entry !== undefined; entry = idle.at(-1)) {
      const sandbox = wake(entry);
      if (sandbox.isUsable) return sandbox;
      drop(sandbox);
    }
    return start();
  };
  /** The sandbox's tool. Ends the sandbox when it has none, or when the signal fires first. */
  const loaded = async (sandbox: Sandbox, signal?: AbortSignal): Promise<ToolDescription> => {
    const onAbort = () => sandbox.kill();
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      return await sandbox.tool;
    } catch (error) {
      drop(sandbox);
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  };
  const prepare = async (signal: AbortSignal): Promise<PreparedCall> => {
    signal.throwIfAborted();
    const sandbox = take();
    const tool = await loaded(sandbox, signal);
    timeoutMs = tool.timeoutMs;
    if (tool.version !== version) {
      // The file changed after the executor read it: approvals and refusals were for another tool.
      drop(sandbox);
      throw new Error("The tool's file has changed since the start; restart the executor.");
    }
    // After an error or an abort the process may still be working on the call.
    let isFine = true;
    const call = (method: ToolMethod) => async (args: Record<string, unknown>, context: ToolContext) => {
      isFine = false;
      const output = await sandbox.call(method, args, hosts, context);
      isFine = !context.signal.aborted;
      return output;
    };
    return {
      execute: call("execute"),
      probe: call("probe"),
      release() {
        if (isFine && sandbox.isUsable && all.has(sandbox)) keep(sandbox);
        else drop(sandbox);
      },
    };
  };

  return {
    async describe() {
      const sandbox = take();
      const tool = await loaded(sandbox);
      version = tool.version;
      hosts = tool.hosts;
      timeoutMs = tool.timeoutMs;
      keep(sandbox);
      return tool;
    },
    prepare,
    async call(method, args, context) {
      const prepared = await prepare(context.signal);
      try {
        return await prepared[method](args, context);
      } finally {
        prepared.release();
      }
    },
    close() {
      for (const entry of [...idle]) wake(entry);
      for (const sandbox of [...all]) drop(sandbox);
    },
  };
}
