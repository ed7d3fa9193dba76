import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import { testRedis } from "@turnwright/testing/redis";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Api, restApi } from "./api.ts";
import { type EffectCounter, startEffectCounter } from "./effect-counter.ts";
import { startSystem } from "./system.ts";

const redis = await testRedis("kill -9 of the mesh while a run waits");
const password = "correct-horse-battery";

interface LedgerRow {
  tool_name: string;
  status: string;
}

describe("kill -9 of every process while a run waits for a person", () => {
  let dataDir: string;
  let database: TestDatabase;
  let effects: EffectCounter;

  beforeEach(async () => {
    dataDir = mkdtempSync(join(tmpdir(), "turnwright-kill-"));
    database = await createTestDatabase({ services: [] });
    effects = await startEffectCounter();
  });
  afterEach(async () => {
    await effects.close();
    await database.drop();
    rmSync(dataDir, { recursive: true, force: true });
  });

  /** Creates a user and a conversation that waits for the approval of an HTTP request. */
  async function parkedRun(api: Api) {
    const email = `kill-${randomUUID()}@example.com`;
    await api.register(email, password);
    const { accessToken } = await api.login(email, password);
    const body = `survives ${randomUUID()}`;
    const parked = await api.createConversation(accessToken, `Send an HTTP request to ${effects.url} saying ${body}`);
    expect(parked.response).toBe("pending_approval");
    return { email, body, conversationId: parked.conversationId };
  }

  async function ledger(): Promise<LedgerRow[]> {
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    try {
      const { rows } = await client.query<LedgerRow>("select tool_name, status from tool.tool_executions order by created_at");
      return rows;
    } finally {
      await client.end();
    }
  }

  async function survives(shape: "all-in-one" | "mesh", env: Record<string, string>): Promise<void> {
    const options = { shape, env: { ...env, TURNWRIGHT_DATA_DIR: dataDir, TOOLS_ALLOWED_HOSTS: effects.host } };
    const first = await startSystem(options);
    const run = await parkedRun(restApi(first.baseUrl));
    await first.killAll();
    expect(effects.bodies).toEqual([]);

    const second = await startSystem(options);
    try {
      const api = restApi(second.baseUrl);
      const { accessToken } = await api.login(run.email, password);
      expect((await api.getConversation(accessToken, run.conversationId)).status).toBe("pending_approval");
      const decided = await api.approve(accessToken, run.conversationId, true, "Still wanted");
      expect(decided.status).toBe("approved");
      expect(effects.bodies).toEqual([run.body]);
      const record = await api.getConversation(accessToken, run.conversationId);
      expect(record.roles).toEqual(["user", "assistant", "tool", "assistant"]);
      expect(record.status).toBe("active");
    } finally {
      await second.stop();
    }
  }

  test("lets the run finish after a restart of the all-in-one process, each tool executed once", async () => {
    await survives("all-in-one", { DATABASE_URL: database.url });
    expect(await ledger()).toEqual([{ tool_name: "http_request", status: "success" }]);
  }, 120_000);

  test("lets the run finish after a restart of the all-in-one process and its embedded PostgreSQL", async () => {
    await survives("all-in-one", {});
  }, 120_000);

  test.skipIf(redis === undefined)(
    "lets the run finish after a restart of the whole mesh, each tool executed once",
    async () => {
      await survives("mesh", { DATABASE_URL: database.url, REDIS_URL: redis ?? "" });
      expect(await ledger()).toEqual([{ tool_name: "http_request", status: "success" }]);
    },
    120_000,
  );
});
