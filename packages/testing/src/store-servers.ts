import { once } from "node:events";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startEmbeddedPostgres } from "@turnwright/platform/embedded-postgres/embedded-postgres";
import { createLogger } from "@turnwright/platform/logger";
import { startRedisServer } from "./redis-server.ts";

/** A store shared by the whole test run. */
interface StoreServer {
  readonly url: string;
  stop(): Promise<void>;
}

/** The response to a request for a store; without a URL, this machine has none. */
export interface StoreAnswer {
  readonly url?: string;
}

/**
 * Starts PostgreSQL and Redis for a test run, each once and only on the first request (`GET /postgres`, `GET /redis`),
 * so that a run of unit tests waits for neither. Returns the address for these requests.
 */
export async function serveStores({ redisProgram = "redis-server" } = {}): Promise<{ address: string; stop(): Promise<void> }> {
  const started = new Map<string, Promise<StoreServer | undefined>>();
  const starters: Readonly<Record<string, () => Promise<StoreServer | undefined>>> = {
    "/postgres": startPostgres,
    "/redis": () => startRedisServer({ program: redisProgram }),
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

/** Settings for disposable data: nothing waits for the disk. */
const fleeting = {
  fsync: "off",
  synchronous_commit: "off",
  full_page_writes: "off",
  max_connections: "500",
  shared_buffers: "64MB",
};

async function startPostgres(): Promise<StoreServer> {
  const dataDir = await mkdtemp(join(tmpdir(), "turnwright-test-"));
  // When this process is root, the server's user must be able to pass the directory; the cluster inside stays private.
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
