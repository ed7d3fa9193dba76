import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "@turnwright/platform/embedded-postgres";
import { createLogger } from "@turnwright/platform/logger";
import { type RedisServer, startRedisServer } from "@turnwright/testing/redis-server";
import { type Effects, startEffects } from "./effects.ts";
import { type ChaosModel, startChaosModel } from "./model.ts";
import { type PostgresProxy, startPostgresProxy } from "./postgres-proxy.ts";
import { createPart, type Part } from "./processes.ts";
import type { Random } from "./random.ts";

const root = join(import.meta.dirname, "../..");

/** A mesh of real processes with a real PostgreSQL behind a proxy, a real Redis, and the world outside. */
export interface ChaosMesh {
  readonly gateways: readonly string[];
  readonly parts: readonly Part[];
  readonly proxy: PostgresProxy;
  readonly effects: Effects;
  readonly model: ChaosModel;
  /** Where the logs are; kept when `stop(true)`. */
  readonly dir: string;
  /** Around the proxy, for the checks. */
  databaseUrl(): string;
  /** Immediate shutdown of PostgreSQL, without a checkpoint, and its start on the same data. */
  restartPostgres(): Promise<void>;
  flushRedis(): Promise<void>;
  stop(keepLogs: boolean): Promise<void>;
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => new Promise((resolve) => server.once("listening", resolve))));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** Two gateways, two orchestrators, two executors, auth and conversation; without the mechanism of a breakage, if one is named. */
export async function startChaosMesh({ random, breakage }: { random: Random; breakage?: string }): Promise<ChaosMesh> {
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
  const [gateway1, gateway2, auth, conversation, agent1, agent2, tool1, tool2] = await freePorts(8);

  const viaProxy = new URL(postgres.url);
  viaProxy.port = String(proxy.port);
  const env = {
    DATABASE_URL: viaProxy.href,
    REDIS_URL: redis.url,
    MESH_SECRET: "the-secret-of-the-chaos-mesh-of-the-tests",
    LOG_LEVEL: "info",
    GRPC_HOST: "127.0.0.1",
    SERVER_HOST: "127.0.0.1",
    AUTH_ADDR: `127.0.0.1:${auth}`,
    CONVERSATION_ADDR: `127.0.0.1:${conversation}`,
    AGENT_ADDR: `127.0.0.1:${agent1},127.0.0.1:${agent2}`,
    TOOL_ADDR: `127.0.0.1:${tool1},127.0.0.1:${tool2}`,
    LLM_BASE_URL: model.url,
    TOOLS_DIR: join(root, "tests/chaos/tools"),
    TOOLS_MAX_CONCURRENT: "64",
    RATE_LIMIT_PER_MINUTE: "1000000",
    RATE_LIMIT_PER_DAY: "10000000",
    RATE_LIMIT_AUTH_PER_MINUTE: "100000",
    JWT_ACCESS_TTL: "2h",
    // So that what times out does so many times in a run.
    DB_STATEMENT_TIMEOUT: "1s",
    ...(breakage === undefined ? {} : { CHAOS_BREAK: breakage }),
  };
  const part = (name: string, main: string, port: number | undefined, portVariable = "GRPC_PORT") =>
    createPart({
      main: join(root, main),
      name,
      port: port ?? 0,
      portVariable,
      env,
      preload: breakage === undefined ? undefined : join(import.meta.dirname, "break-code.ts"),
      logFile: join(logs, `${name}.log`),
    });
  const parts = [
    part("auth", "services/auth/src/main.ts", auth),
    part("conversation", "services/conversation/src/main.ts", conversation),
    part("tool-executor-1", "services/tool-executor/src/main.ts", tool1),
    part("tool-executor-2", "services/tool-executor/src/main.ts", tool2),
    part("agent-orchestrator-1", "services/agent-orchestrator/src/main.ts", agent1),
    part("agent-orchestrator-2", "services/agent-orchestrator/src/main.ts", agent2),
    part("gateway-1", "gateway/src/main.ts", gateway1, "SERVER_PORT"),
    part("gateway-2", "gateway/src/main.ts", gateway2, "SERVER_PORT"),
  ];
  // The first of each kind migrates and finds what it needs before the others come.
  for (const one of parts) await one.start();

  return {
    gateways: [gateway1, gateway2].map((port) => `http://127.0.0.1:${port}`),
    parts,
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
      await Promise.all(parts.map((one) => one.stop()));
      await model.close();
      await effects.close();
      proxy.close();
      await redis.stop();
      await postgres.stop();
      if (!keepLogs) rmSync(dir, { recursive: true, force: true });
    },
  };
}
