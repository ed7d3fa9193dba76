import { guarded } from "@turnwright/platform/async/guarded";
import type { Logger } from "@turnwright/platform/logger";
import { type Bus, send } from "@turnwright/platform/ports/bus";
import { framesOf, isText, type RunFrame, restOf, type TextType, textFrames, unitsOf } from "./frame.ts";
import { formatPosition, type Position, parsePosition } from "./position.ts";
import type { RunEvent } from "./run-event.ts";

/** Bus topic on which processes with watchers announce them to the runs' drivers; the payload is a `WatchRequest`. */
export const watchTopic = "run-watch";

/** A watcher's question for the frames that it lacks. */
interface FrameRequest {
  readonly runId: string;
  /** The position behind which frames are missing, as `formatPosition` writes it. */
  readonly after: string;
  /** The watcher's process, which names the topic for the missing frames, and the watcher's number in it. */
  readonly replyTo: string;
  readonly watcher: number;
}

/** The announcement of a process that has watchers: the runs that they watch, or a question of one of them. */
export type WatchRequest = { readonly runIds: readonly string[] } | FrameRequest;

/** Bus topic on which a run's driver sends frames to all watchers. */
export function liveTopic(runId: string): string {
  return `run-live:${runId}`;
}

/**
 * Bus topic on which drivers send the watchers of one process the frames that they lack: the watcher's number, a space,
 * a `LivePiece`.
 */
export function replyTopic(replyTo: string): string {
  return `run-replies:${replyTo}`;
}

/** A piece of the frames that are not stored yet, beginning at `at`. */
export interface LivePiece {
  readonly at: Position;
  readonly frames: readonly RunFrame[];
  /** The frames end here: the log has stored them as its next entry. */
  readonly isEnd?: boolean;
  /** In a reply to one watcher: more frames follow this piece. */
  readonly hasMore?: boolean;
}

/** How long a driver publishes after an announcement, in milliseconds. Processes with watchers renew it in time. */
export const watchLeaseMs = 15_000;
/** How long frames are gathered before they are published, in milliseconds. */
const gatherMs = 5;
/** The largest weight of a piece. */
const maxPieceWeight = 32_768;

/** Approximate size of a frame on the bus, in characters. */
export function weightOf(frame: RunFrame): number {
  const { result = "", toolCall, message } = frame;
  const texts = [result, toolCall?.function?.arguments ?? "", message?.content ?? "", message?.reasoning ?? ""];
  return texts.reduce((weight, { length }) => weight + length, unitsOf(frame) + 64);
}

/** A run that this process drives, from the newest entry of its log on. */
interface LoggedRun {
  readonly id: string;
  readonly seq: number;
  /** Whether all watchers get its text in the pieces in which it came. */
  readonly isKeyed?: boolean;
}

/**
 * The frames of a run since the newest entry of its log, kept by the driver for watchers. Without watchers it only
 * takes memory.
 */
export class LiveLog {
  readonly #bus: Bus;
  readonly #runId: string;
  readonly #isKeyed: boolean;
  readonly #onFrame: (frame: RunFrame) => void;
  readonly #sendLater: () => void;
  #seq: number;
  #units = 0;
  #frames: RunFrame[] = [];
  /** The units behind each frame. */
  #ends: number[] = [];
  /** How many of the frames are sent. */
  #sent = 0;
  #watchedUntil = 0;
  #timer: NodeJS.Timeout | undefined;

  /** `onFrame` is called in this process with each frame, as it happens. */
  constructor(run: LoggedRun, deps: { bus: Bus; logger: Logger }, onFrame: (frame: RunFrame) => void) {
    this.#seq = run.seq;
    this.#bus = deps.bus;
    this.#sendLater = guarded(deps.logger, "sending frames of a run", () => this.#send());
    this.#runId = run.id;
    this.#isKeyed = run.isKeyed === true;
    this.#onFrame = onFrame;
  }

  /** Sequence number of the newest entry of the run's log. */
  get seq(): number {
    return this.#seq;
  }

  /** Units since the newest entry. */
  get units(): number {
    return this.#units;
  }

