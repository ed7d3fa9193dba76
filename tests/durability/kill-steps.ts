import { setTimeout as delay } from "node:timers/promises";
import type { ScriptedReply } from "@turnwright/testing/scripted-model";
import pg from "pg";
import type { PatientClient, RunWatcher } from "./patient-client.ts";

/** The surroundings of one cell of the matrix. */
export interface Stage {
  readonly client: PatientClient;
  readonly databaseUrl: string;
  /** Unique text of the message, its answer and the effect of its tool. */
  readonly note: string;
  /** The address at which the cell's tools take effect. */
  readonly effectUrl: string;
  /** Resolves once the killed process has been restarted. */
  readonly gate: Promise<void>;
  /** The model's replies: to the user's message, to a tool result, and to the earlier message. */
  readonly script: { onUser: ScriptedReply; onTool: ScriptedReply; onEarlier: ScriptedReply };
  /** Whether the effect server waits for the gate before it answers a tool that has taken effect. */
  isEffectHeld: boolean;
  /** Questions of this cell to the model so far, by the role of the newest message. */
  readonly asked: { user: number; tool: number };
  /** Number of effects of this cell so far. */
  effects(): number;
}

/** A run held at a step. */
export interface ReachedStep {
  readonly runId: string;
  readonly conversationId: string;
  readonly watcher: RunWatcher;
  /** Releases the hold on the run inside the system; called right after the kill. */
  letGo?(): Promise<void>;
}

/** A step of a run at which a process is killed. */
export interface Step {
  readonly name: string;
  /** A person still has to decide after the restart. */
  readonly isParked?: true;
  /** Begins a run, brings it to this step and holds it there. */
  reach(stage: Stage): Promise<ReachedStep>;
}

const longAnswer = (note: string) => Array.from({ length: 40 }, (_, index) => `${note}-word${index}`).join(" ");

/** Polls until a step is reached; throws after 20 s. */
export async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error(`not in 20 s: ${what}`);
    await delay(10);
  }
}

async function begin({ client, note }: Stage, conversationId?: string): Promise<ReachedStep> {
  const path = conversationId === undefined ? "/v1/runs" : `/v1/conversations/${conversationId}/runs`;
  const { status, data, error } = await client.call("POST", path, { message: `Message ${note}` });
  if (status !== 202) throw new Error(`the message was not accepted: ${status} ${JSON.stringify(error)}`);
  return { runId: data.run.id, conversationId: data.run.conversation_id, watcher: client.watch(data.run.id) };
}

function scriptTool({ script, note, effectUrl }: Stage, name: string): void {
  const args = JSON.stringify({ url: effectUrl, note });
  script.onUser = { text: `${note}: I shall.`, calls: [{ id: `call-${note}`, name, arguments: args }] };
  script.onTool = { text: `${note}: it is done.` };
}

async function parked(stage: Stage): Promise<ReachedStep> {
  scriptTool(stage, "place_approved_order");
  const run = await begin(stage);
  const { data } = await stage.client.call("GET", `/v1/runs/${run.runId}/wait`);
  if (data.run.status !== "waiting") throw new Error(`the run does not wait but is ${data.run.status}`);
  return run;
}

/** Approves the pending call of a run; resolves with the system's response. */
export async function approve({ client }: Stage, { conversationId }: ReachedStep): Promise<void> {
  const { status, error } = await client.call("POST", `/v1/conversations/${conversationId}/approve`, { approved: true });
  // 409: the response was lost, not the decision.
  if (status !== 200 && status !== 409) throw new Error(`the approval was refused: ${status} ${JSON.stringify(error)}`);
}

