import type { Attempt } from "../src/running/run-tool.ts";

/** An attempt at a call, always by the same user and under the same key. */
export function attempt(signal: AbortSignal = new AbortController().signal): Attempt {
  return { userId: "u", callKey: "k", signal };
}
