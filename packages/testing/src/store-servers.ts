import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { endWithProcess, setHold } from "@turnwright/platform/child-watchdog";
import { startEmbeddedPostgres } from "@turnwright/platform/embedded-postgres";
import { createLogger } from "@turnwright/platform/logger";

/** A server of the whole test run. */
interface StoreServer {
  readonly url: string;
  stop(): Promise<void>;
}

/** The answer to a request for a store; without a URL this machine has none. */
export interface StoreAnswer {
  readonly url?: string;
}

/**
 * Starts PostgreSQL and Redis for a test run, each once and only when a test first asks (`GET /postgres`, `GET /redis`), so that a run of
 * unit tests waits for neither. Returns the address to ask at.
 */
export async function serveStores({ redisProgram = "redis-server" } = {}): Promise<{ address: string; stop(): Promise<void> }> {
  const started = new Map<string, Promise<StoreServer | undefined>>();
  const starters: Readonly<Record<string, () => Promise<StoreServer | undefined>>> = {
    "/postgres": startPostgres,
    "/redis": () => startRedis(redisProgram),
  };
  const server = createServer(async (request, response) => {
    const path = request.url ?? "";
    try {
      const starter = starters[path];
      if (starter === undefined) throw new Error(`unknown store ${path}`);
      const running = started.get(path) ?? starter();
      started.set(path, running);
      const answer: StoreAnswer = { url: (await running)?.url };
      response.end(JSON.stringify(answer));
    } catch (error) {
      response.writeHead(500).end(String(error));
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async stop() {
      server.close();
      server.closeAllConnections();
      for (const running of started.values()) {
        const store = await running.catch(() => undefined);
        await store?.stop();
      }
    },
  };
}

/** The data dies with the run, so nothing waits for the disk. */
const fleeting = {
  fsync: "off",
  synchronous_commit: "off",
  full_page_writes: "off",
  max_connections: "500",
  shared_buffers: "64MB",
};

async function startPostgres(): Promise<StoreServer> {
  const dataDir = await mkdtemp(join(tmpdir(), "turnwright-test-"));
  // For root, the server's user must pass it; the cluster inside stays private.
  await chmod(dataDir, 0o711);
  const logger = createLogger({ service: "testing", level: "warn" });
  const postgres = await startEmbeddedPostgres({ dataDir, logger, settings: fleeting });
  return {
    url: postgres.url,
    async stop() {
      await postgres.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

async function startRedis(program: string): Promise<StoreServer | undefined> {
  const dir = await mkdtemp(join(tmpdir(), "turnwright-test-"));
  const redis = await launchRedis(program, dir).catch((error: NodeJS.ErrnoException) => {
    // No such program on the PATH; EACCES comes of a directory on it that this user may not read.
    if (error.code === "ENOENT" || error.code === "EACCES") return undefined;
    throw error;
  });
  if (redis === undefined) {
    await rm(dir, { recursive: true });
    return undefined;
  }
  return {
    url: `redis://127.0.0.1:${redis.port}`,
    async stop() {
      setHold(redis.child, true);
      redis.child.kill("SIGTERM");
      if (redis.child.exitCode === null && redis.child.signalCode === null) await once(redis.child, "exit");
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Redis cannot take a free port by itself, so this tries until one was still free. */
async function launchRedis(program: string, dir: string): Promise<{ child: ChildProcess; port: number }> {
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    const settings = ["--bind", "127.0.0.1", "--port", String(port), "--dir", dir, "--save", "", "--appendonly", "no"];
    const child = spawn(program, settings, { stdio: ["ignore", "pipe", "inherit"] });
    const lines: string[] = [];
    const isReady = await new Promise<boolean>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", () => resolve(false));
      createInterface({ input: child.stdout }).on("line", (line) => {
        lines.push(line);
        if (line.includes("Ready to accept connections")) resolve(true);
      });
    });
    if (isReady) {
      endWithProcess(child, { signal: "TERM" });
      return { child, port };
    }
    if (attempt === 5) throw new Error(`redis-server did not start:\n${lines.join("\n")}`);
  }
}

async function freePort(): Promise<number> {
  const probe = createServer();
  probe.listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, "close");
  return port;
}