/** Locks rows of the database from outside; writers of those rows wait. */
async function lock(stage: Stage, statement: string, parameters: unknown[] = []) {
  const holder = new pg.Client({ connectionString: stage.databaseUrl });
  const looker = new pg.Client({ connectionString: stage.databaseUrl });
  // PostgreSQL may be the killed process.
  for (const client of [holder, looker]) client.on("error", () => {});
  await Promise.all([holder.connect(), looker.connect()]);
  await holder.query("begin");
  await holder.query(statement, parameters);
  const { rows } = await holder.query<{ pid: number }>("select pg_backend_pid() as pid");
  return {
    /** Resolves once a service waits for the lock. */
    async reached(): Promise<void> {
      await until("a service stands at the lock", async () => {
        const waiting = await looker.query("select from pg_stat_activity where $1 = any(pg_blocking_pids(pid))", [rows[0]?.pid]);
        return (waiting.rowCount ?? 0) > 0;
      });
    },
    async letGo(): Promise<void> {
      await Promise.allSettled([holder.end(), looker.end()]);
    },
  };
}

/** The steps of a run, in order. */
export const steps = {
  accepted: {
    name: "message accepted, waits its turn",
    async reach(stage) {
      stage.script.onEarlier = { text: "Earlier.", beforeHeaders: stage.gate };
      stage.script.onUser = { text: longAnswer(stage.note) };
      const { data } = await stage.client.call("POST", "/v1/runs", { message: "Earlier" });
      const run = await begin(stage, data.run.conversation_id);
      const { data: now } = await stage.client.call("GET", `/v1/runs/${run.runId}`);
      if (now.run.status !== "queued") throw new Error(`the run does not queue but is ${now.run.status}`);
      return run;
    },
  },
  asked: {
    name: "model asked, nothing said yet",
    async reach(stage) {
      stage.script.onUser = { text: longAnswer(stage.note), beforeHeaders: stage.gate };
      const run = await begin(stage);
      await until("the model is asked", () => stage.asked.user > 0);
      return run;
    },
  },
  speaking: {
    name: "in the middle of the answer",
    async reach(stage) {
      stage.script.onUser = { text: longAnswer(stage.note), pauseAfter: { pieces: 21, gate: stage.gate } };
      const run = await begin(stage);
      await until("half of the answer is seen", () => run.watcher.text().includes(`${stage.note}-word19`));
      return run;
    },
  },
  acting: {
    name: "`once` tool runs: effect made, result not stored",
    async reach(stage) {
      scriptTool(stage, "place_order");
      stage.isEffectHeld = true;
      const run = await begin(stage);
      await until("the tool takes effect", () => stage.effects() > 0);
      return run;
    },
  },
  acted: {
    name: "tool's result stored, next answer not begun",
    async reach(stage) {
      scriptTool(stage, "place_order");
      stage.script.onTool = { ...stage.script.onTool, beforeHeaders: stage.gate };
      const run = await begin(stage);
      await until("the model is asked again", () => stage.asked.tool > 0);
      return run;
    },
  },
  parked: { name: "parked for an approval", isParked: true, reach: parked },
  decided: {
    name: "approved, tool not begun",
    async reach(stage) {
      const run = await parked(stage);
      const ledger = await lock(stage, "lock table tool.tool_executions in exclusive mode");
      // Its response comes after the restart, or never.
      approve(stage, run).catch(() => {});
      await ledger.reached();
      return { ...run, letGo: ledger.letGo };
    },
  },
  said: {
    name: "answer complete, final commit under way",
    async reach(stage) {
      const last = Promise.withResolvers<void>();
      stage.script.onUser = { text: longAnswer(stage.note), pauseAfter: { pieces: 41, gate: last.promise } };
      const run = await begin(stage);
      await until("all of the answer is seen", () => run.watcher.text().includes(`${stage.note}-word39`));
      const row = await lock(stage, "select from conversation.runs where run_id = $1 for update", [run.runId]);
      last.resolve();
      await row.reached();
      return { ...run, letGo: row.letGo };
    },
  },
} as const satisfies Readonly<Record<string, Step>>;

/** The name of a step. */
export type StepName = keyof typeof steps;
