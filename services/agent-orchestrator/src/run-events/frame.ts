import type { MessageInitShape } from "@bufbuild/protobuf";
import type { StreamRunEventsResponseSchema } from "@turnwright/contract/agent/v1/run_service";
import type { RunEvent } from "./run-event.ts";

/** Something that happened in a run, as its watchers get it. */
export type RunFrame = Exclude<MessageInitShape<typeof StreamRunEventsResponseSchema>, { $typeName: string }>;

/** The most text in one frame, in units: whoever holds a frame for a reader holds no more than that. */
export const maxFrameUnits = 4_096;

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

/** The same text in memory of its own: a slice keeps alive all that it was cut from, for each reader who stands still at it. */
function ownText(slice: string): string {
  return Buffer.from(slice, "utf8").toString("utf8");
}

/** Text as frames of no more than `maxFrameUnits`; no character is split. */
export function contentFrames(text: string): RunFrame[] {
  const frames: RunFrame[] = [];
  for (let from = 0; from < text.length; ) {
    let to = Math.min(from + maxFrameUnits, text.length);
    const last = text.charCodeAt(to - 1);
    if (to < text.length && last >= 0xd800 && last < 0xdc00) to -= 1;
    frames.push({ type: "content", delta: text.length <= maxFrameUnits ? text : ownText(text.slice(from, to)) });
    from = to;
  }
  return frames;
}

/** What happens in a turn, as frames. */
export function framesOf(event: RunEvent): RunFrame[] {
  switch (event.type) {
    case "content":
      return event.delta.length <= maxFrameUnits ? [{ type: "content", delta: event.delta }] : contentFrames(event.delta);
    case "tool_call":
      return [{ type: "tool_call", toolCall: event.call }];
    case "tool_result":
      return [
        {
          type: "tool_result",
          toolCall: { id: event.callId, type: "function", function: { name: event.name } },
          result: event.result,
        },
      ];
    default:
      throw event satisfies never;
  }
}
