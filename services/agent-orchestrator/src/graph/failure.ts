import { ConnectError } from "@connectrpc/connect";
import { detailOf, ErrorReason, reasonName, reasonOf } from "@turnwright/platform/errors";

/** Why a run failed, as its log and its owner read it. */
export interface Failure {
  /** The proto name of the reason: `ERROR_REASON_MODEL_FAILED`. */
  readonly reason: string;
  /** 1 to 2,000 characters that can be stored. */
  readonly error: string;
}

const maxLength = 2_000;

/** The texts of errors that reach a run without words of ours, by reason. */
const plainTexts: Readonly<Partial<Record<ErrorReason, string>>> = {
  [ErrorReason.TOO_LARGE]: "A message of the run is larger than its services exchange.",
  [ErrorReason.DEADLINE_EXCEEDED]: "A service that the run needs did not answer in time.",
  [ErrorReason.UNAVAILABLE]: "A service that the run needs is away.",
};

/** An error's text as the run's log and its owner may read it. Unexpected errors are not described. */
export function failureText(error: unknown): string {
  const own = error instanceof ConnectError && detailOf(error) !== undefined ? error.rawMessage : plainTexts[reasonOf(error)];
  const text = (own ?? "unexpected error").slice(0, maxLength).toWellFormed().replaceAll("\0", "\ufffd");
  return text.trim() === "" ? "The run failed without a cause that is known." : text;
}

export function failureOf(error: unknown): Failure {
  return { reason: reasonName(reasonOf(error)), error: failureText(error) };
}

/** The most failures that are remembered; the oldest is forgotten first. */
const maxRemembered = 10_000;

/**
 * Failures of runs whose end could not be stored, by the run's UUID. When this process claims such a run again, it ends
 * with its failure instead of failing once more at the model's price.
 */
export class UnendedRuns {
  readonly #failures = new Map<string, Failure>();

  add(runId: string, failure: Failure): void {
    const [oldest] = this.#failures.keys();
    if (oldest !== undefined && this.#failures.size >= maxRemembered) this.#failures.delete(oldest);
    this.#failures.set(runId, failure);
  }

  failureOf(runId: string): Failure | undefined {
    return this.#failures.get(runId);
  }

  /** Forgets a run that has ended or belongs to another worker. */
  forget(runId: string): void {
    this.#failures.delete(runId);
  }
}
