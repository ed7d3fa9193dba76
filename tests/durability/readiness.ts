import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { startScriptedModel } from "@turnwright/testing/scripted-model";
import pg from "pg";
import { startEffectCounter } from "../e2e/effect-counter.ts";
import { testedEnvironment } from "../tested-environment.ts";
import { type KillableMesh, type PartName, startKillableMesh } from "./killable-mesh.ts";
import { createPatientClient, type PatientClient } from "./patient-client.ts";

/** How to break a part and how to restore it. */
export interface Fault {
  begin(): unknown;
  end(): unknown;
}

/** The responses of /ready to a fault. */
export interface ReadinessCell {
  readonly part: string;
  readonly fault: string;
  /** Milliseconds from the fault to the first 503; undefined: there was none. */
  readonly seenMs?: number;
  /** Milliseconds from the end of the fault (a killed process accepts connections again) to 200. */
  readonly backMs?: number;
  /** Faults of those responses; empty: none. */
  readonly complaints: readonly string[];
}

/** Milliseconds within which a fault must be reported. */
export const limitMs = 10_000;
/** Milliseconds after its end within which /ready must answer 200. */
const backLimitMs = 15_000;
/**
 * Milliseconds that a fault lasts after it was reported: parts that depend on the broken one fail later and must not be
 * named in its place.
 */
const afterwardsMs = 8_000;
/**
 * Milliseconds for which an event loop is blocked: longer than detection, the checks afterwards, and the last check,
 * which may wait for a part.
 */
const blockMs = 18_000;

interface Answer {
  readonly status: number;
  readonly body: string;
}

async function ask(baseUrl: string): Promise<Answer> {
  const response = await fetch(`${baseUrl}/ready`, { signal: AbortSignal.timeout(limitMs) });
  return { status: response.status, body: await response.text() };
}

/** Whether a response names the failed part. */
function names(part: string, { body }: Answer): boolean {
  const { success, error } = JSON.parse(body);
  if (success !== false || error.type !== "server_error" || error.param !== null) return false;
  if (part === "PostgreSQL") return error.code === "DB_ERROR" && error.message.startsWith("database is not ready");
  if (part === "Redis") return error.code === "REDIS_ERROR" && error.message === "redis is not ready.";
  return error.code === "UNAVAILABLE" && error.message === `${part} is not ready.`;
}

/**
 * Injects a fault, polls /ready until it reports it and for a while after that, ends the fault, and waits until all
 * parts are ready.
 */
export async function playFault(
  baseUrl: string,
  cell: {
    part: string;
    name: string;
    fault: Fault;
    afterwardsMs?: number;
  },
): Promise<ReadinessCell> {
  const { part, name, fault } = cell;
  const complaints: string[] = [];
  const readyBy = performance.now() + backLimitMs;
  for (let body = ""; body !== '{"success":true,"data":{"status":"ready"}}'; { body } = await ask(baseUrl)) {
    if (performance.now() > readyBy) throw new Error(`not ready before the fault: ${body}`);
  }
  await fault.begin();
  const begunAt = performance.now();
  let seenMs: number | undefined;
  while (performance.now() - begunAt < (seenMs === undefined ? limitMs : seenMs + (cell.afterwardsMs ?? afterwardsMs))) {
    const answer = await ask(baseUrl);
    if (answer.status === 503) seenMs ??= performance.now() - begunAt;
    else if (seenMs !== undefined) complaints.push("ready in the middle of it");
    if (answer.status === 503 && !names(part, answer)) complaints.push(`says ${answer.body}`);
    await delay(50);
  }
  if (seenMs === undefined || seenMs > limitMs) complaints.push(`not reported within ${limitMs} ms`);
  await fault.end();
  const endedAt = performance.now();
  let backMs: number | undefined;
  while (backMs === undefined && performance.now() - endedAt < backLimitMs) {
    const answer = await ask(baseUrl);
    if (answer.status === 200) backMs = performance.now() - endedAt;
    else await delay(50);
  }
  if (backMs === undefined) complaints.push(`not ready ${backLimitMs} ms after its end`);
  return { part, fault: name, seenMs, backMs, complaints: [...new Set(complaints)] };
}

