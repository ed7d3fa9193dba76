import type { CallOptions, Client } from "@connectrpc/connect";
import type { JournalService, ReadRunLogResponse } from "@turnwright/contract/conversation/v1/journal_service";
import type { RunInfo } from "@turnwright/contract/conversation/v1/run";
import { retrying } from "@turnwright/platform/async/retrying";
import type { Bus } from "@turnwright/platform/ports/bus";
import { uuidv7 } from "@turnwright/platform/uuid";
import { isOutage } from "../outage.ts";
import { Backlog } from "./backlog.ts";
import { type RunFrame, restOf, unitsOf } from "./frame.ts";
import { liveTopic, replyTopic, type WatchRequest, watchLeaseMs, watchTopic } from "./live-log.ts";
import { Mailbox } from "./mailbox.ts";
import { formatPosition, type Position, parsePosition, start } from "./position.ts";

/** Silence after which the journal is read, in milliseconds: the driver may be dead or unreachable. */
const pollMs = 1_000;
const readTimeoutMs = 10_000;

const ended: ReadonlySet<string> = new Set(["completed", "failed", "cancelled"]);

/** Whether a run has ended for good. */
export function isEnded(run: RunInfo): boolean {
  return ended.has(run.status);
}

interface Watch {
  readonly runId: string;
  readonly options: () => Promise<CallOptions> | CallOptions;
  readonly signal: AbortSignal;
}

/** How long the journal may be away before a watcher gets its error, in milliseconds. */
const patienceMs = 30_000;

async function readLog(
  deps: { journal: Client<typeof JournalService> },
  { runId, options, signal }: Watch,
  after: number,
): Promise<ReadRunLogResponse> {
  const read = async () =>
    await deps.journal.readRunLog({ runId, after }, { ...(await options()), signal, timeoutMs: readTimeoutMs });
  return await retrying(read, {
    mayPass: (error) => !signal.aborted && isOutage(error),
    patienceMs,
    firstMs: 50,
    signal,
  });
}

/**
 * Puts the log entries behind a position into the backlog and returns facts about the first and the last of them. A
 * function of its own, so that nothing else keeps the page in memory.
 */
async function readOn(deps: { journal: Client<typeof JournalService> }, watch: Watch, at: Position, backlog: Backlog) {
  const { run, events } = await readLog(deps, watch, at.seq);
  if (run !== undefined) backlog.fill(events, run, at);
  return { run, firstType: events[0]?.type, lastSeq: events.at(-1)?.seq };
}

/**
 * Yields the frames of a run behind a position, or from its beginning, until it has ended: first the stored ones, then
 * those that its driver publishes, in whichever process it is. Frames that are lost on the way are read from the
 * journal or asked of the driver, so that none is missing and none comes twice. A slow reader has few frames held for
 * it and catches up piece by piece. Throws the journal's errors.
 */
export async function* watchRun(
  deps: { journal: Client<typeof JournalService>; bus: Bus },
  watch: Watch & { from: Position | undefined },
): AsyncGenerator<{ frame: RunFrame; run: RunInfo }> {
  const { runId, signal } = watch;
  const mailbox = new Mailbox();
  const backlog = new Backlog();
  const replyTo = uuidv7();
  const tell = (request: WatchRequest) => void deps.bus.publish(watchTopic, JSON.stringify(request));
  const ask = () => tell({ runId, after: formatPosition(at), replyTo });
  const onAbort = () => mailbox.close();
  signal.addEventListener("abort", onAbort, { once: true });
  const topics = [liveTopic(runId), replyTopic(runId, replyTo)];
  const deliver = (payload: string) => mailbox.deliver(payload);
  const subscriptions = await Promise.all(topics.map((topic) => deps.bus.subscribe(topic, deliver)));
  const poll = setInterval(() => {
    mailbox.tick();
    backlog.tick();
  }, pollMs);
  const renewal = setInterval(() => tell({ runId }), watchLeaseMs / 3);
  let at = watch.from ?? start;
  let isBeginning = watch.from === undefined;
  // Whether frames are missing between those yielded and those arriving live. The driver is asked for them when the
  // journal does not have them.
  let isBehind = true;
  try {
    tell({ runId });
    while (!signal.aborted) {
      const { run, firstType, lastSeq } = await readOn(deps, watch, at, backlog);
      if (run === undefined) return;
      if (isBeginning) {
        const { id, conversationId, agent } = run;
        // A run that was queued has an entry in its log that says when it began.
        const isQueued = firstType === "started" || (run.lastEventId === "0" && run.status === "queued");
        yield { run, frame: { type: isQueued ? "queued" : "started", runId: id, conversationId, agent, eventId: "0" } };
        isBeginning = false;
      }
      for (let frame = backlog.next(); frame !== undefined; frame = backlog.next()) {
        at = parsePosition(frame.eventId ?? "");
        yield { run, frame };
      }
      if (backlog.wasDropped) continue;
      if (lastSeq !== undefined) {
        at = { seq: lastSeq, units: 0 };
        if (Number(run.lastEventId) > lastSeq) continue;
      }
      if (isEnded(run)) return;
      if (isBehind) ask();
      for (;;) {
        const piece = await mailbox.next();
        if (piece === undefined) return;
        if (piece === "missed") isBehind = true;
        if (piece === "missed" || piece === "tick") break;
        if (piece.at.seq < at.seq) continue;
        if (piece.at.seq > at.seq) {
          // The journal has the entries in between.
          isBehind = true;
          break;
        }
        if (piece.at.units > at.units) {
          if (!isBehind) ask();
          isBehind = true;
          continue;
        }
        let { units } = piece.at;
        for (const frame of piece.frames) {
          const rest = restOf(frame, at.units - units);
          units += unitsOf(frame);
          if (rest === undefined) continue;
          at = { seq: at.seq, units };
          yield { run, frame: { ...rest, eventId: formatPosition(at) } };
        }
        isBehind = piece.hasMore === true;
        if (isBehind) ask();
        if (piece.isEnd) break;
      }
    }
  } finally {
    clearInterval(poll);
    clearInterval(renewal);
    signal.removeEventListener("abort", onAbort);
    mailbox.close();
    await Promise.all(subscriptions.map((unsubscribe) => unsubscribe()));
  }
}
