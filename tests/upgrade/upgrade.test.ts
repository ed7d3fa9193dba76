import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { migratedServices, migrationsDir } from "@turnwright/platform/postgres/migrations";
import { createTestDatabase, openTestPool, type TestDatabase } from "@turnwright/testing/database";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type EffectCounter, startEffectCounter } from "../e2e/effect-counter.ts";
import { type System, startSystem } from "../e2e/system.ts";
import { testedEnvironment } from "../tested-environment.ts";

/** The key that a user of the first release made; usable for the calculator and gpt-4o-mini only. */
const apiKey = "sk-lzx9m8mejBIMl3pKTOjQxJRgDucsyhECtLHI25lWQvzYGF0hA";
/** The receiver of the request of the first release's waiting call. */
const receiverOfDump = "http://127.0.0.1:18199/order";
const answer = 'Here is what I found for "What is 1337 * 42?": 1337 * 42 = 56154.';

describe("a database of the first release, under this one", () => {
  const dataDir = mkdtempSync(join(tmpdir(), "turnwright-upgrade-"));
  let database: TestDatabase;
  let rows: pg.Pool;
  let effects: EffectCounter;
  let system: System;
  let token = "";

  const call = async (method: string, path: string, body?: unknown, credential = token, at = system) => {
    const response = await fetch(`${at.baseUrl}${path}`, {
      method,
      headers: { "Content-Type": "application/json", ...(credential && { Authorization: `Bearer ${credential}` }) },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    return { status: response.status, body: (await response.json()) as { data?: never; error?: never } };
  };

  beforeAll(async () => {
    effects = await startEffectCounter();
    database = await createTestDatabase({ services: [] });
    rows = openTestPool(database.url, 1);
    const dump = readFileSync(join(import.meta.dirname, "first-release.sql"), "utf8");
    // The receiver of the dump's waiting call listens elsewhere in each run.
    await rows.query(dump.replaceAll(receiverOfDump, effects.url));
    system = await startSystem({
      shape: "all-in-one",
      env: {
        DATABASE_URL: database.url,
        TURNWRIGHT_DATA_DIR: dataDir,
        TOOLS_ALLOWED_HOSTS: effects.host,
        RATE_LIMIT_ENABLED: "false",
      },
    });
    const { body } = await call("POST", "/v1/auth/login", { email: "ada@example.com", password: "SecurePass123" });
    token = (body.data as unknown as { access_token: string }).access_token;
  });
  afterAll(async () => {
    expect(await system?.stop()).toBe(0);
    await effects?.close();
    await rows?.end();
    await database?.drop();
    rmSync(dataDir, { recursive: true, force: true });
  });

  test("is migrated to the newest version of every schema", async () => {
    for (const service of migratedServices) {
      const { rows: applied } = await rows.query<{ name: string }>(`select name from ${service}.migrations order by id`);
      const files = readdirSync(join(migrationsDir, service)).filter((file) => file.endsWith(".up.sql"));
      expect(applied.map(({ name }) => `${name}.up.sql`)).toEqual(files.sort());
    }
  });

  test("keeps accounts, conversations, messages and totals", async () => {
    expect((await call("GET", "/v1/auth/me")).body).toMatchObject({
      data: { user: { email: "ada@example.com", name: "Ada", role: "user", is_active: true } },
    });
    const { body } = await call("GET", "/v1/conversations");
    expect(body).toMatchObject({
      data: {
        conversations: [
          { status: "pending_approval", message_count: 2, total_tokens: 85 },
          { title: "What is 1337 * 42?", status: "active", message_count: 4, tool_call_count: 1, total_tokens: 130 },
        ],
      },
    });
    const [, asked] = (body.data as unknown as { conversations: { id: string }[] }).conversations;
    const read = await call("GET", `/v1/conversations/${asked?.id}`);
    const { messages } = read.body.data as unknown as { messages: { role: string; content: string }[] };
    expect(messages.map(({ role }) => role)).toEqual(["user", "assistant", "tool", "assistant"]);
    expect(messages.at(-1)?.content).toBe(answer);
    const next = await call("POST", `/v1/conversations/${asked?.id}/messages`, { message: "What is 2 * 3?" });
    expect(next).toMatchObject({ status: 200, body: { data: { message: { sequence_number: 8 } } } });
  });

  test("keeps API keys with their limits", async () => {
    const asked = (model: string) => ({ model, messages: [{ role: "user", content: "What is 1337 * 42?" }] });
    const { status, body } = await call("POST", "/v1/chat/completions", asked("gpt-4o-mini"), apiKey);
    expect({ status, body }).toMatchObject({ status: 200, body: { choices: [{ message: { content: answer } }] } });
    expect((await call("POST", "/v1/chat/completions", asked("gpt-4o"), apiKey)).status).toBe(403);
    const { body: keys } = await call("GET", "/v1/api-keys");
    expect(keys).toMatchObject({ data: { api_keys: [{ name: "ci", allowed_tools: ["calculator"], is_revoked: false }] } });
  });

  test("has its waiting approval superseded by one of the tool as it is now, and the approved call runs once", async () => {
    const { body } = await call("GET", "/v1/approvals");
    const [approval] = (body.data as unknown as { approvals: { id: string; tool_name: string }[] }).approvals;
    expect(approval).toMatchObject({ tool_name: "http_request", status: "pending" });
    // http_request has changed since.
    const refused = await call("POST", `/v1/approvals/${approval?.id}/decision`, { approved: true });
    expect(refused).toMatchObject({ status: 409, body: { error: { code: "APPROVAL_SUPERSEDED" } } });
    expect(effects.bodies).toEqual([]);
    const { body: again } = await call("GET", "/v1/approvals");
    const [fresh] = (again.data as unknown as { approvals: { id: string }[] }).approvals;
    const decided = await call("POST", `/v1/approvals/${fresh?.id}/decision`, { approved: true });
    expect(decided).toMatchObject({ status: 200, body: { data: { status: "approved" } } });
    expect(effects.bodies).toHaveLength(1);
  });

  test("comes back from a backup that was taken while it ran, with keys, conversations and runs", async () => {
    const file = join(dataDir, "backup.sql.gz");
    await databaseTool("backup", file, database.url);
    const copy = await createTestDatabase({ services: [] });
    const copyDir = mkdtempSync(join(tmpdir(), "turnwright-restored-"));
    let restored: System | undefined;
    try {
      await databaseTool("restore", file, copy.url);
      restored = await startSystem({
        shape: "all-in-one",
        env: { DATABASE_URL: copy.url, TURNWRIGHT_DATA_DIR: copyDir, RATE_LIMIT_ENABLED: "false" },
      });
      const at = restored;
      for (const path of ["/v1/conversations", "/v1/runs", "/v1/api-keys", "/v1/approvals?status=superseded"]) {
        const [here, there] = [await call("GET", path), await call("GET", path, undefined, token, at)];
        expect(there.status, path).toBe(200);
        expect(there.body, path).toEqual(here.body);
      }
      const body = { model: "gpt-4o-mini", messages: [{ role: "user", content: "What is 1337 * 42?" }] };
      expect((await call("POST", "/v1/chat/completions", body, apiKey, at)).status).toBe(200);
    } finally {
      await restored?.stop();
      await copy.drop();
      rmSync(copyDir, { recursive: true, force: true });
    }
  }, 60_000);
});

/** Runs `npm run backup` or `npm run restore`, without npm. */
async function databaseTool(command: "backup" | "restore", file: string, url: string): Promise<void> {
  const script = join(import.meta.dirname, "../../packages/platform/tools/backup.ts");
  const env = { ...testedEnvironment(), PATH: process.env.PATH ?? "", DATABASE_URL: url };
  await promisify(execFile)(process.execPath, [script, command, file], { env });
}
