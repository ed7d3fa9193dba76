import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { retrying } from "@turnwright/platform/async/retrying";
import { portkeyScript } from "./requirements.ts";

const root = join(import.meta.dirname, "..");

/** A server under measurement. */
export interface Subject {
  readonly name: string;
  readonly port: number;
  /** Headers of every request to it. */
  readonly headers: Record<string, string>;
  /** Processes whose CPU time counts as its cost. */
  readonly pids: () => number[];
  stop(): Promise<void>;
}

/** Seconds of CPU used by processes so far, threads included. */
export function cpuSeconds(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    try {
      const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
      ticks += Number(fields[11]) + Number(fields[12]);
    } catch {
      // The process is gone; the CPU it used before shows in the other samples.
    }
  }
  return ticks / 100;
}

/** Resident memory of a process in MB. */
export function residentMegabytes(pid: number): number {
  const match = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(match?.[1] ?? 0) / 1024;
}

/** All descendants of a process. */
export function descendants(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const parent = Number(readFileSync(`/proc/${entry}/stat`, "utf8").split(") ")[1]?.split(" ")[1]);
      children.set(parent, [...(children.get(parent) ?? []), Number(entry)]);
    } catch {
      // The process ended between the two reads.
    }
  }
  const all = (id: number): number[] => (children.get(id) ?? []).flatMap((child) => [child, ...all(child)]);
  return all(pid);
}

/** A free TCP port. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
  await gone;
  clearTimeout(timer);
}

/** Starts a script that prints `{"port":…}` as its first line. */
export async function startScript(
  name: string,
  script: string,
  args: readonly string[] = [],
): Promise<Subject & { child: ChildProcess }> {
  const child = spawn(process.execPath, [join(root, script), ...args], { stdio: ["pipe", "pipe", "inherit"] });
  const [line] = await once(child.stdout, "data");
  const { port } = JSON.parse(String(line));
  return { name, port, headers: {}, child, pids: () => [child.pid ?? 0], stop: () => stopChild(child) };
}

/** Polls a health endpoint until it answers. */
async function untilAnswering(url: string, child: ChildProcess): Promise<void> {
  const ask = async () => {
    const { ok } = await fetch(url);
    if (!ok) throw new Error(`${url} does not answer with success.`);
  };
  const hasEnded = () => child.exitCode !== null;
  await retrying(ask, { mayPass: () => !hasEnded(), patienceMs: Number.POSITIVE_INFINITY, firstMs: 20, longestMs: 20 }).catch(
    (cause: unknown) => {
      throw new Error(`The server behind ${url} ended with ${child.exitCode}.`, { cause });
    },
  );
}

/** Starts the Portkey gateway of `bench/peers`. */
export async function startPortkey(modelUrl: string): Promise<Subject> {
  const port = await freePort();
  const child = spawn(process.execPath, [portkeyScript, "--headless", `--port=${port}`], { stdio: "ignore" });
  await untilAnswering(`http://127.0.0.1:${port}/`, child);
  return {
    name: "portkey",
    port,
    headers: { "x-portkey-provider": "openai", "x-portkey-custom-host": `${modelUrl}/v1`, authorization: "Bearer bench" },
    pids: () => [child.pid ?? 0],
    stop: () => stopChild(child),
  };
}

/** Registers a user and logs in. */
async function accessToken(base: string): Promise<string> {
  const headers = { "content-type": "application/json" };
  const credentials = { email: "bench@example.com", password: "benchmark-password" };
  const registration = { ...credentials, name: "Bench" };
  await fetch(`${base}/v1/auth/register`, { method: "POST", headers, body: JSON.stringify(registration) });
  const response = await fetch(`${base}/v1/auth/login`, { method: "POST", headers, body: JSON.stringify(credentials) });
  const { data } = (await response.json()) as { data: { access_token: string } };
  return data.access_token;
}

/** A started Turnwright, with the figures of its start. */
export interface StartedTurnwright extends Subject {
  readonly pid: number;
  /** Seconds from spawn to the first 200 of /ready. */
  readonly readySeconds: number;
  /** Resident memory before the first request, apart from those for readiness. */
  readonly idleMegabytes: number;
}

/** Starts Turnwright in a shape, with limits and logs enabled. */
export async function startTurnwright(
  shape: "all-in-one" | "mesh",
  options: { modelUrl: string; dataDir: string /** Milliseconds to stand idle before the first login. */; idleMs?: number },
): Promise<StartedTurnwright> {
  const port = await freePort();
  const script = shape === "mesh" ? "launcher/src/mesh-main.ts" : "launcher/src/main.ts";
  const started = performance.now();
  // The same flags as `npm start`.
  const flags = shape === "mesh" ? [] : ["--max-semi-space-size=8"];
  const child = spawn(process.execPath, [...flags, join(root, script)], {
    stdio: ["ignore", "ignore", "inherit"],
    env: {
      PATH: process.env.PATH,
      SERVER_HOST: "127.0.0.1",
      SERVER_PORT: String(port),
      MESH_PORTS: "free",
      TURNWRIGHT_DATA_DIR: options.dataDir,
      LLM_BASE_URL: options.modelUrl,
      LLM_API_KEY: "bench",
      JWT_ACCESS_TTL: "2h",
      RATE_LIMIT_PER_MINUTE: "1000000",
      RATE_LIMIT_PER_DAY: "1000000000",
    },
  });
  const base = `http://127.0.0.1:${port}`;
  await untilAnswering(`${base}/ready`, child);
  const readySeconds = (performance.now() - started) / 1000;
  const pid = child.pid ?? 0;
  const isNode = (id: number) => {
    try {
      return (
        readFileSync(`/proc/${id}/comm`, "utf8").trim() === "node" ||
        readFileSync(`/proc/${id}/cmdline`, "utf8").includes("/src/")
      );
    } catch {
      return false;
    }
  };
  await new Promise((resolve) => setTimeout(resolve, options.idleMs ?? 0));
  const idleMegabytes = residentMegabytes(pid);
  return {
    name: shape,
    port,
    pid,
    readySeconds,
    idleMegabytes,
    headers: { authorization: `Bearer ${await accessToken(base)}` },
    pids: () => (shape === "mesh" ? descendants(pid).filter(isNode) : [pid]),
    stop: () => stopChild(child),
  };
}

/** Creates a data directory that `remove` deletes. */
export function temporaryDataDir(): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "turnwright-bench-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}
