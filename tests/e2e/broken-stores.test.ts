import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { openTestPool } from "@turnwright/testing/database";
import { afterAll, beforeAll, expect, test } from "vitest";
import { testedEnvironment } from "../tested-environment.ts";
import { startAllInOne } from "./all-in-one.ts";
import { restApi } from "./api.ts";
import type { System } from "./system.ts";

let system: System & { databaseUrl: string };
const folder = mkdtempSync(join(tmpdir(), "turnwright-broken-"));
const file = join(folder, "way");
const breakStores = (way: string) => writeFileSync(file, way);

beforeAll(async () => {
  breakStores("");
  const preload = pathToFileURL(join(import.meta.dirname, "break-stores.mjs")).href;
  const options = [testedEnvironment().NODE_OPTIONS ?? "", `--import=${preload}`].join(" ").trim();
  system = await startAllInOne({ NODE_OPTIONS: options, BROKEN_STORES: file });
});
afterAll(async () => {
  await system.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** How long the stores stay broken, in milliseconds: several rounds of every timer. */
const brokenMs = 2_500;

test.each(["throws", "rejects", "rejects with nothing", "answers with nonsense"])(
  "no timer, flush or request ends the process while every store %s, and it serves again afterwards",
  async (way) => {
    const api = restApi(system.baseUrl);
    const email = `broken-${randomUUID()}@example.com`;
    await api.register(email, "correct-horse-battery");
    const { accessToken } = await api.login(email, "correct-horse-battery");
    const { conversationId } = await api.createConversation(accessToken, "before");
    breakStores(way);
    const headers = { authorization: `Bearer ${accessToken}`, "content-type": "application/json" };
    const ask = (path: string, body: object) =>
      fetch(system.baseUrl + path, {
        method: "POST",
        headers,
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(brokenMs),
      }).then(
        (response) => response.text(),
        () => undefined,
      );
    const messages = [{ role: "user", content: "hi" }];
    await Promise.all([
      delay(brokenMs),
      ...[false, true].map((stream) => ask("/v1/chat/completions", { messages, stream })),
      ask("/v1/conversations", { message: "meanwhile" }),
      ask(`/v1/conversations/${conversationId}/messages`, { message: "meanwhile", stream: true }),
      ask("/v1/tools/calculator/execute", { arguments: { expression: "1+1" } }),
    ]);
    breakStores("");
    await expect.poll(async () => (await fetch(`${system.baseUrl}/ready`)).status, { timeout: 15_000 }).toBe(200);
    const after = await api.createConversation(accessToken, "after");
    expect(after.conversationId).not.toBe("");
  },
  40_000,
);

/** Requests on every surface that need the database, and a key that no gateway has seen before. */
async function requests() {
  const api = restApi(system.baseUrl);
  const account = [`full-${randomUUID()}@example.com`, "correct-horse-battery"] as const;
  await api.register(...account);
  const { accessToken } = await api.login(...account);
  const post = (path: string, bearer: string, body: object) =>
    fetch(system.baseUrl + path, {
      method: "POST",
      headers: { authorization: `Bearer ${bearer}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  const created = await post("/v1/api-keys", accessToken, { name: "unseen" });
  const { key } = ((await created.json()) as { data: { key: string } }).data;
  const messages = [{ role: "user", content: "hi" }];
  const registration = { email: `late-${randomUUID()}@example.com`, password: "correct-horse-battery", name: "Late" };
  return {
    register: () => post("/v1/auth/register", "", registration),
    createKey: () => post("/v1/api-keys", accessToken, { name: "another" }),
    createConversation: () => post("/v1/conversations", accessToken, { message: "hi" }),
    createByConnect: () => post("/turnwright.agent.v1.AgentService/CreateConversation", accessToken, { message: "hi" }),
    complete: () => post("/v1/chat/completions", key, { messages }),
  } satisfies Record<string, () => Promise<Response>>;
}

async function expectUnavailable(asked: readonly (() => Promise<Response>)[]): Promise<void> {
  for (const response of await Promise.all(asked.map((ask) => ask()))) {
    expect([response.url, response.status]).toEqual([response.url, 503]);
    expect(JSON.stringify(await response.json())).toMatch(/DB_ERROR|DATABASE_UNAVAILABLE/);
  }
}

const lackOf = async () =>
  ((await (await fetch(`${system.baseUrl}/ready`)).json()) as { error?: { message: string } }).error?.message;
const serves = () => expect.poll(async () => (await fetch(`${system.baseUrl}/ready`)).status, { timeout: 20_000 }).toBe(200);

test("a full disk is a 503 that clients retry, /ready tells it, and the system serves again with space", async () => {
  const { register, createKey, createConversation } = await requests();
  const db = openTestPool(system.databaseUrl, 1);
  const tables = (
    await db.query<{ name: string }>(
      "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname in ('auth', 'conversation', 'tool')",
    )
  ).rows;
  await db.query(`create function public.full_disk() returns trigger language plpgsql as $$
    begin raise exception using errcode = '53100', message = 'could not extend file: No space left on device'; end $$`);
  for (const { name } of tables) {
    await db.query(`create trigger full_disk before insert or update on ${name} execute function public.full_disk()`);
  }
  await expectUnavailable([register, createKey]);
  await expect.poll(lackOf).toMatch(/^database is not ready: the database's disk is full; it refuses .*auth/);
  await db.query("drop function public.full_disk cascade");
  await db.end();
  await serves();
  expect((await createConversation()).status).toBe(201);
}, 40_000);

test("exhausted connections are a 503 that clients retry on every surface, and /ready tells them", async () => {
  const asked = await requests();
  const db = openTestPool(system.databaseUrl, 1);
  const name = new URL(system.databaseUrl).pathname.slice(1);
  await db.query(`alter database ${name} connection limit 0`);
  const end =
    "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
  await db.query(end);
  await expectUnavailable(Object.values(asked));
  await expect.poll(lackOf).toContain("the database has no connection left");
  await db.query(`alter database ${name} connection limit -1`);
  await db.end();
  await serves();
  expect((await asked.createConversation()).status).toBe(201);
}, 40_000);

test("the failures were met, and none was left to the last resort of the process", () => {
  expect(system.log()).toContain("the store is broken");
  expect(system.log()).not.toContain("unhandled promise rejection");
});
