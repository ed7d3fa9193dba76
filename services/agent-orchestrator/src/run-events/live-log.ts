import type { Bus } from "@turnwright/platform/ports/bus";
import type { TurnEvent } from "../graph/turn.ts";
import { frameOf, type RunFrame, unitsOf } from "./frame.ts";
import { formatPosition, type Position } from "./position.ts";

/** Where who watches a run asks its driver for what is not stored yet; the payload is the run's UUID. */
export const watchTopic = "run-watch";

/** Where a run's driver sends it. */
export function liveTopic(runId: string): string {
  return `run-live:${runId}`;
}

/** A piece of what is not stored yet, from `at` on. `isEnd`: the next entry of the log is stored. */
export interface LivePiece {
  readonly at: Position;
  readonly frames: readonly RunFrame[];
  readonly isEnd?: boolean;
}

/** How long a driver sends to who has asked, in milliseconds. Watchers ask again before it is over. */
export const watchLeaseMs = 15_000;
/** How long frames gather before they are sent on. */
const gatherMs = 5;

/** What happens in a run since its newest entry in the log, kept by its driver for those who watch. Costs nothing but memory while nobody does. */
export class LiveLog {
  readonly #bus: Bus;
  readonly #topic: string;
  readonly #onFrame: (frame: RunFrame) => void;
  #seq: number;
  #units = 0;
  #frames: RunFrame[] = [];
  #sent: { frames: number; units: number } = { frames: 0, units: 0 };
  #watchedUntil = 0;
  #timer: NodeJS.Timeout | undefined;

  /** `onFrame` sees each frame at once, in this process. */
  constructor(run: { id: string; seq: number }, bus: Bus, onFrame: (frame: RunFrame) => void) {
    this.#seq = run.seq;
    this.#bus = bus;
    this.#topic = liveTopic(run.id);
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

  emit(event: TurnEvent): void {
    const frame = frameOf(event);
    this.#units += unitsOf(frame);
    frame.eventId = formatPosition({ seq: this.#seq, units: this.#units });
    this.#frames.push(frame);
    this.#onFrame(frame);
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
    this.#sent = { frames: 0, units: 0 };
  }

  /** Somebody watches: gets all since the newest entry, and what comes. */
  watched(): void {
    this.#watchedUntil = Date.now() + watchLeaseMs;
    this.#sent = { frames: 0, units: 0 };
    this.#send();
  }

  #send(isEnd?: true): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const frames = this.#frames.slice(this.#sent.frames);
    const piece: LivePiece = { at: { seq: this.#seq, units: this.#sent.units }, frames, isEnd };
    this.#sent = { frames: this.#frames.length, units: this.#units };
    void this.#bus.publish(this.#topic, JSON.stringify(piece));
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
    return await this.#bus.subscribe(watchTopic, (runId) => this.#logs.get(runId)?.watched());
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
