import type { Redis } from "ioredis";

const prefix = "turnwright:replicas:";
const defaultHeartbeatMs = 2_000;
/** How long a process that was killed still counts, in milliseconds. */
const staleMs = 10_000;

/** Registers a process by the server's clock; gives how many there are and the place of this one among them. */
const script = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ${staleMs})
redis.call('PEXPIRE', KEYS[1], ${staleMs * 2})
local members = redis.call('ZRANGE', KEYS[1], 0, -1)
table.sort(members)
for place, member in ipairs(members) do
  if member == ARGV[1] then return {#members, place - 1} end
end
return {1, 0}
`;

/** How many processes share the limits, as far as this one knows. */
export interface Replicas {
  /** Registers this process, once it takes part. */
  join(): void;
  /** This process's part of a limit, so that all parts together make the limit; 0 stays 0, which means no limit. */
  shareOf(limit: number): number;
  /** Leaves the register. */
  close(): Promise<void>;
}

/** Keeps this process registered in its group while Redis answers; while it does not, the last count holds. */
export function countReplicas(redis: Redis, options: { group?: string; heartbeatMs?: number } = {}): Replicas {
  const key = prefix + (options.group ?? "limiters");
  const id = crypto.randomUUID();
  let count = 1;
  let place = 0;
  const register = async () => {
    if (redis.status !== "ready") return;
    const [members = 1, index = 0] = (await redis.eval(script, 1, key, id)) as number[];
    count = Math.max(1, members);
    place = index;
  };
  const beat = () => {
    register().catch(() => {});
  };
  let timer: NodeJS.Timeout | undefined;
  return {
    join() {
      if (timer !== undefined) return;
      timer = setInterval(beat, options.heartbeatMs ?? defaultHeartbeatMs).unref();
      redis.on("ready", beat);
      beat();
    },
    shareOf(limit) {
      if (limit <= 0) return 0;
      // A share of nothing must not read as no limit.
      return Math.max(Math.floor(limit / count) + (place < limit % count ? 1 : 0), Number.MIN_VALUE);
    },
    async close() {
      clearInterval(timer);
      redis.off("ready", beat);
      if (redis.status === "ready") await redis.zrem(key, id).catch(() => {});
    },
  };
}
