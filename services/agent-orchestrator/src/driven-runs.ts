/** The runs that this process drives; each is aborted by its controller. */
export class DrivenRuns extends Map<string, AbortController> {
  readonly #waiting: (() => void)[] = [];

  override delete(runId: string): boolean {
    const wasDriven = super.delete(runId);
    if (this.size === 0) for (const resolve of this.#waiting.splice(0)) resolve();
    return wasDriven;
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
