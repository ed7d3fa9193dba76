import { createClient } from "@connectrpc/connect";
import { SystemService } from "@turnwright/contract/system/v1/system_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { watchProcess } from "@turnwright/platform/process/process-figures";
import { createInProcessTransport } from "@turnwright/platform/rpc/in-process";
import { mount } from "@turnwright/platform/rpc/mount";
import { expect, test } from "vitest";
import type { ReadinessChecks } from "../health.ts";
import type { Parts } from "./parts.ts";
import { systemHandlers } from "./system.ts";

const report = {
  version: "0.1.0",
  uptime_seconds: 12,
  memory_bytes: 100,
  heap_bytes: 50,
  loop_lag_ms: 3,
  pools: [{ max: 16, open: 4, idle: 3, waiting: 1 }],
  queues: [{ provider: "default", in_progress: 2, waiting: 1, oldest_wait_ms: 40 }],
  breakers: [{ provider: "default", model: "m", state: "open" }],
};
const never = (): Promise<never> => new Promise(() => {});
const unanswered = (): Promise<void> => never();

async function look(parts: Parts, checks: ReadinessChecks) {
  const handlers = systemHandlers({ parts, checks, own: () => ({ version: "0.1.0", uptime_seconds: 1 }) });
  const client = createClient(SystemService, createInProcessTransport({ mounts: [mount(SystemService, handlers)] }));
  const { parts: told, stores } = await client.getSystem({});
  return { parts: new Map(told.map((part) => [part.name, part])), stores: new Map(stores.map((s) => [s.name, s.status])) };
}

test("parts, replicas and stores are told with their figures", async () => {
  const { parts, stores } = await look(
    {
      auth: async () => [{ instance: "a:1", report }],
      "agent-orchestrator": async () => [
        { instance: "b:1", report },
        { instance: "b:2", report: undefined },
      ],
    },
    { redis: async () => {}, auth: async () => {}, "agent-orchestrator": async () => ({ serving: 1, failing: ["b:2"] }) },
  );
  expect(parts.get("auth")).toMatchObject({
    status: "ready",
    replicas: [
      {
        instance: "a:1",
        isSilent: false,
        version: "0.1.0",
        loopLagMs: 3n,
        memoryBytes: 100n,
        pools: [{ max: 16, open: 4, idle: 3, waiting: 1 }],
        queues: [{ provider: "default", inProgress: 2, waiting: 1, oldestWaitMs: 40n }],
        breakers: [{ provider: "default", model: "m", state: "open" }],
      },
    ],
  });
  expect(parts.get("agent-orchestrator")).toMatchObject({
    status: "degraded",
    replicas: [{}, { instance: "b:2", isSilent: true }],
  });
  expect(parts.get("gateway")).toMatchObject({ status: "ready", replicas: [{ instance: "", version: "0.1.0" }] });
  expect(Object.fromEntries(stores)).toEqual({ postgresql: "ready", redis: "ready" });
});

test("silent parts and stores are told, and waited for two seconds at most, all together", async () => {
  const startedAt = performance.now();
  const { parts, stores } = await look(
    {
      auth: never,
      conversation: async () => [{ instance: "c:1", report }],
      "tool-executor": () => Promise.reject(new Error("x")),
    },
    {
      redis: (): Promise<void> => Promise.reject(fail(ErrorReason.REDIS_UNAVAILABLE, "Redis does not answer")),
      auth: unanswered,
      conversation: (): Promise<void> => Promise.reject(fail(ErrorReason.DATABASE_UNAVAILABLE, "the database does not answer")),
      "tool-executor": unanswered,
    },
  );
  // One after the other would take 3,600 ms at least.
  expect(performance.now() - startedAt).toBeLessThan(3_500);
  expect(["auth", "conversation", "tool-executor"].map((name) => parts.get(name)?.status)).toEqual([
    "silent",
    "unavailable",
    "silent",
  ]);
  expect(Object.fromEntries(stores)).toEqual({ postgresql: "unavailable", redis: "unavailable" });
});

test("a report of another release, or of another shape, is bounded and breaks nothing", async () => {
  const strange = {
    version: 7,
    uptime_seconds: -1,
    memory_bytes: 1e300,
    loop_lag_ms: "x",
    pools: {},
    queues: [{ provider: "q".repeat(5_000) }],
  };
  const many = { ...report, breakers: Array.from({ length: 500 }, () => report.breakers[0]) };
  const { parts } = await look(
    { auth: async () => [strange, many, [], "text", null].map((one, i) => ({ instance: `${i}`, report: one })) },
    {},
  );
  const [first, second, ...others] = parts.get("auth")?.replicas ?? [];
  expect(first).toMatchObject({ isSilent: false, version: "", uptimeSeconds: 0n, memoryBytes: 0n, pools: [] });
  expect(first?.queues[0]).toMatchObject({ provider: "q".repeat(200), waiting: 0 });
  expect(second?.breakers).toHaveLength(50);
  expect(others.map(({ isSilent }) => isSilent)).toEqual([true, true, true]);
});

test("a process measures itself", () => {
  const measured = watchProcess();
  const figures = measured.figures();
  measured.stop();
  expect(figures.memory_bytes).toBeGreaterThan(1_000_000);
  expect(figures.version).toMatch(/^\d+\.\d+\.\d+/);
  expect(figures.loop_lag_ms).toBeGreaterThanOrEqual(0);
});
