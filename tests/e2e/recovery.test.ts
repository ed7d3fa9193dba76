import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { migratedServices } from "@turnwright/platform/postgres/migrations";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import { testRedis } from "@turnwright/testing/redis";
import { type ScriptedModel, startScriptedModel } from "@turnwright/testing/scripted-model";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Api, restApi } from "./api.ts";
import { type EffectCounter, startEffectCounter } from "./effect-counter.ts";
import { type System, startSystem } from "./system.ts";

const redis = await testRedis("kill -9 of the mesh during a run and while a run waits");
const shapes = redis === undefined ? (["all-in-one"] as const) : (["all-in-one", "mesh"] as const);
const never = new Promise<never>(() => {});
/** Of the run that waits for a person, the title of its test. */
const waits = {
  "all-in-one": "lets the run finish after a restart of the all-in-one process, each tool executed once",
  mesh: "lets the run finish after a restart of the whole mesh, each tool executed once",
} as const;
const sent = "survives the kill";

describe.each(shapes)("kill -9 of every process during a run and while one waits for a person, %s", (shape) => {
  let dataDir: string;
  let database: TestDatabase;
  let effects: EffectCounter;
  let model: ScriptedModel;
  let second: System;
  let token: string;
  let restartedAt: number;
  /** Ids of the conversations whose runs were cut off. */
  let streaming: string;
  let calling: string;
  /** Id of the conversation whose run waits for a person. */
  let waiting: string;

  const start = () =>
    startSystem({
      shape,
      env: {
        TURNWRIGHT_DATA_DIR: dataDir,
        DATABASE_URL: database.url,
        DB_ROLE_PREFIX: "turnwright",
        REDIS_URL: shape === "mesh" ? (redis ?? "") : "",
        LLM_BASE_URL: model.url,
        TOOLS_ALLOWED_HOSTS: effects.host,
      },
    });

  async function session(api: Api, isNew: boolean): Promise<string> {
    const [email, password] = ["kill@example.com", "correct-horse-battery"];
    if (isNew) await api.register(email, password);
    return (await api.login(email, password)).accessToken;
  }

  /** Starts a run and returns its conversation when the model has got its request `number`. */
  async function startRun(api: Api, owner: string, number: number): Promise<string> {
    const before = (await api.listConversations(owner)).ids;
    void api.createConversation(owner, "Answer me").catch(() => undefined);
    await model.request(number);
    return (await api.listConversations(owner)).ids.find((id) => !before.includes(id)) ?? "";
  }

  // All processes are killed once, while one run waits for a person, one reads the model's stream and another has the
  // result of its tool.
  beforeAll(async () => {
    dataDir = mkdtempSync(join(tmpdir(), "turnwright-recovery-"));
    database = await createTestDatabase({ services: migratedServices });
    effects = await startEffectCounter();
    model = await startScriptedModel();
    const request = JSON.stringify({ url: effects.url, method: "POST", body: sent });
    model.reply({ calls: [{ id: "post", name: "http_request", arguments: request }] });
    model.reply({ text: "one two three", pauseAfter: { pieces: 3, gate: never } });
    model.reply({ calls: [{ id: "sum", name: "calculator", arguments: '{"expression":"6*7"}' }] });
    model.reply({ text: "one two three", pauseAfter: { pieces: 3, gate: never } });
    const first = await start();
    const before = restApi(first.baseUrl);
    const owner = await session(before, true);
    const parked = await before.createConversation(owner, "Send it");
    expect(parked.response).toBe("pending_approval");
    waiting = parked.conversationId;
    streaming = await startRun(before, owner, 1);
    calling = await startRun(before, owner, 3);
    await first.killAll();
    expect(effects.bodies).toEqual([]);
    // The crash came before the result was in the journal, but the ledger has it.
    for (const text of ["Here I am again.", "Here I am again."]) model.reply({ text });
    second = await start();
    restartedAt = performance.now();
    token = await session(restApi(second.baseUrl), false);
  }, 120_000);
  afterAll(async () => {
    await second?.stop();
    await model?.close();
    await effects?.close();
    await database?.drop();
    rmSync(dataDir, { recursive: true, force: true });
  });

  /** Waits for the answer of a run that was cut off, and has its conversation go on. */
  async function recovered(conversationId: string) {
    const api = restApi(second.baseUrl);
    await expect
      .poll(async () => (await api.getConversation(token, conversationId)).contents.at(-1), { timeout: 15_000, interval: 50 })
      .toBe("Here I am again.");
    process.stdout.write(`${shape}: the run was answered ${Math.round(performance.now() - restartedAt)} ms after the restart\n`);
    return await api.getConversation(token, conversationId);
  }

  async function goesOn(conversationId: string) {
    model.reply({ text: "And on." });
    const next = await restApi(second.baseUrl).sendMessage(token, conversationId, "Go on");
    expect(next.response).toBe("And on.");
  }

  test("lets the run finish when the model was streaming, each message stored once", async () => {
    const record = await recovered(streaming);
    expect(record.roles).toEqual(["user", "assistant"]);
    expect(record.contents).toEqual(["Answer me", "Here I am again."]);
  }, 120_000);

  test("lets the run finish when a tool had run, which does not run again", async () => {
    const record = await recovered(calling);
    expect(record.roles).toEqual(["user", "assistant", "tool", "assistant"]);
    const db = new pg.Client({ connectionString: database.url });
    await db.connect();
    const { rows } = await db.query("select tool_name, status, claim from tool.tool_executions");
    const { rows: runs } = await db.query(
      "select status, epoch from conversation.runs where conversation_id = $1 order by created_at",
      [calling],
    );
    await db.end();
    expect(rows).toEqual([{ tool_name: "calculator", status: "success", claim: 1 }]);
    expect(runs[0]).toEqual({ status: "completed", epoch: 2 });
    await goesOn(calling);
    await goesOn(streaming);
  }, 120_000);

  test(waits[shape], async () => {
    const api = restApi(second.baseUrl);
    expect((await api.getConversation(token, waiting)).status).toBe("pending_approval");
    model.reply({ text: "It is sent." });
    const decided = await api.approve(token, waiting, true, "Still wanted");
    expect(decided.status).toBe("approved");
    expect(effects.bodies).toEqual([sent]);
    const record = await api.getConversation(token, waiting);
    expect(record.roles).toEqual(["user", "assistant", "tool", "assistant"]);
    expect(record.status).toBe("active");
    const db = new pg.Client({ connectionString: database.url });
    await db.connect();
    const { rows } = await db.query("select tool_name, status from tool.tool_executions order by created_at");
    await db.end();
    expect(rows).toEqual([
      { tool_name: "calculator", status: "success" },
      { tool_name: "http_request", status: "success" },
    ]);
  }, 120_000);
});
