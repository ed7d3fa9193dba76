import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import { type ScriptedModel, startScriptedModel } from "@turnwright/testing/scripted-model";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type System, startSystem } from "../e2e/system.ts";

const canary = (name: string) => `canary-${name}-${randomBytes(12).toString("hex")}`;
const canaries: Record<string, string> = Object.fromEntries(
  [
    "mesh secret",
    "accepted mesh secret",
    "JWT secret",
    "accepted JWT secret",
    "model key",
    "search key",
    "admin password",
    "password",
    "wrong password",
    "new password",
    "prompt",
    "system prompt",
    "tool argument",
    "model answer",
    "endpoint words",
    "query of a URL",
    "bearer",
    "cookie",
    "custom header",
    "invalid JSON body",
    "field name",
    "refresh token",
    "approval reason",
  ].map((name) => [name, canary(name.replaceAll(" ", "-"))]),
);
const c = (name: string): string => canaries[name] ?? expect.fail(name);

let dataDir: string;
let database: TestDatabase;
let model: ScriptedModel;
let system: System;
const issued: string[] = [];
const errors: string[] = [];

beforeAll(async () => {
  dataDir = mkdtempSync(join(tmpdir(), "turnwright-secrets-"));
  database = await createTestDatabase({ services: [] });
  model = await startScriptedModel();
  system = await startSystem({
    shape: "all-in-one",
    env: {
      TURNWRIGHT_DATA_DIR: dataDir,
      DATABASE_URL: database.url,
      LLM_BASE_URL: model.url,
      LLM_API_KEY: c("model key"),
      MESH_SECRET: c("mesh secret"),
      MESH_SECRET_ACCEPTED: c("accepted mesh secret"),
      JWT_SECRET: c("JWT secret"),
      JWT_SECRET_ACCEPTED: c("accepted JWT secret"),
      WEB_SEARCH_API_KEY: c("search key"),
      WEB_SEARCH_BASE_URL: "http://127.0.0.1:1",
      ADMIN_EMAIL: "root@example.com",
      ADMIN_PASSWORD: c("admin password"),
      LOG_LEVEL: "debug",
    },
  });
});
afterAll(async () => {
  await system.stop();
  await model.close();
  await database.drop();
  rmSync(dataDir, { recursive: true, force: true });
});

async function send(
  verb: string,
  path: string,
  init: { bearer?: string; body?: unknown; raw?: string; headers?: Record<string, string> } = {},
) {
  const response = await fetch(system.baseUrl + path, {
    method: verb,
    headers: {
      ...(init.bearer === undefined ? {} : { authorization: `Bearer ${init.bearer}` }),
      ...(init.body === undefined && init.raw === undefined ? {} : { "content-type": "application/json" }),
      ...init.headers,
    },
    body: init.raw ?? (init.body === undefined ? undefined : JSON.stringify(init.body)),
  });
  const text = await response.text();
  if (response.status >= 400) errors.push(`${verb} ${path}: ${text}`);
  return { status: response.status, text, data: () => JSON.parse(text).data };
}

