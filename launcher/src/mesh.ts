import { type ChildProcess, fork, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { ConfigError, loadConfig } from "@turnwright/platform/config/env";
import { databaseUrl, postgresEnv } from "@turnwright/platform/config/postgres-env";
import { redisEnv, redisUrl } from "@turnwright/platform/config/redis-env";
import { setHold, startChildWatchdog } from "@turnwright/platform/embedded-postgres/child-watchdog";
import { startEmbeddedPostgres } from "@turnwright/platform/embedded-postgres/embedded-postgres";
import { freePort } from "@turnwright/platform/free-port";
import { createLogger, logLevels } from "@turnwright/platform/logger";
import type { MigratedService } from "@turnwright/platform/postgres/migrations";
import { openSchema } from "@turnwright/platform/postgres/open-schema";
import { checkListenAddress } from "@turnwright/platform/process/listening";
import { z } from "zod";
import { openConsoleFolder } from "./console-folder.ts";
import { interruptible } from "./interruptible.ts";
import { meshSecret } from "./mesh-secret.ts";
import { nodeFlagsOf } from "./node-flags.ts";
import { checkPartConfigs } from "./part-faults.ts";
import { type Supervision, startSupervised } from "./supervised-process.ts";

const root = join(import.meta.dirname, "../..");

/** Environment variables of the mesh starter. */
export const meshConfig = z.object({
  ...postgresEnv,
  ...redisEnv,
  /** `{service}` in a path is replaced by the name of the part that reads it. */
  MESH_TLS_CA: z.string().optional(),
  MESH_TLS_CERT: z.string().optional(),
  MESH_TLS_KEY: z.string().optional(),
  TURNWRIGHT_DATA_DIR: z.string().default(".turnwright"),
  LOG_LEVEL: z.enum(logLevels).default("info"),
  MESH_PORTS: z.enum(["default", "free"]).default("default"),
});

/** The configured certificate paths with a part's name filled in. */
function certificatesOf(service: string, config: z.output<typeof meshConfig>): Record<string, string> {
  const { MESH_TLS_CA, MESH_TLS_CERT, MESH_TLS_KEY } = config;
  return Object.fromEntries(
    Object.entries({ MESH_TLS_CA, MESH_TLS_CERT, MESH_TLS_KEY }).flatMap(([name, path]) =>
      path === undefined ? [] : [[name, path.replaceAll("{service}", service)]],
    ),
  );
}

/** A process of the mesh. */
export interface MeshProcess {
  /** `auth`, `conversation`, `tool-executor-1`, `tool-executor-2`, `agent-orchestrator` or `gateway`. */
  readonly name: string;
  /** Port on which it listens. */
  readonly port: number;
  /** The process as it runs now: another one after it was started again. */
  readonly child: ChildProcess;
}

/** A running mesh of processes on loopback. */
export interface RunningMesh {
  /** Port of the public API. */
  readonly port: number;
  readonly processes: readonly MeshProcess[];
  /** Directory of the embedded database; undefined with an external one. */
  readonly databaseDirectory: string | undefined;
  /** Ends the processes from the gateway inwards, then the stores that this starter started. */
  close(): Promise<void>;
}

/** Ports of auth, conversation, the orchestrator and two executors. */
const standardPorts = [9101, 9102, 9103, 9104, 9105];

/** Throws ConfigError when another process has a port of the mesh. */
async function checkPorts(serverPort: number, serverHost: string, ports: readonly number[]): Promise<void> {
  const variables = { portVariable: "SERVER_PORT", hostVariable: "SERVER_HOST" };
  await checkListenAddress({ port: serverPort, host: serverHost, ...variables });
  const inside = { host: "127.0.0.1", portVariable: "MESH_PORTS", hostVariable: "MESH_PORTS", remedy: "set MESH_PORTS=free" };
  for (const port of ports) await checkListenAddress({ port, ...inside });
}

/** The environment without database logins; other database settings stay. */
function withoutDatabase(environment: Readonly<Record<string, string | undefined>>) {
  const ofServer = ["DATABASE_URL", "DB_HOST", "DB_PORT", "DB_USER", "DB_PASSWORD", "DB_NAME", "DB_SSL_MODE", "DB_SSL_ROOT_CERT"];
  const ofOthers = ["DB_ADMIN_USER", "DB_ADMIN_PASSWORD", "DB_AUTH_PASSWORD", "DB_CONVERSATION_PASSWORD", "DB_TOOL_PASSWORD"];
  const logins = [...ofServer, ...ofOthers];
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !logins.includes(name)));
}

/** The services that use Redis. */
const redisServices: ReadonlySet<string> = new Set(["auth", "agent-orchestrator", "gateway"]);

/** The environment without the address and password of Redis, for a service that does not use it. */
function withoutRedis(service: string, environment: Readonly<Record<string, string | undefined>>) {
  if (redisServices.has(service)) return environment;
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !(name in redisEnv)));
}

/**
 * Launches a Redis server on loopback without persistence: durable data is in PostgreSQL. The password is passed on
 * standard input, because any user of the machine can read arguments.
 */
function launchRedis(port: number, password: string): ChildProcess {
  // A process group of its own, as for the parts.
  const child = spawn("redis-server", ["-"], { stdio: ["pipe", "ignore", "ignore"], detached: true });
  if (child.pid !== undefined) startChildWatchdog(child, { signal: "TERM" });
  setHold(child, true);
  // Errors of a program that ends at once are reported by its supervision.
  child.stdin.on("error", () => {});
  child.stdin.end(
    [`port ${port}`, "bind 127.0.0.1", 'save ""', "appendonly no", `requirepass ${password}`].map((line) => `${line}\n`).join(""),
  );
  return child;
}

