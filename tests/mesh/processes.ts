import { join } from "node:path";
import { nodeFlagsOf } from "@turnwright/launcher/node-flags";
import { freePort } from "../e2e/system.ts";
import { createPart, type Part } from "./part.ts";

const root = join(import.meta.dirname, "../..");

const kinds = [
  { kind: "auth", main: "services/auth/src/main.ts", variable: "AUTH_ADDR" },
  { kind: "conversation", main: "services/conversation/src/main.ts", variable: "CONVERSATION_ADDR" },
  { kind: "tool-executor", main: "services/tool-executor/src/main.ts", variable: "TOOL_ADDR" },
  { kind: "agent-orchestrator", main: "services/agent-orchestrator/src/main.ts", variable: "AGENT_ADDR" },
  { kind: "gateway", main: "gateway/src/main.ts", variable: undefined },
] as const;

/** Kind of a process in a mesh. */
export type PartKind = (typeof kinds)[number]["kind"];

/** The processes of a mesh, all running. */
export interface MeshProcesses {
  readonly parts: readonly Part[];
  /** Processes of a kind. */
  of(kind: PartKind): readonly Part[];
  /** Base URLs of the gateways. */
  readonly gateways: readonly string[];
  /** Kills all processes. */
  stop(): Promise<void>;
}

/**
 * Starts the processes of a mesh on loopback, with running stores, every replica known to all, and limits that no test
 * reaches.
 */
export async function startMeshProcesses(options: {
  /** Folder of their log files. */
  dir: string;
  databaseUrl: string;
  redisUrl: string;
  /** Base URL of the model. */
  modelUrl: string;
  /** Number of processes by kind. Default: one. */
  replicas: Readonly<Partial<Record<PartKind, number>>>;
  /** Environment of all processes. */
  env?: Readonly<Record<string, string>>;
  /** Further environment of the processes of a kind. */
  envOf?: Readonly<Partial<Record<PartKind, Readonly<Record<string, string>>>>>;
}): Promise<MeshProcesses> {
  const { dir, replicas } = options;
  const ports = new Map(
    await Promise.all(
      kinds.map(
        async ({ kind }) => [kind, await Promise.all(Array.from({ length: replicas[kind] ?? 1 }, () => freePort()))] as const,
      ),
    ),
  );
  const portsOf = (kind: PartKind) => ports.get(kind) ?? [];
  const shared: Record<string, string> = {
    // Of the database: meshes of other suites share the Redis, and a mesh that starts again is the same one.
    MESH_SECRET: `the-secret-of-the-mesh-on-${new URL(options.databaseUrl).pathname}`,
    GRPC_HOST: "127.0.0.1",
    SERVER_HOST: "127.0.0.1",
    LOG_LEVEL: "info",
    RATE_LIMIT_PER_MINUTE: "1000000",
    RATE_LIMIT_PER_DAY: "100000000",
    RATE_LIMIT_AUTH_PER_MINUTE: "100000",
    JWT_ACCESS_TTL: "2h",
    DATABASE_URL: options.databaseUrl,
    REDIS_URL: options.redisUrl,
    LLM_BASE_URL: options.modelUrl,
    ...options.env,
  };
  for (const { kind, variable } of kinds) {
    if (variable !== undefined) {
      shared[variable] = portsOf(kind)
        .map((port) => `127.0.0.1:${port}`)
        .join(",");
    }
  }
  const byKind = new Map<PartKind, Part[]>(
    kinds.map(({ kind, main }) => [
      kind,
      portsOf(kind).map((port, index, all) => {
        const name = all.length === 1 ? kind : `${kind}-${index + 1}`;
        const env = { ...shared, [kind === "gateway" ? "SERVER_PORT" : "GRPC_PORT"]: String(port), ...options.envOf?.[kind] };
        return createPart({ name, main: join(root, main), port, env, flags: nodeFlagsOf(kind), log: join(dir, `${name}.log`) });
      }),
    ]),
  );
  const of = (kind: PartKind) => byKind.get(kind) ?? [];
  const parts = [...byKind.values()].flat();
  const stop = async () => {
    await Promise.all(parts.map((part) => part.kill()));
  };
  try {
    const startAll = (some: readonly Part[]) => Promise.all(some.map((part) => part.start()));
    const services = kinds.slice(1, -1).map(({ kind }) => of(kind));
    // The first of each kind migrates and creates shared state; gateways come last.
    await startAll(of("auth").slice(0, 1));
    await startAll(services.flatMap((replicated) => replicated.slice(0, 1)));
    await startAll([of("auth"), ...services].flatMap((replicated) => replicated.slice(1)));
    await startAll(of("gateway"));
  } catch (error) {
    await stop();
    throw error;
  }
  return { parts, of, gateways: portsOf("gateway").map((port) => `http://127.0.0.1:${port}`), stop };
}
