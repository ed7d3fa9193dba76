import { z } from "zod";

/**
 * The definition of run_javascript that models see. The script runs in QuickJS, compiled to WebAssembly, inside a
 * process with its own limits. It has the language and nothing else: no files, no network, no modules, no timers.
 */
export const javascriptDefinition = {
  name: "run_javascript",
  description:
    "Run JavaScript in an isolated sandbox and return the value of its last expression as JSON. " +
    "No network, files, modules or timers. " +
    "The value passed as `input` is there under that name; console.log is captured.",
  parameters: z.object({
    code: z.string().min(1).max(65_536).describe("The script"),
    input: z.json().optional().describe("Any JSON value, as `input` in the script"),
  }),
  effect: "read",
  timeoutMs: 5_000,
  version: "1",
} as const;
