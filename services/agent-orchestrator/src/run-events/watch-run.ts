import type { CallOptions } from "@connectrpc/connect";
import type { ReadRunLogResponse } from "@turnwright/contract/conversation/v1/journal_service";
import type { RunInfo } from "@turnwright/contract/conversation/v1/run";
import { retrying } from "@turnwright/platform/async/retrying";
import { isOutage } from "../outage.ts";
import { type RunFrame, restOf, unitsOf } from "./frame.ts";
import { formatPosition, type Position, parsePosition, start } from "./position.ts";
import type { RunWatches, Watcher } from "./run-watches.ts";
import { frameTime, startFrame } from "./stored-frames.ts";

const ended: ReadonlySet<string> = new Set(["completed", "failed", "cancelled"]);

/** Whether a run has ended for good. */
export function isEnded({ status }: Pick<RunInfo, "status">): boolean {
  return ended.has(status);
}

/** A reader of a run's events. */
export interface Watch {
  readonly runId: string;
  /** The credential that reads. */
  readonly tokenId: string;
  /** Options for calls with it. */
  readonly options: () => Promise<CallOptions>;
  readonly signal: AbortSignal;
}

/** A frame, and the status of its run when the watcher last read it. */
export interface WatchedFrame {
  readonly frame: RunFrame;
  readonly status: string;
}

/** How long the journal may be away before a watcher that has to read it gets its error, in milliseconds. */
const patienceMs = 30_000;

async function readLog(
  watches: RunWatches,
  { runId, tokenId, options, signal }: Watch,
  after: number,
): Promise<ReadRunLogResponse> {
  return await retrying(() => watches.readLog({ runId, tokenId, after }, options), {
    mayPass: (error) => !signal.aborted && isOutage(error),
    patienceMs,
    firstMs: 50,
    signal,
  });
}

/** The facts that a watcher keeps of a run that it has read. */
interface ReadRun extends Pick<RunInfo, "status" | "lastEventId"> {
  /** The first frame for a reader that begins at the beginning. */
  readonly beginning: RunFrame;
  /** Number of the last entry that was read, if one was. */
  readonly lastSeq: number | undefined;
}

/**
 * Puts the log entries behind a watcher's position into its backlog and returns facts about the run. A function of its
 * own, so that nothing else keeps the page in memory.
 */
async function readOn(watches: RunWatches, watch: Watch, { at, backlog }: Watcher): Promise<ReadRun | undefined> {
  const { run, events } = await readLog(watches, watch, at.seq);
  if (run === undefined) return undefined;
  backlog.fill(events, run, at);
  const { status, lastEventId } = run;
  // A run that was queued has an entry in its log that says when it began.
  const isQueued = events[0]?.type === "started" || (lastEventId === "0" && status === "queued");
  const type = isQueued ? "queued" : "started";
  return {
    status,
    lastEventId,
    lastSeq: events.at(-1)?.seq,
    beginning: { ...startFrame(type, run), atMs: frameTime(run.createdAt), eventId: "0" },
  };
}

/**
 * Yields the frames of a run behind a position, or from its beginning, until it has ended: first the stored ones, then
 * those that its driver publishes, in whichever process it is. Frames that are lost on the way are read from the
 * journal or asked of the driver, so that none is missing and none comes twice. A slow reader has few frames held for
 * it and catches up piece by piece. While nothing happens, a watcher does nothing. Throws the journal's errors.
 */
export async function* watchRun(
  { watches }: { watches: RunWatches },
  watch: Watch & { from: Position | undefined },
): AsyncGenerator<WatchedFrame> {
  const { signal } = watch;
  const watcher = await watches.join(watch.runId, watch.from ?? start);
  const { mailbox, backlog } = watcher;
  const onAbort = () => mailbox.close();
  signal.addEventListener("abort", onAbort, { once: true });
  let isBeginning = watch.from === undefined;
  try {
    while (!signal.aborted) {
      const read = await readOn(watches, watch, watcher);
      if (read === undefined) return;
      const { status } = read;
      watcher.seq = Number(read.lastEventId);
      watcher.isDriven = status === "running";
      if (isBeginning) {
        yield { status, frame: read.beginning };
        isBeginning = false;
      }
      for (let frame = backlog.next(); frame !== undefined; frame = backlog.next()) {
        watcher.at = parsePosition(frame.eventId ?? "");
        yield { status, frame };
      }
      if (backlog.wasDropped) continue;
      if (read.lastSeq !== undefined) {
        watcher.at = { seq: read.lastSeq, units: 0 };
        if (watcher.seq > read.lastSeq) continue;
      }
      if (isEnded(read)) return;
      if (watcher.isBehind) watches.ask(watcher);
      for (;;) {
        const piece = await mailbox.next();
        if (piece === undefined) return;
        if (piece === "missed" || piece === "tick") {
          watcher.isBehind = true;
          break;
        }
        const { at } = watcher;
        if (piece.at.seq < at.seq) continue;
        if (piece.at.seq > at.seq) {
          // The journal has the entries in between.
          watcher.isBehind = true;
          break;
        }
        if (piece.at.units > at.units) {
          if (!watcher.isBehind) watches.ask(watcher);
          continue;
        }
        let { units } = piece.at;
        for (const frame of piece.frames) {
          const rest = restOf(frame, watcher.at.units - units);
          units += unitsOf(frame);
          if (rest === undefined) continue;
          watcher.at = { seq: at.seq, units };
          yield { status, frame: { ...rest, eventId: formatPosition(watcher.at) } };
        }
        watcher.isBehind = piece.hasMore === true;
        if (watcher.isBehind) watches.ask(watcher);
        if (piece.isEnd) break;
      }
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    await watches.leave(watcher);
  }
}
