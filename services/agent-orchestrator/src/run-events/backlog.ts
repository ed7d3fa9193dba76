import type { LoggedEvent, RunInfo } from "@turnwright/contract/conversation/v1/run";
import type { RunFrame } from "./frame.ts";
import type { Position } from "./position.ts";
import { storedFrames } from "./stored-frames.ts";

/**
 * Frames that were read from a run's log and that the reader has not taken yet. A reader that does not come for them
 * loses them and reads again from its position.
 */
export class Backlog {
  #frames: RunFrame[] = [];
  #isUntouched = false;
  /** Whether frames were dropped because the reader did not come for them. */
  wasDropped = false;

  /** Holds log entries for a reader whose position `at` is right before the first entry, or in the middle of it. */
  fill(events: readonly LoggedEvent[], run: RunInfo, at: Position): void {
    this.wasDropped = false;
    this.#frames = events
      .flatMap((event, index) => storedFrames(event, run, index === 0 ? at : { seq: event.seq - 1, units: 0 }))
      .reverse();
  }

  next(): RunFrame | undefined {
    this.#isUntouched = false;
    return this.#frames.pop();
  }

  /** Drops the frames if none was taken since the last tick. */
  tick(): void {
    if (this.#isUntouched && this.#frames.length > 0) {
      this.#frames = [];
      this.wasDropped = true;
    }
    this.#isUntouched = true;
  }
}
