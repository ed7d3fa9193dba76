import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { createLoggedLines } from "@turnwright/testing/logged-lines";
import { type ScriptedReply, startScriptedModel } from "@turnwright/testing/scripted-model";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { asUser, type OrchestratorFixture, startOrchestrator } from "../../testing/orchestrator.ts";
import { callsFor } from "../../testing/runs.ts";

const key = "sk-the-key-of-the-endpoint";
const prompt = "a prompt that nobody but its model may read";
let folder: string;
let log: ReturnType<typeof createLoggedLines>;
let mesh: OrchestratorFixture;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "turnwright-failure-lines-"));
  log = createLoggedLines();
});
afterEach(async () => {
  await mesh.close();
  rmSync(folder, { recursive: true, force: true });
});

async function start(baseUrl?: string) {
  mesh = await startOrchestrator({ LLM_API_KEY: key, ...(baseUrl === undefined ? {} : { LLM_BASE_URL: baseUrl }) }, log);
}
const body = Buffer.from(JSON.stringify({ messages: [{ role: "user", content: prompt }] }));
const complete = () => mesh.completions.complete({ body }, asUser).catch(() => {});
const run = () => mesh.agent.createConversation({ message: prompt }, asUser).catch(() => {});
/** A port of loopback where nothing listens: discard, which needs root. */
const dead = "http://127.0.0.1:9";

describe("a failed model call", () => {
  test("is logged with the code of its cause, once for each attempt", async () => {
    await start(dead);
    await complete();
    expect(log.warnings().map(({ msg, cause }) => [msg, cause])).toEqual([
      ["a model call is repeated", "ECONNREFUSED"],
      ["a model call is repeated", "ECONNREFUSED"],
      ["a model call failed", "ECONNREFUSED"],
    ]);
    expect(log.warnings()[2]).toMatchObject({
      level: "warn",
      model: "gpt-test",
      provider: expect.any(String),
      token_id: expect.stringMatching(/^0198a000/),
      reason: "ERROR_REASON_MODEL_FAILED",
      error: "The model's endpoint does not answer.",
    });
  });

  const answers: [string, ScriptedReply, object][] = [
    ["a key that is refused", { status: 401, error: `bad key ${key}` }, { status: 401, reason: "ERROR_REASON_MODEL_FAILED" }],
    ["no such model", { status: 404, error: "no such model" }, { status: 404, reason: "ERROR_REASON_MODEL_NOT_FOUND" }],
    [
      "a limit",
      { status: 429, error: "slow down, org-abcdefgh12", headers: { "retry-after": "60" } },
      { status: 429, error: "slow down, [hidden]" },
    ],
    ["a fault of the endpoint", { status: 418, error: `no tea with ${key}` }, { status: 418 }],
    ["words about the request", { status: 400, error: `cannot read ${prompt}` }, { status: 400 }],
    ["garbage", { raw: ["<html>"] }, { reason: "ERROR_REASON_MODEL_FAILED" }],
  ];
  test.each(answers)("is logged with the endpoint's status and words, without secrets: %s", async (_what, reply, facts) => {
    await start();
    mesh.model.reply(reply);
    await complete();
    expect(log.warnings()).toHaveLength(1);
    expect(log.warnings()[0]).toMatchObject({ level: "warn", msg: "a model call failed", model: "gpt-test", ...facts });
    expect(JSON.stringify(log.lines)).not.toContain(key);
    expect(JSON.stringify(log.lines)).not.toContain(prompt);
  });

  test("is logged without the endpoint's words when they quote the request, whatever the status", async () => {
    await start();
    const failing = { status: 503, error: `worker died on: ${prompt}` };
    mesh.model.reply(failing, failing, failing);
    await complete();
    expect(log.warnings().map(({ msg, status }) => [msg, status])).toEqual([
      ["a model call is repeated", 503],
      ["a model call is repeated", 503],
      ["a model call failed", 503],
    ]);
    expect(JSON.stringify(log.lines)).not.toContain(prompt);
  });

  test("names the provider that takes over", async () => {
    const second = await startScriptedModel();
    const path = join(folder, "models.yaml");
    writeFileSync(
      path,
      `providers:
  one: { base_url: "${dead}" }
  two: { base_url: "${second.url}" }
models:
  smart: { provider: one, upstream: one-large, fallbacks: [cheap] }
  cheap: { provider: two, upstream: two-small }
default_model: smart
`,
    );
    mesh = await startOrchestrator({ MODELS_FILE: path, LLM_BASE_URL: "" }, log);
    second.reply({ text: "From two." });
    await complete();
    expect(log.warnings().at(-1)).toMatchObject({
      msg: "a model call falls back",
      provider: "one",
      model: "one-large",
      next: "two",
      next_model: "two-small",
      cause: "ECONNREFUSED",
    });
    expect(log.warnings().filter(({ msg }) => msg === "a model call failed")).toEqual([]);
    await second.close();
  });

  test("of thousands is counted instead of written", async () => {
    await start();
    const refusal = { status: 401, error: "bad key" };
    mesh.model.reply(...Array.from({ length: 60 }, () => refusal));
    await Promise.all(Array.from({ length: 60 }, complete));
    expect(log.warnings().filter(({ status }) => status === 401)).toHaveLength(5);
  });
});

describe("a failed run", () => {
  test("is logged once, beside its model call, with both ids and the cause", async () => {
    await start();
    mesh.model.reply({ status: 401, error: "bad key" });
    await run();
    const ids = { run_id: mesh.journal.run?.id, conversation_id: mesh.journal.conversation.id };
    expect(ids).toEqual({ run_id: expect.stringMatching(/-/), conversation_id: expect.stringMatching(/-/) });
    const facts = { level: "warn", reason: "ERROR_REASON_MODEL_FAILED", status: 401, model: "gpt-test", ...ids };
    expect(log.warnings()).toMatchObject([
      { msg: "a model call failed", ...facts },
      { msg: "run failed", ...facts },
    ]);
    expect(log.warnings()[1]).not.toHaveProperty("err");
  });

  test("by another part is logged with that part's reason", async () => {
    await start();
    mesh.model.reply(callsFor("calculator"));
    mesh.onExecute(() => {
      throw fail(ErrorReason.INTERNAL, "The executor cannot hold this.");
    });
    await run();
    expect(log.warnings().filter(({ msg }) => msg === "run failed")).toMatchObject([
      { reason: "ERROR_REASON_INTERNAL", run_id: mesh.journal.run?.id },
    ]);
  });

  test("is no warning when its user may not do what it needs", async () => {
    await start();
    mesh.identity.allowedModels = ["gpt-other"];
    mesh.identity.spendLimitMicros = 1n;
    await run();
    await complete();
    expect(log.warnings()).toEqual([]);
  });
});
