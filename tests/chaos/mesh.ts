import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "@turnwright/platform/embedded-postgres/embedded-postgres";
import { createLogger } from "@turnwright/platform/logger";
import { type RedisServer, startRedisServer } from "@turnwright/testing/redis-server";
import type { BrokenFile } from "../breakages/broken-source.ts";
import type { Part } from "../mesh/part.ts";
import { startMeshProcesses } from "../mesh/processes.ts";
import { testedEnvironment } from "../tested-environment.ts";
import { type Effects, startEffects } from "./effects.ts";
import { type ChaosModel, startChaosModel } from "./model.ts";
import { type PostgresProxy, startPostgresProxy } from "./postgres-proxy.ts";
import type { Random } from "./random.ts";

/** A mesh of real processes with a real PostgreSQL behind a proxy, a real Redis, and the outside world. */
export interface ChaosMesh {
  readonly gateways: readonly string[];
  readonly parts: readonly Part[];
  readonly proxy: PostgresProxy;
  readonly effects: Effects;
  readonly model: ChaosModel;
  /** The directory of the logs; `stop(true)` keeps it. */
  readonly dir: string;
  /** Bypasses the proxy, for the checks. */
  databaseUrl(): string;
  /** Shuts PostgreSQL down immediately, without a checkpoint, and restarts it on the same data. */
  restartPostgres(): Promise<void>;
  flushRedis(): Promise<void>;
  stop(keepLogs: boolean): Promise<void>;
}

/**
 * Two gateways, two orchestrators, two executors, one auth and one conversation service; `broken` replaces passages of
 * one of their files.
 */
export async function startChaosMesh({ random, broken }: { random: Random; broken?: BrokenFile }): Promise<ChaosMesh> {
  const dir = mkdtempSync(join(tmpdir(), "turnwright-chaos-"));
  chmodSync(dir, 0o711);
  const logs = join(dir, "logs");
  mkdirSync(logs);
  const logger = createLogger({ service: "chaos", level: "error" });
  const dataDir = join(dir, "postgres");
  mkdirSync(dataDir, { mode: 0o711 });
  const settings = { max_connections: "300" };
  let postgres: EmbeddedPostgres = await startEmbeddedPostgres({ dataDir, logger, settings });
  const portOf = (url: string) => Number(new URL(url).port);
  const proxy = await startPostgresProxy(portOf(postgres.url), random.fork());
  const redis: RedisServer | undefined = await startRedisServer();
  if (redis === undefined) throw new Error("redis-server is not on the PATH");
  const effects = await startEffects();
  const model = await startChaosModel(effects.url);
  const viaProxy = new URL(postgres.url);
  viaProxy.port = String(proxy.port);
  const processes = await startMeshProcesses({
    dir: logs,
    databaseUrl: viaProxy.href,
    redisUrl: redis.url,
    modelUrl: model.url,
    replicas: { "tool-executor": 2, "agent-orchestrator": 2, gateway: 2 },
    env: {
      TOOLS_DIR: join(import.meta.dirname, "tools"),
      TOOLS_ALLOWED_HOSTS: "127.0.0.1",
      TOOLS_MAX_CONCURRENT: "64",
      // Short, so that many statements time out in one run.
      DB_STATEMENT_TIMEOUT: "1s",
      ...testedEnvironment(broken),
    },
  });

  return {
    gateways: processes.gateways,
    parts: processes.parts,
    proxy,
    effects,
    model,
    dir,
    databaseUrl: () => postgres.url,
    async restartPostgres() {
      // SIGQUIT is PostgreSQL's immediate shutdown.
      process.kill(postgres.pid, "SIGQUIT");
      await postgres.stop();
      postgres = await startEmbeddedPostgres({ dataDir, logger, settings });
      proxy.target = portOf(postgres.url);
    },
    async flushRedis() {
      const { Redis } = await import("ioredis");
      const client = new Redis(redis.url);
      await client.flushall();
      client.disconnect();
    },
    async stop(keepLogs) {
      await processes.stop();
      await model.close();
      await effects.close();
      proxy.close();
      await redis.stop();
      await postgres.stop();
      if (!keepLogs) rmSync(dir, { recursive: true, force: true });
    },
  };
}
