import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { SystemService } from "@turnwright/contract/system/v1/system_service";
import { ErrorReason, reasonOf } from "@turnwright/platform/errors";
import type { InstanceReport, ServiceHealth } from "@turnwright/platform/rpc/grpc-health";
import { z } from "zod";
import type { ReadinessChecks } from "../health.ts";
import type { Parts } from "./parts.ts";

/** Milliseconds that a part may take to answer. */
const limitMs = 1_800;
/** The most entries of a list that a part reports, and characters of a text. */
const [maxEntries, maxUnits] = [50, 200];
/** Parts that use PostgreSQL. */
const storedParts = ["auth", "conversation", "tool-executor"];

const count = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER).catch(0);
const small = z.number().int().nonnegative().max(2_147_483_647).catch(0);
const text = z
  .string()
  .transform((value) => value.slice(0, maxUnits))
  .catch("");
const entries = <S extends z.ZodType>(entry: S) =>
  z
    .array(entry)
    .transform((list) => list.slice(0, maxEntries))
    .catch([]);

/** A report as this release writes it; what another one lacks is 0 or empty. */
const reportShape = z.object({
  version: text,
  uptime_seconds: count,
  memory_bytes: count,
  heap_bytes: count,
  loop_lag_ms: count,
  pools: entries(z.object({ max: small, open: small, idle: small, waiting: small })),
  queues: entries(z.object({ provider: text, in_progress: small, waiting: small, oldest_wait_ms: count })),
  breakers: entries(z.object({ provider: text, model: text, state: text })),
});

/** Settles as `work` does, or with `late` when that takes too long. */
async function within<T, L>(work: Promise<T>, late: L): Promise<T | L> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<L>((resolve) => {
    timer = setTimeout(() => resolve(late), limitMs);
  });
  try {
    return await Promise.race([work, timeout]);
  } finally {
    clearTimeout(timer);
  }
}

function replicaOf({ instance, report }: InstanceReport) {
  const parsed = reportShape.safeParse(report);
  if (!parsed.success) return { instance, isSilent: true };
  const { data } = parsed;
  return {
    instance,
    isSilent: false,
    version: data.version,
    uptimeSeconds: BigInt(data.uptime_seconds),
    memoryBytes: BigInt(data.memory_bytes),
    heapBytes: BigInt(data.heap_bytes),
    loopLagMs: BigInt(data.loop_lag_ms),
    pools: data.pools,
    queues: data.queues.map(({ in_progress: inProgress, oldest_wait_ms: waitMs, ...queue }) => ({
      ...queue,
      inProgress,
      oldestWaitMs: BigInt(waitMs),
    })),
    breakers: data.breakers,
  };
}

/** The verdict of a check: healthy, with what fails; the reason why it is not; or late. */
type Verdict = ServiceHealth | ErrorReason | "late" | undefined;

function look(check: ReadinessChecks[string] | undefined): Promise<Verdict> {
  const asked = (async () => (await check?.()) ?? undefined)().catch((error: unknown) => reasonOf(error));
  return within<Verdict, "late">(asked, "late");
}

function statusOf(verdict: Verdict, replicas: readonly { isSilent: boolean }[]): string {
  if (verdict === "late" || (replicas.length > 0 && replicas.every(({ isSilent }) => isSilent))) return "silent";
  if (typeof verdict === "number") return replicas.length === 0 ? "silent" : "unavailable";
  return (verdict?.failing.length ?? 0) > 0 || replicas.some(({ isSilent }) => isSilent) ? "degraded" : "ready";
}

function storeOf(verdicts: readonly Verdict[], lacks: ErrorReason): string {
  if (verdicts.includes(lacks)) return "unavailable";
  return verdicts.some((verdict) => typeof verdict !== "number" && verdict !== "late") ? "ready" : "unknown";
}

/** Handlers of SystemService. `own` are the figures of this gateway. */
export function systemHandlers(deps: {
  readonly parts: Parts;
  readonly checks: ReadinessChecks;
  readonly own: () => unknown;
}): ServiceImpl<typeof SystemService> {
  const { parts, checks } = deps;
  return {
    async getSystem() {
      const askedAt = timestampFromMs(Date.now());
      const redis = look(checks.redis);
      const asked = await Promise.all(
        Object.entries(parts).map(async ([name, reports]) => {
          const none: readonly InstanceReport[] = [];
          const told = within(
            reports(limitMs).catch(() => none),
            none,
          );
          const [verdict, replicas] = await Promise.all([look(checks[name]), told.then((list) => list.map(replicaOf))]);
          return { name, verdict, replicas };
        }),
      );
      const gateway = { name: "gateway", status: "ready", replicas: [replicaOf({ instance: "", report: deps.own() })] };
      const ofDatabase = asked.filter(({ name }) => storedParts.includes(name)).map(({ verdict }) => verdict);
      return {
        askedAt,
        parts: [
          gateway,
          ...asked.map(({ name, verdict, replicas }) => ({ name, replicas, status: statusOf(verdict, replicas) })),
        ],
        stores: [
          { name: "postgresql", status: storeOf(ofDatabase, ErrorReason.DATABASE_UNAVAILABLE) },
          { name: "redis", status: storeOf(checks.redis === undefined ? [] : [await redis], ErrorReason.REDIS_UNAVAILABLE) },
        ],
      };
    },
  };
}
