import type { MessageInitShape } from "@bufbuild/protobuf";
import type { StreamRunEventsResponseSchema } from "@turnwright/contract/agent/v1/run_service";
import type { RunEvent } from "./run-event.ts";

/** An event of a run as its watchers get it, and facts for those who watch it as a resource. */
export type RunFrame = Exclude<MessageInitShape<typeof StreamRunEventsResponseSchema>, { $typeName: string }> & {
  /** When it happened, in milliseconds since 1970. A number, because frames travel as JSON. */
  atMs?: number;
  /** started: the run's model, as far as its row names one. */
  readonly runModel?: string;
};

/** The fields of a frame that name the run's agent: the deprecated one too. */
export function agentFields(agentType: string | undefined): Pick<RunFrame, "agent" | "agentType"> {
  return { agent: agentType, agentType };
}

/** The most text in one frame, in units. It bounds the memory that a frame takes while it waits for a reader. */
export const maxFrameUnits = 4_096;

/** The types of frames that carry a piece of text. */
export type TextType = "content" | "reasoning";

/** Whether frames of this type carry a piece of text. */
export function isText(type: string | undefined): type is TextType {
  return type === "content" || type === "reasoning";
}

/** The units by which a frame advances its reader: characters of text, or one for any other event. */
export function unitsOf(frame: RunFrame): number {
  return isText(frame.type) ? (frame.delta?.length ?? 0) : 1;
}

/** The part of a frame behind its first `units`, which the reader has already; undefined when it has all of it. */
export function restOf(frame: RunFrame, units: number): RunFrame | undefined {
  if (units <= 0) return frame;
  if (units >= unitsOf(frame)) return undefined;
  return { ...frame, delta: frame.delta?.slice(units) };
}

/** A copy of a slice. The slice itself would keep the whole text in memory, for each reader that is stopped at it. */
function ownText(slice: string): string {
  return Buffer.from(slice, "utf8").toString("utf8");
}

/** Splits text into frames of at most `maxFrameUnits` units; no character is split. */
export function textFrames(type: TextType, text: string): RunFrame[] {
  const frames: RunFrame[] = [];
  for (let from = 0; from < text.length; ) {
    let to = Math.min(from + maxFrameUnits, text.length);
    const last = text.charCodeAt(to - 1);
    if (to < text.length && last >= 0xd800 && last < 0xdc00) to -= 1;
    frames.push({ type, delta: text.length <= maxFrameUnits ? text : ownText(text.slice(from, to)) });
    from = to;
  }
  return frames;
}

/** An event as frames. */
export function framesOf(event: RunEvent): RunFrame[] {
  switch (event.type) {
    case "reasoning":
    case "content":
      return event.delta.length <= maxFrameUnits
        ? [{ type: event.type, delta: event.delta }]
        : textFrames(event.type, event.delta);
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
