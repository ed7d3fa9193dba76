import { join } from "node:path";
import { type ScriptedRequest, startScriptedModel } from "@turnwright/testing/scripted-model";
import pg from "pg";
import { startEffectCounter } from "../e2e/effect-counter.ts";
import { approve, type ReachedStep, type Stage, type Step, type StepName, steps, until } from "./kill-steps.ts";
import { type KillableMesh, type PartName, startKillableMesh } from "./killable-mesh.ts";
import { createPatientClient, type PatientClient } from "./patient-client.ts";

/** The result of killing one process at one step of a run. */
export interface CellResult {
  readonly part: PartName;
  readonly step: StepName;
  /**
   * First state of the run after the restart: `completed`, `needs_review`, or `waiting` if it had waited for a person.
   */
  readonly outcome: string;
  /** Milliseconds from the restart of the process to that state. */
  readonly recoveryMs: number;
  /** Number of effects outside. */
  readonly effects: number;
  /** Broken promises. */
  readonly faults: readonly string[];
}

/** A mesh whose processes are killed, and its surroundings. */
export interface KillMatrix {
  readonly mesh: KillableMesh;
  /** Kills one process at one step of a new run, restarts it, and checks the results. */
  play(part: PartName, step: StepName): Promise<CellResult>;
  stop(): Promise<void>;
}

/** Milliseconds after the restart within which the run must have ended or wait again. */
const recoveryLimitMs = 15_000;

/** Only in these cells can nobody know whether the effect was made: its process died during it. */
function mayNeedReview(part: PartName, step: StepName): boolean {
  return part === "tool-executor" && (step === "acting" || step === "decided");
}

interface LedgerRow {
  status: string;
  claim: number;
}

/** Whether the ledger's record of a call agrees with its effects outside. */
function agrees(rows: readonly LedgerRow[], effects: number): boolean {
  const [row] = rows;
  if (row === undefined) return effects === 0;
  if (rows.length > 1) return false;
  return row.status === "success" ? effects === 1 : row.status === "unknown" && effects <= 1;
}

/** Starts the mesh, the model and the effect server. */
export async function startKillMatrix(): Promise<KillMatrix> {
  let stage: Stage | undefined;
  const effects = await startEffectCounter(async (body) => {
    if (stage?.isEffectHeld && body.startsWith(`${stage.note} `)) await stage.gate;
  });
  const model = await startScriptedModel({
    answer({ body }: ScriptedRequest) {
      const newest = body.messages.at(-1);
      if (newest?.content === "And on") return { text: "Gladly." };
      if (stage === undefined) return { status: 500 };
      if (newest?.role === "tool") {
        stage.asked.tool += 1;
        return stage.script.onTool;
      }
      if (newest?.content === "Earlier") return stage.script.onEarlier;
      stage.asked.user += 1;
      return stage.script.onUser;
    },
  });
  const tools = { TOOLS_DIR: join(import.meta.dirname, "tools"), TOOLS_ALLOWED_HOSTS: "127.0.0.1" };
  const env = { LLM_BASE_URL: model.url, ...tools };
  const mesh = await startKillableMesh(env);
  const client = await createPatientClient(mesh.baseUrl);
  let cells = 0;
  return {
    mesh,
    async play(part, step) {
      cells += 1;
      const note = `c${cells}`;
      const restarted = Promise.withResolvers<void>();
      stage = {
        client,
        databaseUrl: mesh.databaseUrl(),
        note,
        effectUrl: effects.url,
        gate: restarted.promise,
        script: { onUser: {}, onTool: {}, onEarlier: {} },
        isEffectHeld: false,
        asked: { user: 0, tool: 0 },
        effects: () => effects.bodies.filter((body) => body.startsWith(`${note} `)).length,
      };
      try {
        return await playCell({ mesh, stage, part, step, open: restarted.resolve });
      } catch (error) {
        // A cell that cannot be played to its end keeps none of its promises.
        const fault = error instanceof Error ? error.message : String(error);
        return { part, step, outcome: "stuck", recoveryMs: Number.NaN, effects: stage.effects(), faults: [fault] };
      } finally {
        restarted.resolve();
      }
    },
    async stop() {
      client.close();
      await mesh.stop();
      await effects.close();
      await model.close();
    },
  };
}

interface Cell {
  readonly mesh: KillableMesh;
  readonly stage: Stage;
  readonly part: PartName;
  readonly step: StepName;
  /** Opens the gates of the model and of the effect server. */
  open(): void;
}

async function statusOf(client: PatientClient, runId: string): Promise<string> {
  return (await client.call("GET", `/v1/runs/${runId}`)).data.run.status;
}

