import type { Bus } from "@turnwright/platform/ports/bus";
import { contentFrames, framesOf, type RunFrame, restOf, unitsOf } from "./frame.ts";
import { formatPosition, type Position, parsePosition } from "./position.ts";
import type { RunEvent } from "./run-event.ts";

/** Where who watches a run tells its driver so; the payload is a `WatchRequest`. */
export const watchTopic = "run-watch";

/** What a watcher says: that it is there, and, when it lacks something, from where on and where to send it. */
export interface WatchRequest {
  readonly runId: string;
  /** A position, as `formatPosition` writes it. */
  readonly after?: string;
  /** The watcher's own id. */
  readonly replyTo?: string;
}

/** Where a run's driver sends what happens, to all who watch. */
export function liveTopic(runId: string): string {
  return `run-live:${runId}`;
}

/** Where it sends one watcher what that one lacks. */
export function replyTopic(runId: string, watcher: string): string {
  return `run-live:${runId}:${watcher}`;
}

/** A piece of what is not stored yet, from `at` on. */
export interface LivePiece {
  readonly at: Position;
  readonly frames: readonly RunFrame[];
  /** The next entry of the log is stored. */
  readonly isEnd?: boolean;
  /** An answer to who lacks something: there is more than this. */
  readonly hasMore?: boolean;
}

/** How long a driver sends to who has asked, in milliseconds. Watchers ask again before it is over. */
export const watchLeaseMs = 15_000;
/** How long frames gather before they are sent on. */
const gatherMs = 5;
/** The most that a piece weighs. */
const maxPieceWeight = 32_768;

/** About what a frame takes to be sent. */
export function weightOf(frame: RunFrame): number {
  const { result = "", toolCall, message } = frame;
  const texts = [result, toolCall?.function?.arguments ?? "", message?.content ?? ""];
  return texts.reduce((weight, { length }) => weight + length, unitsOf(frame) + 64);
}

/** What happens in a run since its newest entry in the log, kept by its driver for those who watch. Costs nothing but memory while nobody does. */
export class LiveLog {
  readonly #bus: Bus;
  readonly #runId: string;
  readonly #onFrame: (frame: RunFrame) => void;
  #seq: number;
  #units = 0;
  #frames: RunFrame[] = [];
  /** The units behind each frame. */
  #ends: number[] = [];
  /** How many of the frames are sent. */
  #sent = 0;
  #watchedUntil = 0;
  #timer: NodeJS.Timeout | undefined;

  /** `onFrame` sees each frame at once, in this process. */
  constructor(run: { id: string; seq: number }, bus: Bus, onFrame: (frame: RunFrame) => void) {
    this.#seq = run.seq;
    this.#bus = bus;
    this.#runId = run.id;
    this.#onFrame = onFrame;
  }

  /** The newest entry of the run's log. */
  get seq(): number {
    return this.#seq;
  }

  /** Characters and events since the newest entry. */
  get units(): number {
    return this.#units;
  }

  emit(event: RunEvent): void {
    for (const frame of framesOf(event)) {
      this.#units += unitsOf(frame);
      frame.eventId = formatPosition({ seq: this.#seq, units: this.#units });
      this.#frames.push(frame);
      this.#ends.push(this.#units);
      this.#onFrame(frame);
    }
    if (this.#watchedUntil > Date.now()) this.#timer ??= setTimeout(() => this.#send(), gatherMs);
  }

  /** All that happened so far is stored. */
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

  /** Somebody watches: gets what comes, and what he asks for. */
  watched({ after, replyTo }: WatchRequest): void {
    const now = Date.now();
    // What nobody was there for is sent to those who ask for it.
    if (this.#watchedUntil <= now) this.#sent = this.#frames.length;
    this.#watchedUntil = now + watchLeaseMs;
    if (after !== undefined && replyTo !== undefined) this.#reply(parsePosition(after), replyTo);
  }

  /** Sends one watcher what comes after his position, a piece of it: he asks again when he has taken that. */
  #reply(at: Position, replyTo: string): void {
    // He has more than this driver has committed, or has to read the journal first, which is what he does.
    if (at.seq !== this.#seq || at.units > this.#units) return;
    const first = this.#indexBehind(at.units);
    const end = this.#pieceEnd(first);
    const frames: RunFrame[] = [];
    let text = "";
    for (let index = first; index < end; index += 1) {
      const frame = this.#frames[index] as RunFrame;
      const rest = index === first ? restOf(frame, at.units - this.#startOf(first)) : frame;
      if (rest === undefined) continue;
      if (rest.type === "content") {
        text += rest.delta ?? "";
        continue;
      }
      frames.push(...contentFrames(text), rest);
      text = "";
    }
    frames.push(...contentFrames(text));
    const piece: LivePiece = { at, frames, hasMore: end < this.#frames.length };
    void this.#bus.publish(replyTopic(this.#runId, replyTo), JSON.stringify(piece));
  }

  #startOf(index: number): number {
    return index === 0 ? 0 : (this.#ends[index - 1] as number);
  }

  /** The first frame that goes on behind `units`. */
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

  /** Behind the last frame of a piece that begins with the frame `first`. */
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
      void this.#bus.publish(liveTopic(this.#runId), JSON.stringify(piece));
    } while (this.#sent < this.#frames.length);
  }
}

/** Tells those who watch a run that its log has something new that its driver did not commit: they read it. */
export function pokeWatchers(bus: Bus, runId: string): void {
  const piece: LivePiece = { at: { seq: Number.MAX_SAFE_INTEGER, units: 0 }, frames: [] };
  void bus.publish(liveTopic(runId), JSON.stringify(piece));
}

/** The live logs of the runs that this process drives. */
export class LiveLogs {
  readonly #logs = new Map<string, LiveLog>();
  readonly #bus: Bus;

  constructor(bus: Bus) {
    this.#bus = bus;
  }

  /** Answers those who ask from now on; resolves with the function that ends it. */
  async listen(): Promise<() => Promise<void>> {
    return await this.#bus.subscribe(watchTopic, (payload) => {
      const request = JSON.parse(payload) as WatchRequest;
      this.#logs.get(request.runId)?.watched(request);
    });
  }

  open(run: { id: string; seq: number }, onFrame: (frame: RunFrame) => void): LiveLog {
    const log = new LiveLog(run, this.#bus, onFrame);
    this.#logs.set(run.id, log);
    return log;
  }

  close(runId: string, log: LiveLog): void {
    if (this.#logs.get(runId) === log) this.#logs.delete(runId);
  }
}
