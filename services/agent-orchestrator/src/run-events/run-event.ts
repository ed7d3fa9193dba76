import type { ModelToolCall } from "../model/edge/chunk.ts";

/** Something that the driver of a run reports while it happens; watchers get it as frames. */
export type RunEvent =
  | { type: "content" | "reasoning"; delta: string }
  | { type: "tool_call"; call: ModelToolCall }
  | { type: "tool_result"; callId: string; name: string; result: string };
