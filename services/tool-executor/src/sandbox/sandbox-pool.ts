import type { Logger } from "@turnwright/platform/logger";
import type { ToolDescription } from "./messages.ts";
import { type Sandbox, type SandboxLimits, startSandbox } from "./sandbox.ts";

const idleMs = 30_000;

/** The processes of one tool's file: each runs one call at a time, warm ones are used again. */
export interface SandboxPool {
  /** What the file's tool says of itself. Rejects with its fault. */
  describe(): Promise<ToolDescription>;
  /** Runs a call in a process of its own. */
  call(args: unknown, context: { callKey: string; signal: AbortSignal; logger: Logger }): Promise<unknown>;
  /** Ends all processes. */
  close(): void;
}

/** Makes the pool of a file. How many processes there are at once is for who calls: as many as there are calls. `known`: the tool's version, where nobody asks the file for it. */
export function createSandboxPool(file: string, limits: SandboxLimits, known?: string): SandboxPool {
  const idle: { sandbox: Sandbox; timer: NodeJS.Timeout }[] = [];
  const all = new Set<Sandbox>();
  let version = known;
  let timeoutMs: number | undefined;

  const start = (): Sandbox => {
    const sandbox = startSandbox(file, limits, timeoutMs);
    all.add(sandbox);
    return sandbox;
  };
  const drop = (sandbox: Sandbox) => {
    all.delete(sandbox);
    sandbox.kill();
  };
  const keep = (sandbox: Sandbox) => {
    const entry = {
      sandbox,
      timer: setTimeout(() => {
        idle.splice(idle.indexOf(entry), 1);
        drop(sandbox);
      }, idleMs).unref(),
    };
    idle.push(entry);
  };
  const take = (): Sandbox => {
    for (let entry = idle.pop(); entry !== undefined; entry = idle.pop()) {
      clearTimeout(entry.timer);
      if (entry.sandbox.isUsable) return entry.sandbox;
      drop(entry.sandbox);
    }
    return start();
  };

  return {
    async describe() {
      const sandbox = take();
      try {
        const tool = await sandbox.tool;
        version = tool.version;
        timeoutMs = tool.timeoutMs;
        keep(sandbox);
        return tool;
      } catch (error) {
        drop(sandbox);
        throw error;
      }
    },
    async call(args, context) {
      const sandbox = take();
      let isFine = false;
      try {
        const tool = await sandbox.tool;
        // The file changed after the executor read it: what was approved, or refused, was another tool.
        if (tool.version !== version) throw new Error("The tool's file has changed since the start; restart the executor.");
        const output = await sandbox.call(args, context);
        isFine = true;
        return output;
      } finally {
        // After an error as well as after an abort nobody knows what the process is still up to.
        if (isFine && sandbox.isUsable && !context.signal.aborted) keep(sandbox);
        else drop(sandbox);
      }
    },
    close() {
      for (const { timer } of idle.splice(0)) clearTimeout(timer);
      for (const sandbox of all) sandbox.kill();
      all.clear();
    },
  };
}
