import type { LoggedEvent, RunInfo } from "@turnwright/contract/conversation/v1/run";
import type { RunFrame } from "./frame.ts";
import type { Position } from "./position.ts";
import { storedFrames } from "./stored-frames.ts";

/** What was read of a run's log and not yet taken by its reader. A reader who does not come for it loses it, and reads again from where it stands. */
export class Backlog {
  #frames: RunFrame[] = [];
  #isUntouched = false;
  /** Whether something of it was given up. */
  wasDropped = false;

  /** Holds entries for a reader who stands at `at`, right before the first of them or in the middle of it. */
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

  /** Gives up what nobody has touched since the last time. */
  tick(): void {
    if (this.#isUntouched && this.#frames.length > 0) {
      this.#frames = [];
      this.wasDropped = true;
    }
    this.#isUntouched = true;
  }
}