async function playCell({ mesh, stage, part, step, open }: Cell): Promise<CellResult> {
  const { client } = stage;
  const { reach, isParked }: Step = steps[step];
  const faults: string[] = [];
  const run = await reach(stage);
  try {
    await mesh.parts[part].kill();
    await run.letGo?.();
    const startedAt = performance.now();
    await mesh.parts[part].start();
    open();

    let status = "";
    const isOver = (wanted: readonly string[]) => async () => {
      status = await statusOf(client, run.runId);
      return wanted.includes(status);
    };
    const rest = ["completed", "failed", "cancelled", "needs_review"];
    await until("the run ends", isOver(isParked ? ["waiting", ...rest] : rest));
    const recoveryMs = Math.round(performance.now() - startedAt);
    const outcome = status;
    if (recoveryMs > recoveryLimitMs) faults.push(`it took ${recoveryMs} ms`);
    const expected = isParked ? ["waiting"] : mayNeedReview(part, step) ? ["completed", "needs_review"] : ["completed"];
    if (!expected.includes(outcome)) faults.push(`the run is ${outcome}`);

    if (outcome === "waiting") {
      if (stage.effects() !== 0) faults.push("the tool ran before it was approved");
      await approve(stage, run);
      await until("the approved run ends", isOver(rest));
    }
    if (status === "needs_review") {
      faults.push(...(await ledgerFaults(mesh, run.runId, stage)));
      await settle(stage, run);
      await until("the reviewed run ends", isOver(rest));
    } else faults.push(...(await ledgerFaults(mesh, run.runId, stage)));
    if (status !== "completed") faults.push(`the run ended with status ${status}`);
    faults.push(...(await recordFaults(stage, run)));
    return { part, step, outcome, recoveryMs, effects: stage.effects(), faults };
  } finally {
    await run.watcher.close();
  }
}

async function ledgerFaults(mesh: KillableMesh, runId: string, stage: Stage): Promise<string[]> {
  const db = new pg.Client({ connectionString: mesh.databaseUrl() });
  await db.connect();
  try {
    const { rows } = await db.query<LedgerRow>("select status, claim from tool.tool_executions where run_id = $1", [runId]);
    const effects = stage.effects();
    return agrees(rows, effects) ? [] : [`${effects} effects, and the ledger says ${JSON.stringify(rows)}`];
  } finally {
    await db.end();
  }
}

/** Reviews the run as a person who looks outside would. */
async function settle(stage: Stage, { runId }: ReachedStep): Promise<void> {
  const { client, note } = stage;
  const call = { call_id: `call-${note}` };
  const found =
    stage.effects() === 1 ? { ...call, outcome: "completed", output: { order: note } } : { ...call, outcome: "not_done" };
  const { status, error } = await client.call("POST", `/v1/runs/${runId}/review`, { calls: [found] });
  if (status !== 200) throw new Error(`the review was refused: ${status} ${JSON.stringify(error)}`);
}

interface RecordedMessage {
  role: string;
  content: string;
}

/** Checks the message, its watcher's copy of the answer, and the next message. */
async function recordFaults({ client, note }: Stage, { runId, conversationId, watcher }: ReachedStep): Promise<string[]> {
  const faults: string[] = [];
  const path = `/v1/conversations/${conversationId}`;
  const next = await client.call("POST", `${path}/runs`, { message: "And on" });
  const answered = next.status === 202 ? await client.call("GET", `/v1/runs/${next.data.run.id}/wait`) : next;
  if (answered.data?.run?.response !== "Gladly.") faults.push(`the next message got ${JSON.stringify(answered)}`);

  const messages: RecordedMessage[] = (await client.call("GET", path)).data.messages;
  const mine = messages.findIndex(({ content }) => content === `Message ${note}`);
  if (messages.filter(({ content }) => content === `Message ${note}`).length !== 1)
    faults.push("the message does not stand once");
  const after = messages.findIndex(({ role }, index) => role === "user" && index > mine);
  const stored = messages
    .slice(mine + 1, after < 0 ? undefined : after)
    .flatMap(({ role, content }) => (role === "assistant" ? [content] : []))
    .join("");
  if (stored === "") faults.push("no answer is stored");
  await Promise.race([watcher.ended, new Promise((resolve) => setTimeout(resolve, 5_000).unref())]);
  if (!watcher.types.includes("finish")) faults.push(`the watcher saw no finish event, only ${watcher.types.join(" ")}`);
  if (watcher.text() !== stored)
    faults.push(`the watcher has ${JSON.stringify(watcher.text())} but stored is ${JSON.stringify(stored)}`);
  const runs = (await client.call("GET", `${path}/runs`)).data.runs as { id: string; message: string }[];
  if (runs.filter(({ message, id }) => message === `Message ${note}` || id === runId).length !== 1) {
    faults.push("the message has not one run");
  }
  return faults;
}
