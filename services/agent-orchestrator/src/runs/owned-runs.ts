import { ErrorReason, fail } from "@turnwright/platform/errors";

/** The runs that this process drives; each is aborted by its controller. */
export class DrivenRuns extends Map<string, AbortController> {
  /** This process ends: what waits to be driven is left to others. */
  isDraining = false;
  readonly #waiting: (() => void)[] = [];

  /** Somebody is about to drive a run that was claimed; who drove it here before has lost it. */
  begin(runId: string): AbortController {
    this.get(runId)?.abort(fail(ErrorReason.STALE_EPOCH, "The run was claimed anew."));
    const controller = new AbortController();
    this.set(runId, controller);
    return controller;
  }

  /** Who began so drives it no more. */
  end(runId: string, controller: AbortController): void {
    if (this.get(runId) !== controller) return;
    this.delete(runId);
    if (this.size === 0) for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** Resolves when none is driven, or when the signal fires. */
  idle(limit: AbortSignal): Promise<void> {
    if (this.size === 0 || limit.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      limit.addEventListener("abort", () => resolve(), { once: true });
    });
  }
}
