import type { Client } from "@connectrpc/connect";
import type { SpendService } from "@turnwright/contract/auth/v1/usage_service";
import { ErrorReason, reasonOf } from "@turnwright/platform/errors";
import type { Logger } from "@turnwright/platform/logger";

const batchSize = 1_000;
/** The most sums that wait during an outage of auth; usage that would need another one is lost. */
const maxWaiting = 100_000;

/** Usage of one token and model between two flushes. */
interface Sum {
  readonly userId: string;
  readonly tokenId: string;
  readonly model: string;
  requests: number;
  promptTokens: number;
  completionTokens: number;
  costMicros: number;
  estimatedTokens: number;
  /** Requests of a model without a price. */
  unpricedRequests: number;
  /** How often auth refused it when it was sent alone. */
  tries?: number;
}

const countNames = ["requests", "promptTokens", "completionTokens", "costMicros", "estimatedTokens", "unpricedRequests"] as const;

type OptionalCount = "requests" | "estimatedTokens" | "unpricedRequests";

/** The key of a sum. */
function keyOf({ userId, tokenId, model }: Pick<Sum, "userId" | "tokenId" | "model">): string {
  return JSON.stringify([userId, tokenId, model]);
}

/** The sum as auth records it. Throws a RangeError for counts that are not whole numbers. */
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
    unpricedRequests: BigInt(counts.unpricedRequests),
  };
}

/** The largest count of one call that is believed. */
const maxCount = 1e12;

/** A count as it may be added: whole, not negative, bounded. */
function bounded(count: number): number {
  return Math.min(maxCount, Math.max(0, Math.ceil(count) || 0));
}

/** Failures of auth or of the connection to it, which do not depend on the records. */
const passing: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.UNAVAILABLE,
  ErrorReason.DATABASE_UNAVAILABLE,
  ErrorReason.DEADLINE_EXCEEDED,
  ErrorReason.CANCELLED,
  ErrorReason.UNAUTHENTICATED,
  ErrorReason.INVALID_TOKEN,
]);
/**
 * How often auth may refuse a sum that is sent alone before the sum is dropped, unless auth names the sum as the cause.
 */
const lonelyTries = 10;

/** Gathers the usage of tokens without a ceiling and records it in batches, so that requests do not wait for it. */
export class UsageRecorder {
  readonly #spend: Client<typeof SpendService>;
  readonly #logger: Logger;
  #sums = new Map<string, Sum>();
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> | undefined;
  readonly #flushMs: number;

  /** `flushMs`: milliseconds from the first model call of a sum until the sum is recorded; 1,000 unless given. */
  constructor(deps: { spend: Client<typeof SpendService>; logger: Logger; flushMs?: number }) {
    this.#spend = deps.spend;
    this.#logger = deps.logger;
    this.#flushMs = deps.flushMs ?? 1_000;
  }

  /**
   * Adds a model call, with the number of requests that it took. A count that cannot be one, such as a fraction, is
   * changed to the nearest that can, and logged.
   */
  add(call: Omit<Sum, OptionalCount | "tries"> & Partial<Pick<Sum, OptionalCount>>): void {
    const given = { requests: 1, estimatedTokens: 0, unpricedRequests: 0, ...call };
    const usage = {
      ...given,
      requests: bounded(given.requests),
      promptTokens: bounded(given.promptTokens),
      completionTokens: bounded(given.completionTokens),
      costMicros: bounded(given.costMicros),
      estimatedTokens: bounded(given.estimatedTokens),
      unpricedRequests: bounded(given.unpricedRequests),
    };
    if (countNames.some((name) => usage[name] !== given[name])) {
      const { userId: user_id, tokenId: token_id, model, ...counts } = given;
      this.#logger.error({ user_id, token_id, model, counts }, "impossible usage of a model call was corrected");
    }
    this.#add(usage);
  }

  #add(usage: Sum): void {
    const key = keyOf(usage);
    const sum = this.#sums.get(key);
    if (sum === undefined) {
      if (this.#sums.size >= maxWaiting) {
        this.#logger.error({ waiting: this.#sums.size }, "usage is lost: too much of it waits for auth");
        return;
      }
      this.#sums.set(key, usage);
    } else {
      sum.requests = Math.min(Number.MAX_SAFE_INTEGER, sum.requests + usage.requests);
      sum.promptTokens = Math.min(Number.MAX_SAFE_INTEGER, sum.promptTokens + usage.promptTokens);
      sum.completionTokens = Math.min(Number.MAX_SAFE_INTEGER, sum.completionTokens + usage.completionTokens);
      sum.costMicros = Math.min(Number.MAX_SAFE_INTEGER, sum.costMicros + usage.costMicros);
      sum.estimatedTokens = Math.min(Number.MAX_SAFE_INTEGER, sum.estimatedTokens + usage.estimatedTokens);
      sum.unpricedRequests = Math.min(Number.MAX_SAFE_INTEGER, sum.unpricedRequests + usage.unpricedRequests);
    }
    this.#timer ??= setTimeout(() => void this.flush(), this.#flushMs).unref();
  }

  /** Records the gathered sums; a sum that cannot be recorded waits for the next flush. Never rejects. */
  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#flushing ??= this.#send().finally(() => {
      this.#flushing = undefined;
      if (this.#sums.size > 0) this.#timer ??= setTimeout(() => void this.flush(), this.#flushMs).unref();
    });
    return this.#flushing;
  }

  async #send(): Promise<void> {
    const sums = [...this.#sums.values()];
    this.#sums = new Map();
    for (let from = 0; from < sums.length; from += batchSize) await this.#record(sums.slice(from, from + batchSize));
  }

  /**
   * Records sums together. When auth refuses a batch, it is halved until the bad sum stands alone and can be dropped;
   * otherwise each flush would be refused because of it. Never rejects.
   */
  async #record(batch: readonly Sum[]): Promise<void> {
    try {
      await this.#spend.recordUsage({ records: batch.map(recordOf) }, { timeoutMs: 5_000 });
    } catch (error) {
      const reason = error instanceof RangeError ? ErrorReason.INVALID_REQUEST : reasonOf(error);
      if (passing.has(reason)) {
        this.#logger.warn({ err: error }, "usage could not be recorded; it will be tried again");
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
    this.#add(sum);
    const added = this.#sums.get(keyOf(sum));
    if (added !== undefined) added.tries = tries;
  }

  /** Records the remaining sums. */
  async close(): Promise<void> {
    await this.#flushing;
    await this.flush();
    clearTimeout(this.#timer);
  }
}
