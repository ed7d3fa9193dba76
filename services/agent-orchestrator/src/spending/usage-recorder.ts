import type { Client } from "@connectrpc/connect";
import type { SpendService } from "@turnwright/contract/auth/v1/usage_service";
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
}

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

  /** Adds a model call. */
  add(usage: Omit<Sum, "requests">): void {
    const key = `${usage.tokenId} ${usage.model}`;
    const sum = this.#sums.get(key);
    if (sum === undefined) {
      if (this.#sums.size >= maxWaiting) {
        this.#logger.error({ waiting: this.#sums.size }, "usage is lost: it has waited for auth too long");
        return;
      }
      this.#sums.set(key, { ...usage, requests: 1 });
    } else {
      sum.requests += 1;
      sum.promptTokens += usage.promptTokens;
      sum.completionTokens += usage.completionTokens;
      sum.costMicros += usage.costMicros;
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
    for (let from = 0; from < sums.length; from += batchSize) {
      const batch = sums.slice(from, from + batchSize);
      const records = batch.map(({ userId, tokenId, model, ...counts }) => ({
        userId,
        tokenId,
        model,
        requests: BigInt(counts.requests),
        promptTokens: BigInt(counts.promptTokens),
        completionTokens: BigInt(counts.completionTokens),
        costMicros: BigInt(counts.costMicros),
      }));
      try {
        await this.#spend.recordUsage({ records }, { timeoutMs: 5_000 });
      } catch (error) {
        this.#logger.warn({ err: error }, "usage could not be recorded; it is tried again");
        for (const sum of batch) this.#restore(sum);
      }
    }
  }

  #restore(sum: Sum): void {
    const { requests, ...usage } = sum;
    this.add(usage);
    const added = this.#sums.get(`${sum.tokenId} ${sum.model}`);
    if (added !== undefined) added.requests += requests - 1;
  }

  /** Records the rest. */
  async close(): Promise<void> {
    await this.#flushing;
    await this.flush();
    clearTimeout(this.#timer);
  }
}
