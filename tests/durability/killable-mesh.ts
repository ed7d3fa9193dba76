import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startEmbeddedPostgres } from "@turnwright/platform/embedded-postgres";
import { createLogger } from "@turnwright/platform/logger";
import { faultProxy } from "@turnwright/testing/fault-proxy";
import { startRedisServer } from "@turnwright/testing/redis-server";
import { createPart } from "../chaos/processes.ts";
import { descendants, freePort } from "../e2e/system.ts";

const root = join(import.meta.dirname, "../..");

/** The processes of a mesh, one of each kind: nobody else is there to take over while one is away. */
export const partNames = [
  "gateway",
  "auth",
  "conversation",
  "agent-orchestrator",
  "tool-executor",
  "PostgreSQL",
  "Redis",
] as const;

/** The name of a process. */
export type PartName = (typeof partNames)[number];

/** A process that can be killed and started again in its place. */
export interface KillablePart {
  /** kill -9; resolves when it is gone. */
  kill(): Promise<void>;
  /** Sends a signal to it, and to the processes that it has. */
  signal(name: NodeJS.Signals): void;
  /** Resolves when it accepts connections. */
  start(): Promise<void>;
}

/** A mesh of which any process can be killed and started again. */
export interface KillableMesh {
  readonly baseUrl: string;
  readonly parts: Readonly<Record<PartName, KillablePart>>;
  /** Where PostgreSQL is now. */
  databaseUrl(): string;
  stop(): Promise<void>;
}

async function killablePostgres(dir: string) {
  const logger = createLogger({ service: "kill-matrix", level: "fatal" });
  const launch = () => startEmbeddedPostgres({ dataDir: dir, logger });
  let server = await launch();
  // It comes back on another port; the services know one address.
  const target = new URL(server.url);
  const proxy = await faultProxy(target);
  return {
    url: proxy.url,
    direct: () => server.url,
    signal(name: NodeJS.Signals) {
      for (const pid of [server.pid, ...descendants(server.pid)]) process.kill(pid, name);
    },
    async kill() {
      process.kill(server.pid, "SIGKILL");
      await server.stop();
    },
    async start() {
      server = await launch();
      target.port = new URL(server.url).port;
    },
    async stop() {
      proxy.close();
      await server.stop();
    },
  };
}

async function killableRedis() {
  const launch = async (port?: number) => {
    const server = await startRedisServer({ port });
    if (server === undefined) throw new Error("redis-server is not on the PATH");
    return server;
  };
  let server = await launch();
  return {
    url: server.url,
    signal(name: NodeJS.Signals) {
      process.kill(server.pid, name);
    },
    async kill() {
      process.kill(server.pid, "SIGKILL");
      await server.stop();
    },
    async start() {
      server = await launch(server.port);
    },
    stop: () => server.stop(),
  };
}

/** Starts the mesh on loopback, with stores of its own; `env` goes to each of its services. Its logs are in a folder that ends with it. */
export async function startKillableMesh(env: Readonly<Record<string, string>>): Promise<KillableMesh> {
  const dir = mkdtempSync(join(tmpdir(), "turnwright-kill-matrix-"));
  // For root, the database's user must pass it.
  chmodSync(dir, 0o711);
  const dataDir = join(dir, "postgres");
  mkdirSync(dataDir, { mode: 0o711 });
  const closers: (() => unknown)[] = [() => rmSync(dir, { recursive: true, force: true })];
  const stop = async () => {
    for (const close of closers.splice(0).reverse()) await close();
  };
  try {
    const postgres = await killablePostgres(dataDir);
    closers.push(() => postgres.stop());
    const redis = await killableRedis();
    closers.push(() => redis.stop());
    const ports = await Promise.all(Array.from({ length: 5 }, freePort));
    const [gatewayPort = 0, authPort = 0, conversationPort = 0, agentPort = 0, executorPort = 0] = ports;
    const shared = {
      DATABASE_URL: postgres.url,
      REDIS_URL: redis.url,
      MESH_SECRET: "the-secret-of-the-mesh-that-is-killed",
      GRPC_HOST: "127.0.0.1",
      SERVER_HOST: "127.0.0.1",
      AUTH_ADDR: `127.0.0.1:${authPort}`,
      CONVERSATION_ADDR: `127.0.0.1:${conversationPort}`,
      AGENT_ADDR: `127.0.0.1:${agentPort}`,
      TOOL_ADDR: `127.0.0.1:${executorPort}`,
      RATE_LIMIT_PER_MINUTE: "1000000",
      RATE_LIMIT_PER_DAY: "10000000",
      RATE_LIMIT_AUTH_PER_MINUTE: "100000",
      JWT_ACCESS_TTL: "2h",
      ...env,
    };
    const part = (name: string, main: string, port: number, portVariable = "GRPC_PORT") =>
      createPart({ name, main: join(root, main), port, portVariable, env: shared, logFile: join(dir, `${name}.log`) });
    const services = {
      auth: part("auth", "services/auth/src/main.ts", authPort),
      conversation: part("conversation", "services/conversation/src/main.ts", conversationPort),
      "tool-executor": part("tool-executor", "services/tool-executor/src/main.ts", executorPort),
      "agent-orchestrator": part("agent-orchestrator", "services/agent-orchestrator/src/main.ts", agentPort),
      gateway: part("gateway", "gateway/src/main.ts", gatewayPort, "SERVER_PORT"),
    };
    for (const service of Object.values(services)) {
      closers.push(() => service.stop());
      await service.start();
    }
    return {
      baseUrl: `http://127.0.0.1:${gatewayPort}`,
      parts: { ...services, PostgreSQL: postgres, Redis: redis },
      databaseUrl: postgres.direct,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
