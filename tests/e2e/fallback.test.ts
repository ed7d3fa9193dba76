import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { migratedServices } from "@turnwright/platform/postgres/migrations";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import { type FaultProxy, faultProxy } from "@turnwright/testing/fault-proxy";
import { testRedis } from "@turnwright/testing/redis";
import { type ScriptedModel, startScriptedModel } from "@turnwright/testing/scripted-model";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Json } from "../json-call.ts";
import { eventData } from "./api.ts";
import { type StreamedEvent, streamedEvents } from "./event-stream.ts";
import { type System, startSystem } from "./system.ts";

const redis = await testRedis("two providers in a mesh of processes");
const shapes = redis === undefined ? (["all-in-one"] as const) : (["all-in-one", "mesh"] as const);

/** Between two requests of a client. */
const clientPauseMs = 40;

let folder: string;
let database: TestDatabase;
let first: ScriptedModel;
let second: ScriptedModel;
/** Stands before the first model, so that it can be killed and come back at its address. */
let proxy: FaultProxy;
let system: System;
let token: string;

async function start(shape: (typeof shapes)[number]): Promise<void> {
  folder = mkdtempSync(join(tmpdir(), "turnwright-fallback-e2e-"));
  first = await startScriptedModel({ answer: () => ({ text: "From the first one." }) });
  second = await startScriptedModel({ answer: () => ({ text: "From the second one." }) });
  proxy = await faultProxy(new URL(first.url));
  const path = join(folder, "models.yaml");
  writeFileSync(
    path,
    `providers:
  one: { base_url: "${proxy.url}" }
  two: { base_url: "${second.url}" }
models:
  main: { provider: one, price: { input: 1, output: 1 }, fallbacks: [spare] }
  spare: { provider: two, price: { input: 10, output: 10 } }
`,
  );
  database = await createTestDatabase({ services: migratedServices });
  system = await startSystem({
    shape,
    env: {
      TURNWRIGHT_DATA_DIR: folder,
      DATABASE_URL: database.url,
      DB_ROLE_PREFIX: "turnwright",
      REDIS_URL: shape === "mesh" ? (redis ?? "") : "",
      MODELS_FILE: path,
      RATE_LIMIT_ENABLED: "false",
    },
  });
  const account = { email: "fallback@example.com", password: "SecurePass123" };
  await call("POST", "/v1/auth/register", { ...account, name: "F" });
  token = (await call("POST", "/v1/auth/login", account)).access_token;
}
async function stop(): Promise<void> {
  await system?.stop();
  proxy?.close();
  await Promise.all([first?.close(), second?.close(), database?.drop()]);
  rmSync(folder, { recursive: true, force: true });
}

