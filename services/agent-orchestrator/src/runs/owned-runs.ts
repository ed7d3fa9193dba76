import { ErrorReason, fail } from "@turnwright/platform/errors";

/** The error for those who wait for a run that this process leaves to another one. */
export function handedOver(): Error {
  return fail(ErrorReason.RUN_HANDED_OVER, "This process is shutting down; another one resumes the run.");
}

/** The runs that this process owns, by id, each with the controller that stops it. */
export class OwnedRuns extends Map<string, AbortController> {
  /** The process is shutting down: queued and unclaimed runs are left to other workers. */
  isDraining = false;
  /** Its time is over: runs are handed over, also those that calls in flight claim from now on. */
  isHandingOver = false;
  readonly #waiting: (() => void)[] = [];

  /** Begins to own a claimed run and stops an earlier claim of it in this process. */
  begin(runId: string): AbortController {
    this.get(runId)?.abort(fail(ErrorReason.STALE_EPOCH, "The run was claimed again."));
    const controller = new AbortController();
    this.set(runId, controller);
    return controller;
  }

  /** Ends the claim that `begin` returned this controller for; a later claim of the run stays. */
  end(runId: string, controller: AbortController): void {
    if (this.get(runId) !== controller) return;
    this.delete(runId);
    if (this.size === 0) for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** Resolves when no run is owned, or when the signal fires. */
  idle(limit: AbortSignal): Promise<void> {
    if (this.size === 0 || limit.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      limit.addEventListener("abort", () => resolve(), { once: true });
    });
  }
}
