import type { Redis } from "ioredis";
import type { Logger } from "../logger.ts";
import type { Bus } from "./bus.ts";
import { busChannel } from "./bus-redis.ts";
import { type KeyState, RateLedger } from "./rate-ledger.ts";
import { decision, isLimited, type RateBucket, type RateDecision, type RateLimiter, unlimited } from "./rate-limiter.ts";
import { mergeScript, runScript, runScriptOnMany, takeScript } from "./rate-scripts.ts";
import type { Replicas } from "./replicas.ts";

const keyPrefix = "turnwright:rate:";
const topic = "rate.counts";

/** Milliseconds between a process's checks whether Redis is back. */
const retryMs = 500;
/**
 * Milliseconds for which a process keeps to its share after it has reported its counts to Redis: the other processes
 * need as long to do the same.
 */
const settleMs = 3_000;

/** The windows of a key, from six numbers at an index of a script's reply. */
function stateOf(now: number, numbers: readonly number[], at: number): KeyState {
  const number = (i: number) => numbers[at + i] ?? 0;
  return {
    now,
    minute: { start: number(0), previous: number(1), current: number(2) },
    day: { start: number(3), previous: number(4), current: number(5) },
  };
}

/**
 * Starts a limiter for all processes that share a Redis: one atomic script over all buckets, one round trip, on the
 * server's clock. Processes tell each other how much of a limit is used, in steps of a sixteenth. While Redis does not
 * answer, each process allows its share of the remaining limit. When Redis is back, each reports the requests it
 * allowed, so that an outage or a lost data set adds little to any window.
 */
export function startRedisRateLimiter(options: {
  redis: Redis;
  /** Carries the counts between processes; absent for a process that counts as alone. */
  bus?: Bus;
  replicas: Replicas;
  logger: Logger;
  /** Replaces the server's clock; milliseconds. */
  now?: () => number;
}): RateLimiter & { close(): void } {
  const { redis, replicas, logger } = options;
  const ledger = new RateLedger();
  let mode: "shared" | "alone" | "settling" = "shared";
  let isClosed = false;
  let isReturning = false;
  let timer: NodeJS.Timeout | undefined;
  /** Redis' clock minus this process's clock, in milliseconds. */
  let clockOffset = 0;

  const localNow = options.now ?? Date.now;
  const serverNow = () => localNow() + clockOffset;

  function learn(key: string, state: KeyState): void {
    // During an outage, the processes divide the state known before it.
    if (mode === "shared") ledger.learn(key, state);
  }

  void options.bus?.subscribe(topic, (payload) => {
    const fields = payload.split(" ");
    const key = fields.slice(7).join(" ").slice(keyPrefix.length);
    const [now = 0, ...windows] = fields.slice(0, 7).map(Number);
    if (key !== "") learn(key, stateOf(now, windows, 0));
  });

  function goAlone(error?: unknown): void {
    if (mode === "alone" || isClosed) return;
    if (mode === "shared")
      logger.warn({ err: error }, "Redis does not answer: each process applies its share of the rate limits");
    mode = "alone";
    schedule(tryReturn, retryMs);
  }

  function schedule(step: () => void, ms: number): void {
    clearTimeout(timer);
    if (!isClosed) timer = setTimeout(step, ms).unref();
  }

  async function tryReturn(): Promise<void> {
    if (mode !== "alone" || isReturning || isClosed) return;
    clearTimeout(timer);
    if (redis.status !== "ready") return schedule(tryReturn, retryMs);
    let undo = () => {};
    isReturning = true;
    try {
      await replicas.beat();
      const told = ledger.takeUntold(serverNow());
      undo = told.undo;
      const calls = told.untold.map(({ key, known, alone }) => ({
        key: keyPrefix + key,
        args: [options.now?.() ?? "", known, alone],
      }));
      if (calls.length > 0) await runScriptOnMany(redis, mergeScript, calls);
      mode = "settling";
      if (replicas.share().count === 1) settle();
      else schedule(settle, settleMs);
    } catch {
      undo();
      schedule(tryReturn, retryMs);
    } finally {
      isReturning = false;
    }
  }

  function settle(): void {
    ledger.settle();
    mode = "shared";
    logger.info("rate limits are shared again");
  }

  const onReady = () => void tryReturn();
  redis.on("ready", onReady);

  async function takeFromRedis(buckets: readonly RateBucket[]): Promise<RateDecision> {
    const channel = replicas.share().count > 1 ? busChannel(topic) : "";
    const args: (string | number)[] = [options.now?.() ?? "", channel];
    for (const { key, perMinute, perDay } of buckets) args.push(perMinute, perDay, ...ledger.known(key));
    const keys = buckets.map(({ key }) => keyPrefix + key);
    const answer = (await runScript(redis, takeScript, keys, args)) as number[];
    const [allowed = 0, limit = 0, remaining = 0, resetMs = 0, retryAfterMs = 0, now = 0] = answer;
    clockOffset = now - localNow();
    buckets.forEach(({ key }, i) => {
      learn(key, stateOf(now, answer, 6 + 6 * i));
    });
    return decision(allowed === 1, limit, remaining, resetMs, retryAfterMs);
  }

  const takeAlone = (buckets: readonly RateBucket[]) => ledger.take(buckets, serverNow(), replicas.share(), "alone");

  /** Allows a request that both Redis and this process's share allow; Redis counts it. */
  async function takeFromBoth(buckets: readonly RateBucket[]): Promise<RateDecision> {
    const own = ledger.take(buckets, serverNow(), replicas.share(), "counted");
    if (!own.allowed) return own;
    try {
      const shared = await takeFromRedis(buckets);
      if (!shared.allowed) ledger.correct(buckets, false);
      return !shared.allowed || shared.remaining < own.remaining ? shared : own;
    } catch (error) {
      ledger.correct(buckets, true);
      goAlone(error);
      return own;
    }
  }

  return {
    async take(buckets) {
      if (!buckets.some(isLimited)) return unlimited;
      if (redis.status !== "ready") goAlone();
      switch (mode) {
        case "alone":
          return takeAlone(buckets);
        case "settling":
          return takeFromBoth(buckets);
        case "shared":
          return takeFromRedis(buckets).catch((error: unknown) => {
            goAlone(error);
            return takeAlone(buckets);
          });
        default:
          return mode satisfies never;
      }
    },
    close() {
      isClosed = true;
      clearTimeout(timer);
      redis.off("ready", onReady);
    },
  };
}
