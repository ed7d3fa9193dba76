import type { Redis } from "ioredis";
import type { Logger } from "../logger.ts";
import type { Bus } from "./bus.ts";
import { busChannel } from "./bus-redis.ts";
import { type KeyState, RateLedger } from "./rate-ledger.ts";
import { decision, type RateDecision, type RateLimiter, type RateLimits } from "./rate-limiter.ts";
import { mergeScript, runScript, runScriptOnMany, takeScript } from "./rate-scripts.ts";
import type { Replicas } from "./replicas.ts";

const keyPrefix = "turnwright:rate:";
const topic = "rate.counts";

/** How often a process that limits alone looks whether Redis is back. */
const retryMs = 500;
/** How long it still keeps to its part after it has told Redis what it allowed: the others need as long to come back and tell. */
const settleMs = 3_000;

function stateOf(numbers: readonly number[]): KeyState {
  const [now = 0, ms = 0, mp = 0, mc = 0, ds = 0, dp = 0, dc = 0] = numbers;
  return { now, minute: { start: ms, previous: mp, current: mc }, day: { start: ds, previous: dp, current: dc } };
}

/**
 * A limiter for all processes that share a Redis: one atomic script, one round trip, the server's clock. Processes tell each other, in steps
 * of a sixteenth, how much of a limit is used. While Redis does not answer, each allows its part of what was left; when it is back, each
 * tells what it allowed, so that an outage or a lost data set adds little to any window.
 */
export function createRedisRateLimiter(options: {
  redis: Redis;
  /** Where processes tell each other of their counts; none for a process that counts as alone. */
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
  /** Redis' clock minus ours. */
  let clockOffset = 0;

  const localNow = options.now ?? Date.now;
  const serverNow = () => localNow() + clockOffset;

  function learn(key: string, state: KeyState): void {
    // In an outage, what was known before it is what the processes divide.
    if (mode === "shared") ledger.learn(key, state);
  }

  void options.bus?.subscribe(topic, (payload) => {
    const fields = payload.split(" ");
    const key = fields.slice(7).join(" ").slice(keyPrefix.length);
    if (key !== "") learn(key, stateOf(fields.slice(0, 7).map(Number)));
  });

  function goAlone(error?: unknown): void {
    if (mode === "alone" || isClosed) return;
    if (mode === "shared") logger.warn({ err: error }, "Redis does not answer: each process limits requests for itself");
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

  async function takeFromRedis(key: string, limits: RateLimits): Promise<RateDecision> {
    const [known, minuteCount, dayCount] = ledger.known(key);
    const channel = replicas.share().count > 1 ? busChannel(topic) : "";
    const args = [options.now?.() ?? "", limits.perMinute, limits.perDay, known, minuteCount, dayCount, channel];
    const answer = (await runScript(redis, takeScript, keyPrefix + key, args)) as number[];
    const [allowed = 0, limit = 0, remaining = 0, resetMs = 0, retryAfterMs = 0] = answer;
    const state = stateOf(answer.slice(5));
    clockOffset = state.now - localNow();
    learn(key, state);
    return decision(allowed === 1, limit, remaining, resetMs, retryAfterMs);
  }

  const takeAlone = (key: string, limits: RateLimits) => ledger.take(key, limits, serverNow(), replicas.share(), "alone");

  /** Allows what both Redis and this process's part allow; Redis counts it. */
  async function takeFromBoth(key: string, limits: RateLimits): Promise<RateDecision> {
    const own = ledger.take(key, limits, serverNow(), replicas.share(), "counted");
    if (!own.allowed) return own;
    try {
      const shared = await takeFromRedis(key, limits);
      if (!shared.allowed) ledger.correct(key, limits, false);
      return !shared.allowed || shared.remaining < own.remaining ? shared : own;
    } catch (error) {
      ledger.correct(key, limits, true);
      goAlone(error);
      return own;
    }
  }

  return {
    async take(key, limits) {
      if (limits.perMinute <= 0 && limits.perDay <= 0) return decision(true, 0, 0, 0, 0);
      if (redis.status !== "ready") goAlone();
      switch (mode) {
        case "alone":
          return takeAlone(key, limits);
        case "settling":
          return takeFromBoth(key, limits);
        case "shared":
          return takeFromRedis(key, limits).catch((error: unknown) => {
            goAlone(error);
            return takeAlone(key, limits);
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
