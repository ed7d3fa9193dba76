import { useEffect, useState } from "preact/hooks";
import { ApiError } from "../../api/api-error.ts";
import { followStream } from "../../api/event-stream.ts";
import type { StreamRunEventsResponse } from "../../api/types.ts";

/** Texts of events come cut; each can be read whole where it is stored. */
const contentLimit = 2_000;
/** The most events that the page keeps. */
const maxEvents = 2_000;

/** Events of a run, as they were read. */
export interface ReadEvents {
  readonly events: readonly StreamRunEventsResponse[];
  readonly isWhole: boolean;
  readonly error: ApiError | undefined;
}

const majorOf = (id: string) => Number(id.split(".")[0] ?? "0");

/**
 * Reads the events of a run: all of them and those to come, or those between two entries of its log. Pieces of text
 * that follow each other are one event.
 */
export function useRunEvents(runId: string, first = "", last = ""): ReadEvents {
  const [read, setRead] = useState<ReadEvents>({ events: [], isWhole: false, error: undefined });
  useEffect(() => {
    const leaving = new AbortController();
    const events: StreamRunEventsResponse[] = [];
    let drawing: ReturnType<typeof setTimeout> | undefined;
    const draw = (isWhole: boolean, error?: ApiError) => setRead({ events: [...events], isWhole, error });
    draw(false);
    const after = Number(first) > 0 ? String(Number(first) - 1) : "";
    followStream<StreamRunEventsResponse>(`/v1/runs/${encodeURIComponent(runId)}/events`, {
      query: { content_limit: contentLimit },
      lastEventId: after,
      signal: leaving.signal,
      onEvent(event) {
        if (last !== "" && majorOf(event.event_id) > Number(last)) {
          draw(true);
          leaving.abort();
          return;
        }
        const before = events.at(-1);
        const isMore =
          before !== undefined && before.type === event.type && (event.type === "content" || event.type === "reasoning");
        if (isMore)
          events[events.length - 1] = { ...event, delta: (before.delta + event.delta).slice(0, 100_000), at: before.at };
        else if (events.length < maxEvents) events.push(event);
        drawing ??= setTimeout(() => {
          drawing = undefined;
          draw(false);
        }, 200);
      },
    }).then(
      () => {
        if (!leaving.signal.aborted) draw(true);
      },
      (error: unknown) => {
        if (!leaving.signal.aborted && error instanceof ApiError) draw(true, error);
      },
    );
    return () => {
      leaving.abort();
      clearTimeout(drawing);
    };
  }, [runId, first, last]);
  return read;
}

/** An event in one line. */
export function eventText({
  type,
  delta,
  tool_call,
  result,
  error,
  error_reason,
  in_ms,
  agent_type,
  model,
}: StreamRunEventsResponse): string {
  switch (type) {
    case "started":
      return [agent_type, model].filter((name) => name !== "").join(" · ");
    case "content":
    case "reasoning":
    case "finish":
      return delta.replaceAll(/\s+/g, " ").slice(0, 160);
    case "tool_call":
    case "pending_approval":
    case "needs_review":
      return `${tool_call?.function?.name ?? ""} ${tool_call?.function?.arguments ?? ""}`.slice(0, 160);
    case "tool_result":
      return `${tool_call?.function?.name ?? ""} ${result}`.slice(0, 160);
    case "retrying":
      return `in ${in_ms} ms: ${error}`.slice(0, 160);
    default:
      return `${error_reason} ${error}`.trim().slice(0, 160);
  }
}