describe("secrets", () => {
  test("appear in no log and in no error, whatever the requests and failures", async () => {
    const account = { email: "a@example.com", password: c("password"), name: "A" };
    await send("POST", "/v1/auth/register", { body: account });
    await send("POST", "/v1/auth/register", { body: account });
    await send("POST", "/v1/auth/login", { body: { email: account.email, password: c("wrong password") } });
    const { name: _, ...login } = account;
    const session = (await send("POST", "/v1/auth/login", { body: login })).data();
    const bearer = session.access_token as string;
    const { key } = (await send("POST", "/v1/api-keys", { bearer, body: { name: "k" } })).data();
    issued.push(bearer, session.refresh_token, key);

    const body = {
      messages: [
        { role: "system", content: c("system prompt") },
        { role: "user", content: c("prompt") },
      ],
    };
    model.reply({ text: c("model answer") });
    await send("POST", "/v1/chat/completions", { bearer: key, body });
    // The endpoint's words are told to the client whose request failed and to the log, but not our key in them.
    const failing = { status: 500, error: `${c("endpoint words")}: bad key ${c("model key")}` };
    model.reply(failing, failing, failing);
    await send("POST", "/v1/chat/completions", { bearer: key, body });
    model.reply({ raw: ["data: {not json"], contentType: "text/event-stream" });
    await send("POST", "/v1/conversations", { bearer, body: { message: c("prompt") } });
    const call = (name: string, args: object) => ({
      id: "c",
      type: "function",
      function: { name, arguments: JSON.stringify(args) },
    });
    await send("POST", "/v1/tools/execute", { bearer, body: call("web_search", { query: c("tool argument") }) });
    await send("POST", "/v1/tools/execute", {
      bearer,
      body: call("run_javascript", { code: `console.log("${c("tool argument")}"); throw 1` }),
    });
    await send("POST", "/v1/tools/execute", {
      bearer,
      body: call("fetch_url", { url: `http://127.0.0.1/?q=${c("tool argument")}` }),
    });

    const parked = {
      calls: [
        {
          id: "p",
          name: "http_request",
          arguments: JSON.stringify({ method: "GET", url: "http://127.0.0.1:1/", body: c("tool argument") }),
        },
      ],
    };
    model.reply(parked, { text: "ok" });
    const conversation = (await send("POST", "/v1/conversations", { bearer, body: { message: c("prompt") } })).data();
    await send("POST", `/v1/conversations/${conversation.conversation_id}/approve`, {
      bearer,
      body: { approved: true, reason: c("approval reason") },
    });

    await send("GET", `/v1/conversations?cursor=${c("query of a URL")}`, { bearer });
    await send("GET", `/v1/${c("query of a URL")}?q=${c("query of a URL")}`, { bearer });
    await send("GET", "/v1/auth/me", { bearer: c("bearer") });
    await send("GET", "/v1/auth/me", { bearer, headers: { cookie: `s=${c("cookie")}`, "x-custom": c("custom header") } });
    await send("POST", "/v1/conversations", { bearer, raw: `{"message":"${c("invalid JSON body")}` });
    await send("POST", "/v1/conversations", { bearer, body: { message: 7, other: c("field name") } });
    await send("POST", "/v1/auth/refresh", { body: { refresh_token: c("refresh token") } });
    await send("POST", "/v1/auth/password", {
      bearer,
      body: { current_password: c("wrong password"), new_password: c("new password") },
    });
    await send("POST", "/v1/auth/password", {
      bearer,
      body: { current_password: c("password"), new_password: c("new password") },
    });
    await send("POST", "/v1/auth/login", { body: { email: "root@example.com", password: c("admin password") } });

    const log = system.log();
    expect(log).toContain('"route":"/v1/auth/login"');
    expect(errors.length).toBeGreaterThanOrEqual(10);
    const secrets = { ...canaries, ...Object.fromEntries(issued.map((token, i) => [`issued token ${i}`, token])) };
    // An error may repeat to a client what that same client sent in its URL or body.
    const echoed = new Set(["query of a URL", "invalid JSON body", "field name", "tool argument", "endpoint words"]);
    // An operator reads why an endpoint failed.
    const told = new Set(["endpoint words"]);
    const inLog = Object.entries(secrets).flatMap(([name, secret]) => (log.includes(secret) && !told.has(name) ? [name] : []));
    expect(log).toContain(`${c("endpoint words")}: bad key [hidden]`);
    const inErrors = Object.entries(secrets).flatMap(([name, secret]) =>
      errors.some((text) => text.includes(secret)) && !echoed.has(name) ? [name] : [],
    );
    process.stdout.write(
      `secrets: ${Object.keys(secrets).length} canaries, ${inLog.length} in logs, ${inErrors.length} in errors\n`,
    );
    expect({ inLog, inErrors }).toEqual({ inLog: [], inErrors: [] });
    for (const text of errors) expect(text).not.toMatch(/argon2|\bat .*\.ts:\d+|node_modules/);
  }, 60_000);
});
