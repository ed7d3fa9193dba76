import { hash, randomUUID } from "node:crypto";
import type { Redis } from "ioredis";
import type { Bus, Unsubscribe } from "./bus.ts";

/** This process's share among the processes of its role. */
export interface Share {
  /** Number of processes that share a limit; at least 1. */
  readonly count: number;
  /** Rank of this process among them, from 0. */
  readonly rank: number;
}

/** Counts the processes of one role through Redis. */
export interface Replicas {
  /** The last known count; unchanged while Redis is away. */
  share(): Share;
  /** Sends a heartbeat and counts the others. Rejects when Redis does not answer. */
  beat(): Promise<void>;
  /** Ends the heartbeat and notifies the others. */
  leave(): Promise<void>;
}

/** A process's part of an integer; the parts of all processes add up to it. */
export function partOf(whole: number, { count, rank }: Share): number {
  return Math.floor(whole / count) + (rank < whole % count ? 1 : 0);
}

const beatIntervalMs = 5_000;
/**
 * Milliseconds for which a process without heartbeats still counts, and for which a lower count must persist before it
 * is used.
 */
const memoryMs = 15_000;

/** Records a heartbeat and removes expired members. Returns the count, this member's rank, and whether it is new. */
const script = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local isNew = redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local rank, members = 0, redis.call('ZRANGE', KEYS[1], 0, -1)
for _, member in ipairs(members) do
  if member < ARGV[1] then rank = rank + 1 end
end
return {#members, rank, isNew}
`;
const scriptHash = hash("sha1", script);

/** A process that shares its limits with no other. */
export function onlyReplica(redis: Redis): Replicas {
  return {
    share: () => ({ count: 1, rank: 0 }),
    beat: () => redis.ping().then(() => {}),
    leave: () => Promise.resolve(),
  };
}

/**
 * Registers this process under its role (`turnwright:replicas:<role>`) and starts its heartbeat, which counts the
 * others while Redis answers.
 */
export function joinReplicas(options: { redis: Redis; bus: Bus; role: string }): Replicas {
  const { redis, bus, role } = options;
  const key = `turnwright:replicas:${role}`;
  const topic = `replicas.${role}`;
  const id = randomUUID();
  let share: Share = { count: 1, rank: 0 };
  let smallerSince: number | undefined;
  let hasLeft = false;

  async function run(): Promise<number[]> {
    const args = [key, id, memoryMs] as const;
    try {
      return (await redis.evalsha(scriptHash, 1, ...args)) as number[];
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith("NOSCRIPT"))) throw error;
      return (await redis.eval(script, 1, ...args)) as number[];
    }
  }

  async function beat(): Promise<void> {
    if (hasLeft) return;
    const [count = 1, rank = 0, isNew = 0] = await run().catch((error: unknown) => {
      smallerSince = undefined;
      throw error;
    });
    // After a flush or an outage of Redis, the others are missing until their next heartbeat.
    if (count < share.count) smallerSince ??= performance.now();
    else smallerSince = undefined;
    if (smallerSince === undefined || performance.now() - smallerSince > memoryMs) {
      share = { count, rank };
      smallerSince = undefined;
    }
    if (isNew === 1) await bus.publish(topic, "");
  }

  const beatQuietly = () => {
    if (redis.status === "ready") beat().catch(() => {});
  };
  redis.on("ready", beatQuietly);
  beatQuietly();
  const timer = setInterval(beatQuietly, beatIntervalMs).unref();
  const listening: Promise<Unsubscribe> = bus.subscribe(topic, beatQuietly);
  return {
    share: () => share,
    beat,
    async leave() {
      hasLeft = true;
      clearInterval(timer);
      redis.off("ready", beatQuietly);
      if (redis.status !== "ready") return;
      await redis.zrem(key, id).catch(() => {});
      await bus.publish(topic, "");
      await listening.then((unsubscribe) => unsubscribe());
    },
  };
}
