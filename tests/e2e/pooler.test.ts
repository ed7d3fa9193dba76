import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import { type Pgbouncer, startPgbouncer } from "@turnwright/testing/pgbouncer";
import { afterAll, beforeAll, expect, test } from "vitest";
import { restApi } from "./api.ts";
import { startSystem } from "./system.ts";

const dataDir = mkdtempSync(join(tmpdir(), "turnwright-pooler-"));
let database: TestDatabase;
let pooler: Pgbouncer | undefined;

beforeAll(async () => {
  database = await createTestDatabase({ services: [] });
  pooler = await startPgbouncer({ url: database.url, mode: "transaction", backends: 4, untested: "the system behind a pooler" });
});
afterAll(async () => {
  await pooler?.stop();
  await database.drop();
  rmSync(dataDir, { recursive: true, force: true });
});

test("the system migrates, starts and answers behind a pooler that gives each transaction another backend", async ({ skip }) => {
  if (pooler === undefined) return skip();
  const { url, keepsPrepared } = pooler;
  const system = await startSystem({
    shape: "all-in-one",
    env: { DATABASE_URL: url, TURNWRIGHT_DATA_DIR: dataDir, DB_PREPARED_STATEMENTS: keepsPrepared ? "on" : "off" },
  });
  const api = restApi(system.baseUrl);
  const people = await Promise.all(
    ["ada", "bob"].map(async (name) => {
      const account = [`${name}@example.com`, "SecurePass123"] as const;
      await api.register(...account);
      return (await api.login(...account)).accessToken;
    }),
  );
  const turn = async (token: string) => (await api.createConversation(token, "hello")).conversationId;
  const turns = people.map((token) => Promise.all([1, 2, 3].map(() => turn(token))));
  for (const [index, ids] of (await Promise.all(turns)).entries()) {
    const token = people[index] ?? "";
    expect((await api.listConversations(token)).ids.sort()).toEqual(ids.sort());
    expect((await api.getConversation(token, ids[0] ?? "")).roles).toEqual(["user", "assistant"]);
  }
  expect((await fetch(`${system.baseUrl}/ready`)).status).toBe(200);
  await system.stop();
}, 60_000);
