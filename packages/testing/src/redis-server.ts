import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setHold, startChildWatchdog } from "@turnwright/platform/embedded-postgres/child-watchdog";
import { freePort } from "@turnwright/platform/free-port";

/** A private Redis without persistence, which a test may stop, restart and flush. */
export interface RedisServer {
  readonly url: string;
  readonly port: number;
  /** Process id of the server. */
  readonly pid: number;
  /** Stops the server; its data is lost. */
  stop(): Promise<void>;
}

/** Starts a Redis on 127.0.0.1, on a free port unless one is given; undefined when this machine has no such program. */
export async function startRedisServer({ program = "redis-server", port = 0 } = {}): Promise<RedisServer | undefined> {
  const dir = await mkdtemp(join(tmpdir(), "turnwright-test-"));
  const redis = await launch(program, dir, port).catch((error: NodeJS.ErrnoException) => {
    // No such program on the PATH; EACCES comes from a PATH directory that this user may not read.
    if (error.code === "ENOENT" || error.code === "EACCES") return undefined;
    throw error;
  });
  if (redis === undefined) {
    await rm(dir, { recursive: true });
    return undefined;
  }
  const { child } = redis;
  return {
    url: `redis://127.0.0.1:${redis.port}`,
    port: redis.port,
    pid: child.pid ?? 0,
    async stop() {
      setHold(child, true);
      child.kill("SIGTERM");
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Retries with another free port: Redis cannot choose one itself, and the port may be taken in between. */
async function launch(program: string, dir: string, wanted: number): Promise<{ child: ChildProcess; port: number }> {
  for (let attempt = 1; ; attempt += 1) {
    const port = wanted === 0 ? await freePort() : wanted;
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
      startChildWatchdog(child, { signal: "TERM" });
      return { child, port };
    }
    if (attempt === 5) throw new Error(`redis-server did not start:\n${lines.join("\n")}`);
  }
}
