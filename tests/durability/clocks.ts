import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { type MeshProcesses, type PartKind, startMeshProcesses } from "../mesh/processes.ts";
import { testedEnvironment } from "../tested-environment.ts";
import { startLoad } from "./drain-load.ts";
import type { Stores } from "./on-stores.ts";

/** The parts of a mesh, each of which has a clock. */
export const partKinds = ["auth", "conversation", "tool-executor", "agent-orchestrator", "gateway"] as const;

/** Starts a mesh with one process of each kind; the clock of one kind is ahead by `shiftMs`. */
export function startShiftedMesh(
  stores: Stores & { modelUrl: string },
  shifted: { kind: PartKind; shiftMs: number },
): Promise<MeshProcesses> {
  const preload = pathToFileURL(join(import.meta.dirname, "shifted-clock.mjs")).href;
  return startMeshProcesses({
    ...stores,
    replicas: {},
    envOf: {
      [shifted.kind]: {
        NODE_OPTIONS: `${testedEnvironment().NODE_OPTIONS} --import=${preload}`,
        CLOCK_SHIFT_MS: String(shifted.shiftMs),
      },
    },
  });
}

/** The outcome of a load on a mesh. */
export interface ClockReport {
  readonly calls: number;
  readonly streams: number;
  /** Failed calls and broken streams. */
  readonly failures: readonly string[];
  /** The first body of /ready that is not plainly ready; undefined: none. */
  readonly notReady: string | undefined;
}

/** Loads a mesh for this time and asks /ready each second. */
export async function loadFor(mesh: MeshProcesses, seconds: number): Promise<ClockReport> {
  const load = await startLoad(mesh.gateways, { unary: 2, streams: 1, longStreams: 0, longWords: 0 });
  let notReady: string | undefined;
  for (const until = performance.now() + seconds * 1_000; performance.now() < until; await delay(1_000)) {
    const response = await fetch(`${mesh.gateways[0]}/ready`);
    const body = await response.text();
    if (response.status !== 200) notReady ??= body;
  }
  await load.stop();
  const { unary, ended, failures, refused, resumed, broken } = load.counts;
  return { calls: unary, streams: ended, failures: [...failures, ...refused, ...resumed, ...broken], notReady };
}

/** How a mesh tells of a clock that it does not tolerate. */
export interface SkewReport {
  /** HTTP statuses of the calls. */
  readonly statuses: ReadonlySet<number>;
  /** The last body of /ready. */
  readonly ready: string;
  /** Names of the processes whose log names the clocks. */
  readonly logs: readonly string[];
}

/** Calls that a client makes first, and one with a token that no clock of the mesh has seen. */
async function callAll(baseUrl: string, statuses: Set<number>): Promise<void> {
  const account = { email: `clock-${crypto.randomUUID()}@example.com`, password: "correct-horse-battery" };
  const call = async (path: string, body: object | undefined, token?: string) => {
    const headers = { "content-type": "application/json", ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) };
    const init = body === undefined ? { headers } : { method: "POST", headers, body: JSON.stringify(body) };
    const response = await fetch(`${baseUrl}${path}`, init);
    statuses.add(response.status);
    return (await response.json()) as { data?: { access_token?: string } };
  };
  await call("/v1/auth/register", { ...account, name: "Clock" });
  const { data } = await call("/v1/auth/login", account);
  const token = data?.access_token;
  if (token === undefined) return;
  await call("/v1/conversations?limit=5", undefined, token);
  await call("/v1/tools", undefined, token);
  await call("/v1/conversations", { message: "hello" }, token);
}

/** Calls a mesh of which one clock is an hour off, until /ready names the clock or the time is over. */
export async function skewOf(mesh: MeshProcesses, dir: string): Promise<SkewReport> {
  const [baseUrl = ""] = mesh.gateways;
  const statuses = new Set<number>();
  let ready = "";
  for (const until = performance.now() + 30_000; performance.now() < until && !ready.includes("clock is"); await delay(500)) {
    await callAll(baseUrl, statuses);
    ready = await fetch(`${baseUrl}/ready`).then((response) => response.text());
  }
  const logs = readdirSync(dir).filter((name) => name.endsWith(".log"));
  const telling = logs.filter((name) => /the clocks of the mesh differ|its clock is/.test(readFileSync(join(dir, name), "utf8")));
  return { statuses, ready, logs: telling.map((name) => name.replace(/\.log$/, "")) };
}