async function send(verb: string, path: string, body?: object, headers: Record<string, string> = {}): Promise<Response> {
  return await fetch(system.baseUrl + path, {
    method: verb,
    headers: { ...headers, authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
}

async function call(verb: string, path: string, body?: object): Promise<Json> {
  return ((await (await send(verb, path, body)).json()) as { data: unknown }).data;
}

const messages = [{ role: "user", content: "hi" }];

/** A completion: its text, and whether it ended as it should. */
async function complete(streamed: boolean): Promise<{ text: string; isWhole: boolean }> {
  const response = await send("POST", "/v1/chat/completions", { model: "main", messages, tool_choice: "none", stream: streamed });
  const body = await response.text();
  if (!streamed) return { text: response.ok ? JSON.parse(body).choices[0].message.content : "", isWhole: response.ok };
  const data = eventData(body);
  const chunks = data.filter((one) => one !== "[DONE]").map((one) => JSON.parse(one));
  const text = chunks.map(({ choices }) => choices?.[0]?.delta?.content ?? "").join("");
  return { text, isWhole: data.at(-1) === "[DONE]" && chunks.every(({ error }) => error === undefined) };
}

/** The text that a client shows after the events: a reset drops those behind its position. */
function shownText(events: readonly StreamedEvent[]): string {
  const place = (id: string) => id.split(".").map(Number) as [number, number?];
  let valid: StreamedEvent[] = [];
  for (const event of events) {
    const [since, units = 0] = place(event.data.since ?? "");
    if (event.data.type !== "reset") valid.push(event);
    else {
      valid = valid.filter(({ id }) => {
        const [at, behind = 0] = place(id);
        return at < since || (at === since && behind <= units);
      });
    }
  }
  return valid.map(({ data }) => (data.type === "content" ? data.delta : "")).join("");
}

describe.each(shapes)("two providers, %s", (shape) => {
  beforeAll(() => start(shape), 120_000);
  afterAll(stop);

  test("of which one is killed under load and comes back: no call fails before its first byte", async () => {
    const started = performance.now();
    const seconds = () => ((performance.now() - started) / 1_000).toFixed(1);
    const counts = { first: 0, second: 0, failedBefore: 0, failedAfter: 0 };
    let isOver = false;
    const client = async (streamed: boolean) => {
      while (!isOver) {
        const { text, isWhole } = await complete(streamed);
        if (isWhole) counts[text.includes("second") ? "second" : "first"] += 1;
        else counts[text === "" ? "failedBefore" : "failedAfter"] += 1;
        // The load must meet each state of the breaker, not occupy the processors.
        await delay(clientPauseMs);
      }
    };
    const clients = Array.from({ length: 6 }, (_, index) => client(index % 2 === 0));
    await expect.poll(() => counts.first, { timeout: 20_000 }).toBeGreaterThan(50);
    const curve = [`${seconds()} s: killed`];
    await proxy.refuse();
    let shown = "";
    const breaker = async () => {
      const { details } = await call("GET", "/ready");
      const told = details?.["agent-orchestrator"] ?? {};
      // In a mesh the details of each instance stand below its address.
      const [open] =
        told.breakers ?? Object.values<{ breakers?: { state: string; failures: number }[] }>(told)[0]?.breakers ?? [];
      const state = open === undefined ? "closed" : `${open.state}, ${open.failures} failures`;
      if (state !== shown) curve.push(`${seconds()} s: ${state}`);
      shown = state;
      return open?.failures ?? 0;
    };
    // The fifth failure opens the breaker, and each further one is a failed probe.
    await expect.poll(breaker, { timeout: 30_000, interval: 100 }).toBeGreaterThanOrEqual(6);
    const whileDead = counts.first;
    expect(counts.second).toBeGreaterThan(0);
    await proxy.accept();
    curve.push(`${seconds()} s: back`);
    await expect.poll(breaker, { timeout: 30_000, interval: 100 }).toBe(0);
    await expect.poll(() => counts.first, { timeout: 20_000 }).toBeGreaterThan(whileDead + 20);
    isOver = true;
    await Promise.all(clients);
    process.stdout.write(`${shape}: breaker: ${curve.join("; ")}\nanswers: ${JSON.stringify(counts)}\n`);
    expect(counts.failedBefore).toBe(0);
    // The usage stands under the model that answered, at its price: each answer has 15 tokens.
    const usage = async () => {
      const { usage: all } = await call("GET", "/v1/usage");
      return (all as { model: string; requests: number; cost_usd: number }[]).find(({ model }) => model === "spare");
    };
    await expect.poll(async () => (await usage())?.requests, { timeout: 5_000 }).toBe(counts.second);
    expect((await usage())?.cost_usd).toBeCloseTo((counts.second * 15 * 10) / 1e6, 9);
  }, 120_000);

  test("answer one run with one text, although the first one dies in the middle of it", async () => {
    const gate = Promise.withResolvers<void>();
    const before = first.requests.length;
    first.reply({ text: "These words are void.", pauseAfter: { pieces: 4, gate: gate.promise } });
    const { id } = (await call("POST", "/v1/runs", { message: "Tell me" })).run;
    await first.request(before);
    const read = async (after = "") => {
      const events: StreamedEvent[] = [];
      const response = await send("GET", `/v1/runs/${id}/events`, undefined, after === "" ? {} : { "last-event-id": after });
      for await (const event of streamedEvents(response)) events.push(event);
      return events;
    };
    // Read up to the middle of the void text, and left there.
    const seen: StreamedEvent[] = [];
    for await (const event of streamedEvents(await send("GET", `/v1/runs/${id}/events`))) {
      seen.push(event);
      if (shownText(seen).includes("words")) break;
    }
    const live = read();
    const resumed = read(seen.at(-1)?.id);
    await expect.poll(() => first.requests.length).toBe(before + 1);
    proxy.cut();
    gate.resolve();
    const whole = await live;
    const answer = "From the second one.";
    expect(shownText(whole)).toBe(answer);
    expect(shownText([...seen, ...(await resumed)])).toBe(answer);
    const late = await read();
    expect(shownText(late)).toBe(answer);
    const attempt = late.find(({ data }) => data.type === "model_attempt");
    expect(attempt?.data).toMatchObject({ provider: "one", model: "main", error_reason: "MODEL_FAILED" });
    expect(whole.find(({ data }) => data.type === "model_attempt")).toEqual(attempt);
    // From each position that was sent to anybody, also within the void text.
    for (const [index, { id: at }] of whole.entries()) {
      expect(shownText([...whole.slice(0, index + 1), ...(await read(at))])).toBe(answer);
    }
    const { run } = await call("GET", `/v1/runs/${id}`);
    expect(run).toMatchObject({ status: "completed", response: answer });
    const { messages: stored } = await call("GET", `/v1/conversations/${run.conversation_id}`);
    expect(stored.map(({ content }: { content: string }) => content)).toEqual(["Tell me", answer]);
  }, 60_000);
});
