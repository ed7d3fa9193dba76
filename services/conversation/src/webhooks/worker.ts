import { guarded } from "@turnwright/platform/async/guarded";
import { createFailureLog } from "@turnwright/platform/failure-log";
import type { Logger } from "@turnwright/platform/logger";
import { Multimap } from "@turnwright/platform/multimap";
import type { Outbound } from "@turnwright/platform/outbound/outbound";
import { isDataRefused } from "@turnwright/platform/postgres/pool";
import type pg from "pg";
import {
  type ClaimedDelivery,
  claimDeliveries,
  pruneDeliveries,
  releaseDelivery,
  type Settlement,
  settleDelivery,
} from "../store/webhook-deliveries.ts";
import { endOverdueWebhooks } from "../store/webhook-makers.ts";
import { type Attempt, attemptDelivery } from "./attempt.ts";
import { type RetryPlan, retryDelayMs, retryPlan } from "./retries.ts";

/** Timing and limits of a worker; times are in milliseconds. */
export interface WebhookPace {
  /** Between two reads of the outbox. */
  readonly pollMs: number;
  /** From a wake-up to the read of the outbox; wake-ups in between share it. */
  readonly wakeMs: number;
  /** The longest that a receiver may take. */
  readonly timeoutMs: number;
  /** Duration of a claim; longer than any attempt. */
  readonly leaseMs: number;
  /** Deliveries in flight at once. */
  readonly concurrency: number;
  /** The longest rest after a failure, unless the receiver asks for a longer one by Retry-After. */
  readonly restMs: number;
  /** How long deliveries in flight may continue after `close`. */
  readonly graceMs: number;
  readonly retries: RetryPlan;
}

const usualPace: WebhookPace = {
  pollMs: 1_000,
  wakeMs: 50,
  timeoutMs: 15_000,
  leaseMs: 30_000,
  concurrency: 16,
  restMs: 60_000,
  graceMs: 5_000,
  retries: retryPlan,
};

const pruneMs = 600_000;

/** Sends the deliveries in the outbox. Each replica has one worker; leases in the database keep them apart. */
export interface WebhookWorker {
  /** Announces that there may be deliveries. Costs nothing while nobody has a webhook. */
  wake(): void;
  /**
   * Stops deliveries in flight for webhooks that depend on ended keys or belong to closed accounts, and drops those
   * claimed but not yet sent. `endedIds` are the ids of such keys and accounts.
   */
  forget(endedIds: ReadonlySet<string>): void;
  /** Deliveries in flight. */
  readonly underWay: number;
  /** Stops claiming, releases deliveries that do not end in time, and closes `outbound`. */
  close(): Promise<void>;
}

