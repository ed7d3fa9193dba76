import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { openSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "../e2e/system.ts";
import { startPacedModel } from "./paced-model.ts";

const root = join(import.meta.dirname, "../..");

/** How a process ended after SIGTERM. */
export interface Ending {
  readonly ms: number;
  /** The exit code, or the signal that it died of. */
  readonly code: number | NodeJS.Signals | null;
}

/** A process of the mesh that can be ended and started again in its place. */
export interface Replica {
  /** `gateway-1`, `auth-2`, … */
  readonly name: string;
  readonly port: number;
  /** Starts it; resolves when it accepts connections. Throws when it ends before. */
  start(): Promise<void>;
  /** SIGTERM; resolves when it is gone. */
  terminate(): Promise<Ending>;
  /** kill -9, for the end of a test. */
  kill(): Promise<void>;
}

/** A mesh of processes with two replicas of each part. */
export interface ReplicatedMesh {
  readonly replicas: readonly Replica[];
  /** Where the gateways listen. */
  readonly gateways: readonly string[];
  stop(): Promise<void>;
}

function isOver(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** Whether something accepts connections on a port of loopback. */
export async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

function createReplica(options: { name: string; main: string; port: number; env: Record<string, string>; log: string }): Replica {
  const { name, port } = options;
  let child: ChildProcess | undefined;
  const end = async (signal: NodeJS.Signals): Promise<Ending> => {
    const startedAt = performance.now();
    if (child !== undefined && !isOver(child)) {
      const gone = once(child, "exit");
      child.kill(signal);
      await gone;
    }
    return { ms: performance.now() - startedAt, code: child?.exitCode ?? child?.signalCode ?? null };
  };
  return {
    name,
    port,
    async start() {
      const log = openSync(options.log, "a");
      child = fork(join(root, "launcher/src/mesh-process.ts"), [join(root, options.main)], {
        env: options.env,
        stdio: ["ignore", log, log, "ipc"],
      });
      while (!(await accepts(port))) {
        if (isOver(child)) throw new Error(`${name} ended before it was ready; see ${options.log}.`);
        await delay(20);
      }
    },
    terminate: () => end("SIGTERM"),
    async kill() {
      await end("SIGKILL");
    },
  };
}

/** Where a mesh stands. */
export interface MeshOptions {
  /** Where the logs of its processes go. */
  dir: string;
  databaseUrl: string;
  redisUrl: string;
  /** SERVER_SHUTDOWN_TIMEOUT of each process. */
  limit: string;
  /** `host:port` that tools may reach although it is a loopback address. */
  allowedHost?: string;
  /** A model that is there; unset: one of its own, which is paced. */
  modelUrl?: string;
}

/** Starts gateway, auth, conversation, orchestrator and executor, twice each, on loopback, against stores that are there. */
export async function startReplicatedMesh(options: MeshOptions): Promise<ReplicatedMesh> {
  const places = [
    { kind: "auth", main: "services/auth/src/main.ts", variable: "AUTH_ADDR" },
    { kind: "conversation", main: "services/conversation/src/main.ts", variable: "CONVERSATION_ADDR" },
    { kind: "tool-executor", main: "services/tool-executor/src/main.ts", variable: "TOOL_ADDR" },
    { kind: "agent-orchestrator", main: "services/agent-orchestrator/src/main.ts", variable: "AGENT_ADDR" },
    { kind: "gateway", main: "gateway/src/main.ts", variable: undefined },
  ];
  const ports = await Promise.all(places.map(async () => [await freePort(), await freePort()]));
  const addresses = Object.fromEntries(
    places.flatMap(({ variable }, at) =>
      variable === undefined ? [] : [[variable, ports[at]?.map((port) => `127.0.0.1:${port}`).join(",") ?? ""]],
    ),
  );
  const model = options.modelUrl === undefined ? await startPacedModel() : undefined;
  const shared = {
    PATH: process.env.PATH ?? "",
    MESH_SECRET: "the-secret-of-the-mesh-that-is-drained",
    GRPC_HOST: "127.0.0.1",
    SERVER_HOST: "127.0.0.1",
    LOG_LEVEL: "info",
    RATE_LIMIT_PER_MINUTE: "1000000",
    RATE_LIMIT_PER_DAY: "100000000",
    RATE_LIMIT_AUTH_PER_MINUTE: "100000",
    JWT_ACCESS_TTL: "2h",
    DB_MAX_OPEN_CONNS: "8",
    DATABASE_URL: options.databaseUrl,
    REDIS_URL: options.redisUrl,
    SERVER_SHUTDOWN_TIMEOUT: options.limit,
    LLM_BASE_URL: options.modelUrl ?? model?.url ?? "",
    TOOLS_ALLOWED_HOSTS: options.allowedHost ?? "",
    ...addresses,
  };
  const pairs = places.map(({ kind, main }, at) =>
    (ports[at] ?? []).map((port, index) => {
      const name = `${kind}-${index + 1}`;
      const env = { ...shared, [kind === "gateway" ? "SERVER_PORT" : "GRPC_PORT"]: String(port) };
      return createReplica({ name, main, port, env, log: join(options.dir, `${name}.log`) });
    }),
  );
  const replicas = pairs.flat();
  const stop = async () => {
    await Promise.all(replicas.map((replica) => replica.kill()));
    await model?.close();
  };
  try {
    const startAll = (some: readonly (Replica | undefined)[]) => Promise.all(some.map((replica) => replica?.start()));
    // The first of each migrate and make what the others find; gateways come last, and find everything.
    const services = pairs.slice(0, -1);
    await services[0]?.[0]?.start();
    await startAll(services.slice(1).map(([first]) => first));
    await startAll(services.map(([, second]) => second));
    await startAll(pairs.at(-1) ?? []);
  } catch (error) {
    await stop();
    throw error;
  }
  return { replicas, gateways: (ports.at(-1) ?? []).map((port) => `http://127.0.0.1:${port}`), stop };
}
