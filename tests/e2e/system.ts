import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, utimesSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { testedEnvironment } from "../tested-environment.ts";

const root = join(import.meta.dirname, "../..");

/** A system of real processes. */
export interface System {
  readonly baseUrl: string;
  readonly port: number;
  /** Process id of the starter process. */
  readonly pid: number;
  /** Log output of all processes so far. */
  log(): string;
  /** kill -9 of all processes at once, including children. */
  killAll(): Promise<void>;
  /** Sends SIGTERM. Resolves with the exit code, or null if a signal killed the process. */
  stop(): Promise<number | null>;
}

/** Options of startSystem. */
export interface SystemOptions {
  shape: "all-in-one" | "mesh";
  env: Record<string, string>;
}

/** Ports that tests of this run have taken, each an empty folder. */
const takenPorts = join(tmpdir(), `turnwright-test-ports-${process.getuid?.() ?? 0}`);
/** A port that a test took so long ago is free again: no run takes longer. */
const takenMs = 30 * 60_000;
const [lowestPort, ports] = [10_000, 20_000];

/** Takes a port for this process, unless another test has it. */
function takePort(port: number): boolean {
  const mark = join(takenPorts, String(port));
  try {
    mkdirSync(mark);
  } catch {
    if (Date.now() - statSync(mark).mtimeMs < takenMs) return false;
    utimesSync(mark, new Date(), new Date());
  }
  return true;
}

async function listens(port: number): Promise<boolean> {
  const server = createServer().listen(port, "127.0.0.1");
  try {
    await once(server, "listening");
  } catch {
    return false;
  }
  server.close();
  await once(server, "close");
  return true;
}

/**
 * A free TCP port that no other test gets: below the ports that the system gives to outgoing connections, which would
 * take it before its server listens. A test would then talk to a server of another test.
 */
export async function freePort(): Promise<number> {
  mkdirSync(takenPorts, { recursive: true });
  for (let attempt = 0; attempt < 1_000; attempt++) {
    const port = lowestPort + Math.floor(Math.random() * ports);
    if (takePort(port) && (await listens(port))) return port;
  }
  throw new Error(`no port is free; ${takenPorts} has those that tests have taken`);
}

/** Descendants of a process, from /proc. */
export function descendants(pid: number): number[] {
  const parents = new Map<number, number[]>();
  for (const entry of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const parent = Number(readFileSync(`/proc/${entry}/stat`, "utf8").split(") ")[1]?.split(" ")[1]);
      parents.set(parent, [...(parents.get(parent) ?? []), Number(entry)]);
    } catch {
      // The process ended in the meantime.
    }
  }
  const below = (id: number): number[] => (parents.get(id) ?? []).flatMap((child) => [child, ...below(child)]);
  return below(pid);
}

function isAlive(pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
  } catch {
    return false;
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

async function untilReady(url: string, child: ChildProcess, log: () => string): Promise<void> {
  for (;;) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`The system ended before it was ready:\n${log()}`);
    const ready = await fetch(`${url}/ready`).then(
      (response) => response.ok,
      () => false,
    );
    if (ready) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Starts the system as a user would, in new processes on loopback, and waits for /ready. */
export async function startSystem(options: SystemOptions): Promise<System> {
  const port = Number(options.env.SERVER_PORT ?? (await freePort()));
  const dataDir = options.env.TURNWRIGHT_DATA_DIR;
  // Tests that root runs have a PostgreSQL under another user. If that user could not traverse the directory, its
  // database would be made in a place that outlives the test.
  if (dataDir !== undefined && existsSync(dataDir)) chmodSync(dataDir, 0o711);
  const script = options.shape === "mesh" ? "launcher/src/mesh-main.ts" : "launcher/src/main.ts";
  const child = spawn(process.execPath, [join(root, script)], {
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      PATH: process.env.PATH ?? "",
      ...testedEnvironment(),
      SERVER_HOST: "127.0.0.1",
      SERVER_PORT: String(port),
      MESH_PORTS: "free",
      RATE_LIMIT_PER_MINUTE: "100000",
      RATE_LIMIT_AUTH_PER_MINUTE: "100000",
      ...options.env,
    },
  });
  const output: string[] = [];
  child.stdout.on("data", (chunk) => output.push(String(chunk)));
  child.stderr.on("data", (chunk) => output.push(String(chunk)));
  const log = () => output.join("");
  const baseUrl = `http://127.0.0.1:${port}`;
  const ended = () => child.exitCode !== null || child.signalCode !== null;
  try {
    await untilReady(baseUrl, child, log);
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  }
  return {
    baseUrl,
    port,
    pid: child.pid ?? 0,
    log,
    async killAll() {
      const pids = [...descendants(child.pid ?? 0), child.pid ?? 0];
      // Children first. Some may have ended already: PostgreSQL's end with their postmaster.
      for (const pid of pids) kill(pid);
      if (!ended()) await once(child, "exit");
      while (pids.some(isAlive)) await new Promise((resolve) => setTimeout(resolve, 10));
    },
    async stop() {
      if (!ended()) {
        const exit = once(child, "exit");
        child.kill("SIGTERM");
        await exit;
      }
      return child.exitCode;
    },
  };
}
