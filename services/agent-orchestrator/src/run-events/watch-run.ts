import { setTimeout as delay } from "node:timers/promises";
import type { CallOptions, Client } from "@connectrpc/connect";
import type { JournalService, ReadRunLogResponse } from "@turnwright/contract/conversation/v1/journal_service";
import type { RunInfo } from "@turnwright/contract/conversation/v1/run";
import { ErrorReason, reasonOf } from "@turnwright/platform/errors";
import type { Bus } from "@turnwright/platform/ports/bus";
import { EventQueue } from "../event-queue.ts";
import { type RunFrame, restOf, unitsOf } from "./frame.ts";
import { type LivePiece, liveTopic, watchLeaseMs, watchTopic } from "./live-log.ts";
import { formatPosition, type Position, start } from "./position.ts";
import { storedFrames } from "./stored-frames.ts";

/** Silence after which the journal is asked: a driver may be gone, or out of reach. */
const pollMs = 1_000;
const readTimeoutMs = 10_000;

const ended: ReadonlySet<string> = new Set(["completed", "failed", "cancelled"]);

/** Whether a run goes on by itself no more. */
export function isEnded(run: RunInfo): boolean {
  return ended.has(run.status);
}

/** How long the journal may be away before who watches is told. */
const patienceMs = 30_000;
const away: ReadonlySet<ErrorReason> = new Set([ErrorReason.UNAVAILABLE, ErrorReason.DATABASE_UNAVAILABLE]);

async function readLog(
  deps: { journal: Client<typeof JournalService> },
  read: { runId: string; after: number; options: () => Promise<CallOptions> | CallOptions; signal: AbortSignal },
): Promise<ReadRunLogResponse> {
  const { runId, after, signal } = read;
  const until = Date.now() + patienceMs;
  for (let pauseMs = 50; ; pauseMs = Math.min(pauseMs * 2, 1_000)) {
    try {
      return await deps.journal.readRunLog({ runId, after }, { ...(await read.options()), signal, timeoutMs: readTimeoutMs });
    } catch (error) {
      if (signal.aborted || !away.has(reasonOf(error)) || Date.now() + pauseMs > until) throw error;
      await delay(pauseMs, undefined, { signal });
    }
  }
}

/**
 * What happens in a run after a position, or from its beginning, until it has ended: first what is stored, then what its driver tells, wherever it is. What is lost on
 * the way, or not told, is read from the journal, so nothing is missing and nothing comes twice. Throws what the journal throws.
 */
export async function* watchRun(
  deps: { journal: Client<typeof JournalService>; bus: Bus },
  watch: { runId: string; from: Position | undefined; options: () => Promise<CallOptions> | CallOptions; signal: AbortSignal },
): AsyncGenerator<{ frame: RunFrame; run: RunInfo }> {
  const { runId, signal } = watch;
  const pieces = new EventQueue<LivePiece | undefined>();
  const live = pieces[Symbol.asyncIterator]();
  const ask = () => void deps.bus.publish(watchTopic, runId);
  const onAbort = () => pieces.end();
  signal.addEventListener("abort", onAbort, { once: true });
  const unsubscribe = await deps.bus.subscribe(liveTopic(runId), (payload) => pieces.push(JSON.parse(payload) as LivePiece));
  // Wakes the reader where nobody else does.
  const poll = setInterval(() => pieces.push(undefined), pollMs);
  const renewal = setInterval(ask, watchLeaseMs / 3);
  let at = watch.from ?? start;
  let isBeginning = watch.from === undefined;
  try {
    ask();
    while (!signal.aborted) {
      const { run, events } = await readLog(deps, { ...watch, after: at.seq });
      if (isBeginning && run !== undefined) {
        const { id, conversationId, agent } = run;
        // A run that had to wait says in its log that it began.
        const isQueued = events[0]?.type === "started" || (run.lastEventId === "0" && run.status === "queued");
        yield { run, frame: { type: isQueued ? "queued" : "started", runId: id, conversationId, agent, eventId: "0" } };
        isBeginning = false;
      }
      for (const event of events) {
        for (const frame of storedFrames(event, run as RunInfo, at)) yield { run: run as RunInfo, frame };
        at = { seq: event.seq, units: 0 };
      }
      if (run === undefined) return;
      if (events.length > 0 && Number(run.lastEventId) > at.seq) continue;
      if (isEnded(run)) return;
      for (;;) {
        const next = await live.next();
        if (next.done) return;
        const piece = next.value;
        if (piece === undefined) break;
        if (piece.at.seq < at.seq) continue;
        // The journal has what is in between, or the driver says it all again.
        if (piece.at.seq > at.seq || piece.at.units > at.units) {
          ask();
          break;
        }
        let { units } = piece.at;
        for (const frame of piece.frames) {
          const rest = restOf(frame, at.units - units);
          units += unitsOf(frame);
          if (rest === undefined) continue;
          at = { seq: at.seq, units };
          yield { run, frame: { ...rest, eventId: formatPosition(at) } };
        }
        if (piece.isEnd) break;
      }
    }
  } finally {
    clearInterval(poll);
    clearInterval(renewal);
    signal.removeEventListener("abort", onAbort);
    await unsubscribe();
    await live.return(undefined);
  }
}