/** Locks a table from outside, so that every statement on it hangs. */
export function tableLock(databaseUrl: () => string, table: string): Fault {
  let holder: pg.Client;
  return {
    async begin() {
      holder = new pg.Client({ connectionString: databaseUrl() });
      await holder.connect();
      await holder.query("begin");
      await holder.query(`lock table ${table} in access exclusive mode`);
    },
    end: () => holder.end(),
  };
}

/** A mesh with one process of each kind, to inject faults into. */
export interface ReadinessStage {
  /** The faults, by part and name. */
  readonly cells: readonly { readonly part: string; readonly name: string }[];
  play(part: string, name: string, options?: { afterwardsMs?: number }): Promise<ReadinessCell>;
  stop(): Promise<void>;
}

const services = ["auth", "conversation", "tool-executor", "agent-orchestrator"] as const satisfies readonly PartName[];

/** The faults of each part that need no tool call in progress. */
export function faultsOf(mesh: KillableMesh): { part: string; name: string; fault: Fault }[] {
  const parts = [...services, "PostgreSQL", "Redis"] as const;
  return [
    ...parts.map((part) => ({
      part,
      name: "kill -9",
      fault: { begin: () => mesh.parts[part].kill(), end: () => mesh.parts[part].start() },
    })),
    ...parts.map((part) => ({
      part,
      name: "SIGSTOP",
      fault: { begin: () => mesh.parts[part].signal("SIGSTOP"), end: () => mesh.parts[part].signal("SIGCONT") },
    })),
    ...services.map((part) => {
      let isFree: Promise<void>;
      const begin = () => {
        isFree = delay(blockMs);
        mesh.parts[part].signal("SIGUSR2");
      };
      return { part, name: "event loop blocked", fault: { begin, end: () => isFree } };
    }),
    {
      part: "agent-orchestrator",
      name: "signs of life not taken",
      fault: tableLock(mesh.databaseUrl, "conversation.workers"),
    },
  ];
}

/** Starts a tool call that runs until it is released; resolves once the tool runs. */
async function holdTool(client: PatientClient, effects: { url: string; bodies: readonly string[] }): Promise<void> {
  const { status } = await client.call("POST", "/v1/runs", { message: effects.url });
  if (status !== 202) throw new Error(`the message was not accepted: ${status}`);
  while (effects.bodies.length === 0) await delay(20);
}

/** Starts the mesh, with a model that answers each message by placing an order at the address in it. */
export async function startReadinessStage(): Promise<ReadinessStage> {
  const gate = Promise.withResolvers<void>();
  const effects = await startEffectCounter(() => gate.promise);
  const model = await startScriptedModel({
    answer({ body }) {
      const newest = body.messages.at(-1);
      if (newest?.role === "tool") return { text: "Done." };
      const args = JSON.stringify({ url: effects.url, note: "r16" });
      return { calls: [{ id: "call", name: "place_order", arguments: args }] };
    },
  });
  const { NODE_OPTIONS } = testedEnvironment();
  const mesh = await startKillableMesh({
    LLM_BASE_URL: model.url,
    TOOLS_DIR: join(import.meta.dirname, "tools"),
    TOOLS_ALLOWED_HOSTS: "127.0.0.1",
    NODE_OPTIONS: `${NODE_OPTIONS} --import=${pathToFileURL(join(import.meta.dirname, "block-event-loop.mjs")).href}`,
    BLOCK_MS: String(blockMs),
  });
  const client = await createPatientClient(mesh.baseUrl);
  const { begin, end } = tableLock(mesh.databaseUrl, "tool.tool_executions");
  const cells = [
    ...faultsOf(mesh),
    {
      part: "tool-executor",
      name: "leases not renewed",
      fault: {
        async begin() {
          await holdTool(client, effects);
          await begin();
        },
        async end() {
          gate.resolve();
          await end();
        },
      },
    },
  ];
  return {
    cells,
    async play(part, name, options) {
      const cell = cells.find((one) => one.part === part && one.name === name);
      if (cell === undefined) throw new Error(`unknown cell ${part}, ${name}`);
      return await playFault(mesh.baseUrl, { ...cell, ...options });
    },
    async stop() {
      gate.resolve();
      await mesh.stop();
      await model.close();
      await effects.close();
    },
  };
}
