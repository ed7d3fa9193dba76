import type { MessageInitShape } from "@bufbuild/protobuf";
import type { StreamRunEventsResponseSchema } from "@turnwright/contract/agent/v1/run_service";
import type { TurnEvent } from "../graph/turn.ts";

/** Something that happened in a run, as its watchers get it. */
export type RunFrame = Exclude<MessageInitShape<typeof StreamRunEventsResponseSchema>, { $typeName: string }>;

/** How far a frame brings its reader. */
export function unitsOf(frame: RunFrame): number {
  return frame.type === "content" ? (frame.delta?.length ?? 0) : 1;
}

/** The rest of a frame of which a reader has the first `units` already; undefined: all of it. */
export function restOf(frame: RunFrame, units: number): RunFrame | undefined {
  if (units <= 0) return frame;
  if (units >= unitsOf(frame)) return undefined;
  return { ...frame, delta: frame.delta?.slice(units) };
}

/** What happens in a turn, as a frame. */
export function frameOf(event: TurnEvent): RunFrame {
  switch (event.type) {
    case "content":
      return { type: "content", delta: event.delta };
    case "tool_call":
      return { type: "tool_call", toolCall: event.call };
    case "tool_result":
      return {
        type: "tool_result",
        toolCall: { id: event.callId, type: "function", function: { name: event.name } },
        result: event.result,
      };
    default:
      throw event satisfies never;
  }
}
