import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startEmbeddedPostgres } from "@turnwright/platform/embedded-postgres/embedded-postgres";
import { createLogger } from "@turnwright/platform/logger";
import { faultProxy } from "@turnwright/testing/fault-proxy";
import { startRedisServer } from "@turnwright/testing/redis-server";
import { descendants } from "../e2e/system.ts";
import type { Part } from "../mesh/part.ts";
import { type PartKind, startMeshProcesses } from "../mesh/processes.ts";

/** The processes of a mesh, one of each kind: no replica can take over while one is away. */
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

/** A process that can be killed and restarted in place. */
export interface KillablePart {
  /** kill -9; resolves once it is gone. */
  kill(): Promise<void>;
  /** Sends a signal to it and its child processes. */
  signal(name: NodeJS.Signals): void;
  /** Resolves once it accepts connections. */
  start(): Promise<void>;
}

/** A mesh whose processes can each be killed and restarted. */
export interface KillableMesh {
  readonly baseUrl: string;
  readonly parts: Readonly<Record<PartName, KillablePart>>;
  /** The current address of PostgreSQL. */
  databaseUrl(): string;
  stop(): Promise<void>;
}

async function killablePostgres(dir: string) {
  const logger = createLogger({ service: "kill-matrix", level: "fatal" });
  const launch = () => startEmbeddedPostgres({ dataDir: dir, logger });
  let server = await launch();
  // PostgreSQL restarts on another port, while the services keep one address.
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

/**
 * Starts the mesh on loopback, with its own stores; `env` goes to each service. Its log directory is removed with it.
 */
export async function startKillableMesh(env: Readonly<Record<string, string>>): Promise<KillableMesh> {
  const dir = mkdtempSync(join(tmpdir(), "turnwright-kill-matrix-"));
  // When run as root, the database's user must be able to enter it.
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
    const { LLM_BASE_URL: modelUrl = "", ...others } = env;
    const mesh = await startMeshProcesses({
      dir,
      databaseUrl: postgres.url,
      redisUrl: redis.url,
      modelUrl,
      replicas: {},
      env: others,
    });
    closers.push(() => mesh.stop());
    const [baseUrl = ""] = mesh.gateways;
    const parts = Object.fromEntries(mesh.parts.map((part) => [part.name, part])) as Record<PartKind, Part>;
    return { baseUrl, parts: { ...parts, PostgreSQL: postgres, Redis: redis }, databaseUrl: postgres.direct, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
