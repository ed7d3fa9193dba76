import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import { testRedis } from "@turnwright/testing/redis";
import { type ScriptedModel, startScriptedModel } from "@turnwright/testing/scripted-model";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Api, restApi } from "./api.ts";
import { startSystem } from "./system.ts";

const redis = await testRedis("kill -9 of the mesh during a run");
const shapes = redis === undefined ? (["all-in-one"] as const) : (["all-in-one", "mesh"] as const);
const never = new Promise<never>(() => {});

describe.each(shapes)("kill -9 of every process during a run, %s", (shape) => {
  let dataDir: string;
  let database: TestDatabase;
  let model: ScriptedModel;

  beforeEach(async () => {
    dataDir = mkdtempSync(join(tmpdir(), "turnwright-recovery-"));
    database = await createTestDatabase({ services: [] });
    model = await startScriptedModel();
  });
  afterEach(async () => {
    await model.close();
    await database.drop();
    rmSync(dataDir, { recursive: true, force: true });
  });

  const start = () =>
    startSystem({
      shape,
      env: {
        TURNWRIGHT_DATA_DIR: dataDir,
        DATABASE_URL: database.url,
        REDIS_URL: shape === "mesh" ? (redis ?? "") : "",
        LLM_BASE_URL: model.url,
      },
    });

  async function session(api: Api, isNew: boolean): Promise<string> {
    const [email, password] = ["kill@example.com", "correct-horse-battery"];
    if (isNew) await api.register(email, password);
    return (await api.login(email, password)).accessToken;
  }

  /** Starts a run, kills all processes when `until` resolves, restarts them, and returns the conversation. */
  async function killedIn(until: () => Promise<unknown>) {
    const first = await start();
    const before = restApi(first.baseUrl);
    const token = await session(before, true);
    const turn = before.createConversation(token, "Answer me").catch(() => undefined);
    await until();
    const { ids } = await before.listConversations(token);
    const conversationId = ids[0] ?? "";
    await first.killAll();
    await turn;

    const second = await start();
    const startedAt = performance.now();
    try {
      const after = restApi(second.baseUrl);
      const fresh = await session(after, false);
      await expect
        .poll(async () => (await after.getConversation(fresh, conversationId)).contents.at(-1), { timeout: 15_000, interval: 50 })
        .toBe("Here I am again.");
      process.stdout.write(`${shape}: the run was answered ${Math.round(performance.now() - startedAt)} ms after the restart\n`);
      const record = await after.getConversation(fresh, conversationId);
      model.reply({ text: "And on." });
      const next = await after.sendMessage(fresh, conversationId, "Go on");
      expect(next.response).toBe("And on.");
      return record;
    } finally {
      await second.stop();
    }
  }

  test("lets the run finish when the model was streaming, each message stored once", async () => {
    model.reply({ text: "one two three", pauseAfter: { pieces: 3, gate: never } });
    model.reply({ text: "Here I am again." });
    const record = await killedIn(() => model.request(0));
    expect(record.roles).toEqual(["user", "assistant"]);
    expect(record.contents).toEqual(["Answer me", "Here I am again."]);
  }, 120_000);

  test("lets the run finish when a tool had run, which does not run again", async () => {
    model.reply({ calls: [{ id: "sum", name: "calculator", arguments: '{"expression":"6*7"}' }] });
    model.reply({ text: "one two three", pauseAfter: { pieces: 3, gate: never } });
    // The crash came before the result was in the journal, but the ledger has it.
    model.reply({ text: "Here I am again." });
    const record = await killedIn(() => model.request(1));
    expect(record.roles).toEqual(["user", "assistant", "tool", "assistant"]);
    const db = new pg.Client({ connectionString: database.url });
    await db.connect();
    const { rows } = await db.query("select tool_name, status, claim from tool.tool_executions");
    const { rows: runs } = await db.query("select status, epoch from conversation.runs order by created_at");
    await db.end();
    expect(rows).toEqual([{ tool_name: "calculator", status: "success", claim: 1 }]);
    expect(runs[0]).toEqual({ status: "completed", epoch: 2 });
  }, 120_000);
});
