import { z } from "zod";
import { defineTool, type Tool, type ToolContext, type ToolEffect } from "../src/tool-definition/define-tool.ts";

/** A tool that records its runs and ends each one when the test tells it to. */
export function gatedTool(
  init: { effect?: ToolEffect; requiresApproval?: boolean; timeoutMs?: number; name?: string; probe?: Tool["probe"] } = {},
) {
  const runs: { signal: AbortSignal; callKey: string; end(value: unknown): void; fail(error: Error): void }[] = [];
  const waiting: (() => void)[] = [];
  const tool = defineTool({
    name: init.name ?? "gated",
    description: "Waits.",
    parameters: z.object({ what: z.string() }),
    effect: init.effect ?? "read",
    requiresApproval: init.requiresApproval,
    timeoutMs: init.timeoutMs ?? 10_000,
    version: "1",
    ...(init.probe === undefined ? {} : { probe: init.probe }),
    execute(_args, { signal, callKey }: ToolContext) {
      const { promise, resolve, reject } = Promise.withResolvers<unknown>();
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      runs.push({ signal, callKey, end: resolve, fail: reject });
      for (const resume of waiting.splice(0)) resume();
      return promise;
    },
  });
  return {
    tool,
    runs,
    /** Resolves with the n-th run, from 1, once it has begun. */
    async run(n: number) {
      for (;;) {
        const found = runs[n - 1];
        if (found !== undefined) return found;
        await new Promise<void>((resolve) => waiting.push(resolve));
      }
    },
  };
}
