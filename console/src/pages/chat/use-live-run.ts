import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError } from "../../api/api-error.ts";
import { followStream, type StreamState } from "../../api/event-stream.ts";
import { whileVisible } from "../../live/while-visible.ts";
import { addEvent, applyEvent, isEnded, type LiveAnswer, type RunEvent, startedAnswer } from "./live-run.ts";

/** An answer under way, and the state of its stream. */
export interface LiveRun {
  readonly answer: LiveAnswer;
  readonly stream: StreamState;
  readonly error: ApiError | undefined;
}

/** Texts of tools come cut; the run's page has the whole. */
const contentLimit = 4_000;

/**
 * Follows a run from its beginning, over lost connections and servers, until it ends; undefined without a run.
 * `onChange` is told each event after it was applied.
 */
export function useLiveRun(
  runId: string | undefined,
  onChange: (answer: LiveAnswer, event: RunEvent) => void,
): LiveRun | undefined {
  const [live, setLive] = useState<LiveRun>();
  const latest = useRef(onChange);
  latest.current = onChange;
  useEffect(() => {
    if (runId === undefined || runId === "") return setLive(undefined);
    const leaving = new AbortController();
    let events: readonly RunEvent[] = [];
    let answer = startedAnswer(runId);
    let stream: StreamState = "open";
    let drawing = 0;
    const draw = (error?: ApiError) => setLive({ answer, stream, error });
    // At most one drawing for each frame: events of a quick model come by the hundred.
    const drawSoon = () => {
      if (drawing !== 0) return;
      drawing = requestAnimationFrame(() => {
        drawing = 0;
        draw();
      });
    };
    draw();
    let lastEventId = "";
    const follow = (signal: AbortSignal) =>
      followStream<RunEvent>(`/v1/runs/${encodeURIComponent(runId)}/events`, {
        query: { content_limit: contentLimit },
        lastEventId,
        signal,
        onEvent(event, id) {
          if (id !== "") lastEventId = id;
          events = addEvent(events, event);
          answer = event.type === "reset" ? events.reduce(applyEvent, startedAnswer(runId)) : applyEvent(answer, event);
          if (isEnded(answer)) draw();
          else drawSoon();
          latest.current(answer, event);
        },
        onState(state) {
          stream = state;
          drawSoon();
        },
      }).then(
        () => {
          if (!leaving.signal.aborted) draw();
        },
        (error: unknown) => {
          if (!leaving.signal.aborted && error instanceof ApiError) draw(error);
        },
      );
    const stopFollowing = whileVisible(follow);
    return () => {
      leaving.abort();
      stopFollowing();
      cancelAnimationFrame(drawing);
    };
  }, [runId]);
  return live?.answer.runId === runId ? live : undefined;
}
