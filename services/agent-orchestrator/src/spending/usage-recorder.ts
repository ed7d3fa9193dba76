import type { Client } from "@connectrpc/connect";
import type { SpendService } from "@turnwright/contract/auth/v1/usage_service";
import { ErrorReason, reasonOf } from "@turnwright/platform/errors";
import type { Logger } from "@turnwright/platform/logger";

const flushMs = 1_000;
const batchSize = 1_000;
/** Sums that wait while auth does not answer; beyond, the oldest would be given up. */
const maxWaiting = 100_000;

/** Usage of one token and model, as it adds up between two flushes. */
interface Sum {
  readonly userId: string;
  readonly tokenId: string;
  readonly model: string;
  requests: number;
  promptTokens: number;
  completionTokens: number;
  costMicros: number;
  estimatedTokens: number;
  /** How often it was refused when it was recorded alone. */
  tries?: number;
}

/** What a sum is kept under. */
function keyOf({ userId, tokenId, model }: Pick<Sum, "userId" | "tokenId" | "model">): string {
  return JSON.stringify([userId, tokenId, model]);
}

/** Throws a RangeError for counts that are no whole numbers. */
function recordOf({ userId, tokenId, model, ...counts }: Sum) {
  return {
    userId,
    tokenId,
    model,
    requests: BigInt(counts.requests),
    promptTokens: BigInt(counts.promptTokens),
    completionTokens: BigInt(counts.completionTokens),
    costMicros: BigInt(counts.costMicros),
    estimatedTokens: BigInt(counts.estimatedTokens),
  };
}

/** Failures of auth and of the way to it, whatever is recorded. */
const passing: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.UNAVAILABLE,
  ErrorReason.DATABASE_UNAVAILABLE,
  ErrorReason.DEADLINE_EXCEEDED,
  ErrorReason.CANCELLED,
  ErrorReason.UNAUTHENTICATED,
  ErrorReason.INVALID_TOKEN,
]);
/**
 * How often a sum is recorded alone in vain before it is given up, when auth does not say that it is the sum's fault.
 */
const lonelyTries = 10;

/** Gathers usage of tokens without a ceiling and records it in batches, off the way of requests. */
export class UsageRecorder {
  readonly #spend: Client<typeof SpendService>;
  readonly #logger: Logger;
  #sums = new Map<string, Sum>();
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> | undefined;

  constructor(deps: { spend: Client<typeof SpendService>; logger: Logger }) {
    this.#spend = deps.spend;
    this.#logger = deps.logger;
  }

  /** Adds a model call, with as many requests as it took. */
  add(call: Omit<Sum, "requests" | "tries" | "estimatedTokens"> & Partial<Pick<Sum, "requests" | "estimatedTokens">>): void {
    const usage = { requests: 1, estimatedTokens: 0, ...call };
    const key = keyOf(usage);
    const sum = this.#sums.get(key);
    if (sum === undefined) {
      if (this.#sums.size >= maxWaiting) {
        this.#logger.error({ waiting: this.#sums.size }, "usage is lost: it has waited for auth too long");
        return;
      }
      this.#sums.set(key, usage);
    } else {
      sum.requests += usage.requests;
      sum.promptTokens += usage.promptTokens;
      sum.completionTokens += usage.completionTokens;
      sum.costMicros += usage.costMicros;
      sum.estimatedTokens += usage.estimatedTokens;
    }
    this.#timer ??= setTimeout(() => void this.flush(), flushMs).unref();
  }

  /** Records what has gathered; what cannot be recorded waits for the next time. Never rejects. */
  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#flushing ??= this.#send().finally(() => {
      this.#flushing = undefined;
      if (this.#sums.size > 0) this.#timer ??= setTimeout(() => void this.flush(), flushMs).unref();
    });
    return this.#flushing;
  }

  async #send(): Promise<void> {
    const sums = [...this.#sums.values()];
    this.#sums = new Map();
    for (let from = 0; from < sums.length; from += batchSize) await this.#record(sums.slice(from, from + batchSize));
  }

  /**
   * Records sums together. A sum that auth refuses is sought by halves and given up alone: each flush would be refused
   * for it, with all that travels beside it. Never rejects.
   */
  async #record(batch: readonly Sum[]): Promise<void> {
    try {
      await this.#spend.recordUsage({ records: batch.map(recordOf) }, { timeoutMs: 5_000 });
    } catch (error) {
      const reason = error instanceof RangeError ? ErrorReason.INVALID_REQUEST : reasonOf(error);
      if (passing.has(reason)) {
        this.#logger.warn({ err: error }, "usage could not be recorded; it is tried again");
        for (const sum of batch) this.#restore(sum, 0);
      } else if (batch.length > 1) {
        const half = Math.ceil(batch.length / 2);
        await this.#record(batch.slice(0, half));
        await this.#record(batch.slice(half));
      } else {
        for (const sum of batch) this.#refused(sum, reason, error);
      }
    }
  }

  #refused(sum: Sum, reason: ErrorReason, error: unknown): void {
    const tries = (sum.tries ?? 0) + 1;
    if (reason !== ErrorReason.INVALID_REQUEST && tries < lonelyTries) {
      this.#restore(sum, tries);
      return;
    }
    const { userId, tokenId, model, requests, promptTokens, completionTokens, costMicros } = sum;
    this.#logger.error(
      {
        err: error,
        user_id: userId,
        token_id: tokenId,
        model,
        requests,
        prompt_tokens: promptTokens,
        completion_tokens: completionTokens,
        cost_micros: costMicros,
      },
      "usage is lost: auth refuses it",
    );
  }

  #restore(sum: Sum, tries: number): void {
    this.add(sum);
    const added = this.#sums.get(keyOf(sum));
    if (added !== undefined) added.tries = tries;
  }

  /** Records the rest. */
  async close(): Promise<void> {
    await this.#flushing;
    await this.flush();
    clearTimeout(this.#timer);
  }
}