/** Starts a worker. */
export function startWebhookWorker(deps: {
  pool: pg.Pool;
  outbound: Outbound;
  logger: Logger;
  pace?: Partial<WebhookPace>;
}): WebhookWorker {
  const { pool, outbound, logger } = deps;
  const failures = createFailureLog(logger);
  const pace = { ...usualPace, ...deps.pace };
  const ended = new AbortController();
  const underWay = new Set<Promise<void>>();
  /** Controllers of deliveries in flight, by the API key on which they depend and by their owner. */
  const byTie = new Multimap<string, AbortController>();
  /** Ended keys and closed accounts, with the time at which they ended: deliveries claimed before may arrive later. */
  const endedTies = new Map<string, number>();
  let claiming: Promise<void> | undefined;
  let claimAgain = false;
  let woken: NodeJS.Timeout | undefined;
  let isNeeded = true;
  let closed = false;

  /** The signal that ends a delivery: with the worker, the account, or the key on which its webhook depends. */
  const tiesOf = ({ userId, apiKeyId, keyEndsInMs }: ClaimedDelivery, askedAt: number) => {
    const controller = new AbortController();
    const ties = apiKeyId === undefined ? [userId] : [userId, apiKeyId];
    // A later claim has found the webhook enabled again.
    if (ties.some((tie) => (endedTies.get(tie) ?? Number.NEGATIVE_INFINITY) >= askedAt)) controller.abort();
    for (const tie of ties) byTie.add(tie, controller);
    // A timer beyond a delivery's lease is not needed.
    const isClose = keyEndsInMs !== undefined && keyEndsInMs < pace.leaseMs;
    const timer = isClose ? setTimeout(() => controller.abort(), Math.max(0, keyEndsInMs)) : undefined;
    return {
      signal: AbortSignal.any([ended.signal, controller.signal]),
      untie() {
        clearTimeout(timer);
        for (const tie of ties) byTie.delete(tie, controller);
      },
    };
  };

  /** Sends a delivery of a claim that was asked for at this time of `performance.now()`. */
  const deliver = async (delivery: ClaimedDelivery, askedAt: number): Promise<void> => {
    const context = { webhook_id: delivery.webhookId, delivery_id: delivery.id, attempt: delivery.attempts };
    let attempt: Attempt;
    const ties = tiesOf(delivery, askedAt);
    try {
      ties.signal.throwIfAborted();
      attempt = await attemptDelivery(outbound, delivery, { timeoutMs: pace.timeoutMs, signal: ties.signal });
    } catch (error) {
      if (ties.signal.aborted) {
        await releaseDelivery(pool, delivery);
        return;
      }
      // Released, it would be claimed at once and fail again.
      const words = "The request could not be made.";
      attempt = { delivered: false, responseStatus: 0, responseBody: "", error: words, cause: error, gone: false };
    } finally {
      ties.untie();
    }
    const retryMs = attempt.gone ? undefined : retryDelayMs(pace.retries, delivery.attempts, attempt.retryAfterMs);
    if (attempt.delivered) logger.debug(context, "webhook delivered");
    else logFailed(delivery, attempt, retryMs);
    await settle(delivery, {
      ...attempt,
      retryMs,
      restMs: attempt.delivered ? 0 : restAfter(attempt, retryMs),
      disable: attempt.gone ? "The receiver answered with 410 (gone)." : "",
    });
  };

  const logFailed = (delivery: ClaimedDelivery, { responseStatus, error, cause }: Attempt, retryMs: number | undefined): void => {
    const host = URL.canParse(delivery.url) ? new URL(delivery.url).host : "";
    const fields = () => ({
      webhook_id: delivery.webhookId,
      delivery_id: delivery.id,
      run_id: delivery.runId,
      conversation_id: delivery.conversationId,
      host,
      status: responseStatus || undefined,
      error,
      // A receiver that answered has no reason of ours.
      ...(cause === undefined ? { reason: undefined } : {}),
      attempt: delivery.attempts,
      retry_in_ms: retryMs,
      given_up: retryMs === undefined,
    });
    const subject = [host, String(responseStatus)];
    failures.warn({ message: "webhook delivery failed", subject, error: cause, fields });
  };

  /** Stores an outcome. One that the database refuses for good ends the delivery, which would be sent for ever. */
  const settle = async (delivery: ClaimedDelivery, outcome: Settlement): Promise<void> => {
    try {
      await settleDelivery(pool, delivery, outcome);
    } catch (error) {
      if (!isDataRefused(error)) throw error;
      const ids = { webhook_id: delivery.webhookId, delivery_id: delivery.id, run_id: delivery.runId };
      logger.error({ err: error, ...ids }, "outcome of a webhook delivery cannot be stored; it is not sent again");
      const words = "The outcome of the last attempt cannot be stored.";
      const { delivered } = outcome;
      const bare = { delivered, responseStatus: 0, responseBody: "", error: words, restMs: 0, disable: "" };
      await settleDelivery(pool, delivery, bare);
    }
  };

  const restAfter = ({ retryAfterMs }: Attempt, retryMs: number | undefined): number =>
    retryAfterMs === undefined ? Math.min(retryMs ?? pace.restMs, pace.restMs) : (retryMs ?? pace.restMs);

  const claim = async (): Promise<void> => {
    do {
      claimAgain = false;
      const limit = pace.concurrency - underWay.size;
      if (limit === 0 || closed) return;
      const askedAt = performance.now();
      const claimed = await claimDeliveries(pool, { limit, leaseMs: pace.leaseMs });
      for (const delivery of claimed) {
        const work = deliver(delivery, askedAt)
          // The lease expires, and the delivery is tried again.
          .catch((error: unknown) =>
            logger.warn({ err: error, delivery_id: delivery.id }, "outcome of a webhook delivery not stored"),
          )
          .finally(() => {
            underWay.delete(work);
            start();
          });
        underWay.add(work);
      }
    } while (claimAgain);
  };

  const start = (): void => {
    claimAgain = true;
    if (closed || claiming !== undefined) return;
    claiming = claim()
      .catch((error: unknown) => logger.warn({ err: error }, "webhook deliveries could not be claimed"))
      .finally(() => {
        claiming = undefined;
      });
  };

  const poll = (): Promise<void> => {
    start();
    for (const [id, endedAt] of endedTies) if (performance.now() - endedAt > pace.leaseMs) endedTies.delete(id);
    // An outage is reported by the claim.
    return endOverdueWebhooks(pool).then(
      (any) => {
        isNeeded = any;
      },
      () => {},
    );
  };
  const timers = [
    setInterval(guarded(logger, "reading the outbox", poll), pace.pollMs),
    setInterval(
      guarded(logger, "pruning webhook deliveries", () => pruneDeliveries(pool)),
      pruneMs,
    ),
  ];
  for (const timer of timers) timer.unref();
  start();

  return {
    wake() {
      if (closed || !isNeeded || woken !== undefined) return;
      woken = setTimeout(() => {
        woken = undefined;
        start();
      }, pace.wakeMs);
      woken.unref();
    },
    forget(endedIds) {
      for (const id of endedIds) {
        endedTies.set(id, performance.now());
        for (const controller of byTie.get(id)) controller.abort();
      }
    },
    get underWay() {
      return underWay.size;
    },
    async close() {
      closed = true;
      clearTimeout(woken);
      for (const timer of timers) clearInterval(timer);
      await claiming;
      const cut = guarded(logger, "ending webhook deliveries", () => {
        ended.abort();
        // A connection being opened does not react to the signal.
        return outbound.close();
      });
      const grace = setTimeout(cut, pace.graceMs);
      await Promise.all(underWay);
      clearTimeout(grace);
      await outbound.close();
    },
  };
}
