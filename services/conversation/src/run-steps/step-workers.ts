import type { DraftStep } from "./draft-step.ts";

/**
 * Names the workers of steps. A worker's first commit after its claim names it, so steps between the two get their
 * worker later.
 */
export class StepWorkers {
  #worker = "";
  #unnamed: DraftStep[] = [];

  /** A worker that is not known yet takes the run. */
  claim(): void {
    this.#worker = "";
    this.#unnamed = [];
  }

  /** The step is the present worker's. */
  add(step: DraftStep): void {
    step.worker = this.#worker;
    if (this.#worker === "") this.#unnamed.push(step);
  }

  name(worker: string): void {
    this.#worker = worker;
    for (const step of this.#unnamed) step.worker = worker;
    this.#unnamed = [];
  }
}
