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

/** A run under the epoch of one claim. */
export interface ClaimedRun {
  /** UUID. */
  readonly id: string;
  readonly epoch: number;
}

/**
 * Failures of runs whose end could not be stored. When this process claims such a run again, it ends with its failure
 * instead of failing once more at the model's price.
 */
export class UnendedRuns {
  readonly #failures = new Map<string, { readonly epoch: number; readonly failure: Failure }>();

  add({ id, epoch }: ClaimedRun, failure: Failure): void {
    const [oldest] = this.#failures.keys();
    if (oldest !== undefined && this.#failures.size >= maxRemembered) this.#failures.delete(oldest);
    this.#failures.set(id, { epoch, failure });
  }

  /** The failure of the claim right before this one, which it takes out. A run that others drove meanwhile has none. */
  take({ id, epoch }: ClaimedRun): Failure | undefined {
    const known = this.#failures.get(id);
    this.#failures.delete(id);
    return known?.epoch === epoch - 1 ? known.failure : undefined;
  }
}