  emit(event: RunEvent): void {
    const now = Date.now();
    for (const frame of framesOf(event)) {
      this.#units += unitsOf(frame);
      frame.atMs = now;
      frame.eventId = formatPosition({ seq: this.#seq, units: this.#units });
      this.#frames.push(frame);
      this.#ends.push(this.#units);
      this.#onFrame(frame);
    }
    if (this.#watchedUntil > now) this.#timer ??= setTimeout(this.#sendLater, gatherMs);
  }

  /** Starts over behind entry `seq`, which stores all frames so far. */
  committed(seq: number): void {
    if (this.#watchedUntil > Date.now()) this.#send(true);
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#seq = seq;
    this.#units = 0;
    this.#frames = [];
    this.#ends = [];
    this.#sent = 0;
  }

  /** Tells this process the frames of a log entry that has just been committed; other watchers read the entry. */
  tell(frames: readonly RunFrame[]): void {
    for (const frame of frames) this.#onFrame(frame);
  }

  /** Publishes frames for a watcher for the time of its lease, and sends it the missing frames that it asks for. */
  watched(asked?: FrameRequest): void {
    const now = Date.now();
    // Earlier frames go only to watchers that ask for them.
    if (this.#watchedUntil <= now) this.#sent = this.#frames.length;
    this.#watchedUntil = now + watchLeaseMs;
    if (asked !== undefined) this.#reply(parsePosition(asked.after), asked);
  }

  /** Sends one watcher a piece of the frames behind its position. It asks again when it has taken them. */
  #reply(at: Position, { replyTo, watcher }: FrameRequest): void {
    // The watcher is ahead of this driver, or must read the journal first, which it does by itself.
    if (at.seq !== this.#seq || at.units > this.#units) return;
    const first = this.#indexBehind(at.units);
    const end = this.#pieceEnd(first);
    const frames: RunFrame[] = [];
    let text = "";
    let type: TextType = "content";
    let atMs: number | undefined;
    const flush = () => {
      frames.push(...textFrames(type, text).map((frame) => ({ ...frame, atMs })));
      text = "";
    };
    for (let index = first; index < end; index += 1) {
      const frame = this.#frames[index] as RunFrame;
      const rest = index === first ? restOf(frame, at.units - this.#startOf(first)) : frame;
      if (rest === undefined) continue;
      if (rest.type !== type || this.#isKeyed) flush();
      if (isText(rest.type)) {
        // Text that comes in one frame has the time of its end.
        ({ type, atMs } = rest);
        text += rest.delta ?? "";
      } else {
        frames.push(rest);
      }
    }
    flush();
    const piece: LivePiece = { at, frames, hasMore: end < this.#frames.length };
    send(this.#bus, replyTopic(replyTo), `${watcher} ${JSON.stringify(piece)}`);
  }

  #startOf(index: number): number {
    return index === 0 ? 0 : (this.#ends[index - 1] as number);
  }

  /** Index of the first frame that ends behind `units`. */
  #indexBehind(units: number): number {
    let low = 0;
    let high = this.#ends.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ends[middle] as number) > units) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Index behind the last frame of a piece that begins with frame `first`. */
  #pieceEnd(first: number): number {
    let weight = 0;
    let end = first;
    while (end < this.#frames.length) {
      weight += weightOf(this.#frames[end] as RunFrame);
      if (weight > maxPieceWeight && end > first) break;
      end += 1;
    }
    return end;
  }

  #send(isEnd?: true): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    do {
      const first = this.#sent;
      this.#sent = this.#pieceEnd(first);
      const piece: LivePiece = {
        at: { seq: this.#seq, units: this.#startOf(first) },
        frames: this.#frames.slice(first, this.#sent),
        isEnd: this.#sent === this.#frames.length ? isEnd : undefined,
      };
      send(this.#bus, liveTopic(this.#runId), JSON.stringify(piece));
    } while (this.#sent < this.#frames.length);
  }
}

/** Tells a run's watchers to read its log, which has an entry that its driver did not commit. */
export function pokeWatchers(bus: Bus, runId: string): void {
  const piece: LivePiece = { at: { seq: Number.MAX_SAFE_INTEGER, units: 0 }, frames: [] };
  send(bus, liveTopic(runId), JSON.stringify(piece));
}

/** The live logs of the runs that this process drives. */
export class LiveLogs {
  readonly #logs = new Map<string, LiveLog>();
  readonly #deps: { readonly bus: Bus; readonly logger: Logger };

  constructor(deps: { readonly bus: Bus; readonly logger: Logger }) {
    this.#deps = deps;
  }

  /** Answers watchers from now on; resolves with the function that ends the subscription. */
  async listen(): Promise<() => Promise<void>> {
    return await this.#deps.bus.subscribe(watchTopic, (payload) => {
      const request = JSON.parse(payload) as WatchRequest;
      if ("runIds" in request) for (const runId of request.runIds) this.#logs.get(runId)?.watched();
      else this.#logs.get(request.runId)?.watched(request);
    });
  }

  open(run: LoggedRun, onFrame: (frame: RunFrame) => void): LiveLog {
    const log = new LiveLog(run, this.#deps, onFrame);
    this.#logs.set(run.id, log);
    return log;
  }

  close(runId: string, log: LiveLog): void {
    if (this.#logs.get(runId) === log) this.#logs.delete(runId);
  }
}