/**
 * Starts gateway, auth, conversation, agent-orchestrator and two tool executors, each as its own process on loopback,
 * over gRPC. PostgreSQL is embedded unless one is configured; Redis is the configured one, or a `redis-server` from the
 * PATH, started here. A process that ends by itself is started again. The signal ends a start that is under way.
 */
export async function startMesh(
  environment: Readonly<Record<string, string | undefined>> = process.env,
  signal?: AbortSignal,
): Promise<RunningMesh> {
  checkPartConfigs(meshConfig, environment);
  const config = loadConfig(meshConfig, environment);
  const logger = createLogger({ service: "mesh", level: config.LOG_LEVEL });
  const closers: (() => Promise<void>)[] = [];
  const closing = new AbortController();
  const close = async () => {
    for (const step of closers.splice(0).reverse()) await step();
  };
  const supervise = async (process: Pick<Supervision, "name" | "port" | "launch">) => {
    signal?.throwIfAborted();
    const starting = startSupervised({ ...process, logger, signal, closing: closing.signal });
    closers.push(async () => (await starting.catch(() => undefined))?.stop());
    return await starting;
  };
  return await interruptible(signal, close, async () => {
    const serverPort = Number(environment.SERVER_PORT || 8080);
    await checkPorts(serverPort, environment.SERVER_HOST || "0.0.0.0", config.MESH_PORTS === "default" ? standardPorts : []);
    const opening = openConsoleFolder(environment.CONSOLE_DIR, logger);
    closers.push(async () => (await opening).close());
    let url = databaseUrl(config);
    let databaseDirectory: string | undefined;
    if (url === undefined) {
      const starting = startEmbeddedPostgres({ dataDir: config.TURNWRIGHT_DATA_DIR, logger, signal });
      closers.push(async () => (await starting.catch(() => undefined))?.stop());
      ({ url, directory: databaseDirectory } = await starting);
    }
    const address = url;
    const loginFor = async (schema: MigratedService) => {
      const { url } = await openSchema({ config, url: address, schema, logger });
      return url;
    };
    // Each service gets its own login, and none gets the administrator's.
    const logins: Readonly<Record<string, string>> = {
      auth: await loginFor("auth"),
      conversation: await loginFor("conversation"),
      "tool-executor": await loginFor("tool"),
    };
    let redis = redisUrl(config);
    if (redis === undefined) {
      const port = await freePort();
      const password = randomBytes(32).toString("hex");
      await supervise({ name: "redis-server", port, launch: () => launchRedis(port, password) }).catch((error: unknown) => {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
        throw new ConfigError([
          "REDIS_URL: separate processes need Redis; set REDIS_URL, or install redis-server for a local one",
        ]);
      });
      redis = `redis://:${password}@127.0.0.1:${port}`;
    }
    const portFor = (standard: number) => (config.MESH_PORTS === "free" ? freePort() : Promise.resolve(standard));
    const [auth, conversation, agent, executor1, executor2] = await Promise.all(standardPorts.map(portFor));
    const shared = {
      ...withoutDatabase(environment),
      REDIS_URL: redis,
      MESH_SECRET: meshSecret(environment, config.TURNWRIGHT_DATA_DIR),
      GRPC_HOST: "127.0.0.1",
      AUTH_ADDR: `127.0.0.1:${auth}`,
      CONVERSATION_ADDR: `127.0.0.1:${conversation}`,
      AGENT_ADDR: `127.0.0.1:${agent}`,
      TOOL_ADDR: `127.0.0.1:${executor1},127.0.0.1:${executor2}`,
    };
    const processes: MeshProcess[] = [];
    let consoleFolder: string | undefined;
    const start = async (name: string, main: string, port: number, variable: string) => {
      const service = name.replace(/-\d+$/, "");
      const certificates = certificatesOf(service, config);
      const launch = () =>
        fork(join(import.meta.dirname, "mesh-process.ts"), [join(root, main)], {
          env: {
            ...withoutRedis(service, shared),
            ...certificates,
            ...(logins[service] === undefined ? {} : { DATABASE_URL: logins[service] }),
            ...(service === "gateway" ? { CONSOLE_DIR: consoleFolder ?? "" } : {}),
            [variable]: String(port),
          },
          execArgv: [...process.execArgv, ...nodeFlagsOf(service)],
          stdio: ["ignore", "inherit", "inherit", "ipc"],
          // A process group of its own: Ctrl-C in the terminal must reach the children through this process, in order,
          // when no call needs them any more.
          detached: true,
        });
      const supervised = await supervise({ name, port, launch });
      processes.push({
        name,
        port,
        get child() {
          return supervised.child;
        },
      });
    };
    await start("auth", "services/auth/src/main.ts", auth ?? 0, "GRPC_PORT");
    await Promise.all([
      start("conversation", "services/conversation/src/main.ts", conversation ?? 0, "GRPC_PORT"),
      start("tool-executor-1", "services/tool-executor/src/main.ts", executor1 ?? 0, "GRPC_PORT"),
      start("tool-executor-2", "services/tool-executor/src/main.ts", executor2 ?? 0, "GRPC_PORT"),
    ]);
    await start("agent-orchestrator", "services/agent-orchestrator/src/main.ts", agent ?? 0, "GRPC_PORT");
    consoleFolder = (await opening).path;
    await start("gateway", "gateway/src/main.ts", serverPort, "SERVER_PORT");
    return {
      port: serverPort,
      processes,
      databaseDirectory,
      async close() {
        logger.info({ processes: processes.map(({ name }) => name).reverse() }, "draining");
        closing.abort();
        await close();
        logger.info("closed");
      },
    };
  });
}
