import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { migratedServices } from "@turnwright/platform/postgres/migrations";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import { testRedis } from "@turnwright/testing/redis";
import { type ScriptedModel, type ScriptedReply, startScriptedModel } from "@turnwright/testing/scripted-model";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Json } from "../json-call.ts";
import { type EffectCounter, startEffectCounter } from "./effect-counter.ts";
import { type StreamedEvent, streamedEvents } from "./event-stream.ts";
import { describeMessageLimits } from "./mesh-message-limits.ts";
import { describeNewMessages } from "./new-messages.ts";
import { type System, startSystem } from "./system.ts";
import { breakingModel, describeTextBeforeError, textAndError } from "./text-before-error.ts";

const redis = await testRedis("runs, text before an error and the largest messages in a mesh of processes");
const shapes = redis === undefined ? (["all-in-one"] as const) : (["all-in-one", "mesh"] as const);
const words = Array.from({ length: 60 }, (_, index) => `word${index}`).join(" ");

describe.each(shapes)("runs, %s", (shape) => {
  let dataDir: string;
  let database: TestDatabase;
  let effects: EffectCounter;
  let model: ScriptedModel;
  let system: System;
  let token: string;

  beforeAll(async () => {
    dataDir = mkdtempSync(join(tmpdir(), "turnwright-runs-"));
    database = await createTestDatabase({ services: migratedServices });
    effects = await startEffectCounter();
    const unscripted: ScriptedReply = { status: 500, error: "the script has no reply for this request" };
    model = await startScriptedModel({ answer: ({ body }) => (body.model === breakingModel ? textAndError : unscripted) });
    system = await startSystem({
      shape,
      env: {
        TURNWRIGHT_DATA_DIR: dataDir,
        DATABASE_URL: database.url,
        DB_ROLE_PREFIX: "turnwright",
        REDIS_URL: shape === "mesh" ? (redis ?? "") : "",
        LLM_BASE_URL: model.url,
        TOOLS_ALLOWED_HOSTS: effects.host,
        TOOLS_DIR: join(import.meta.dirname, "large-tools"),
      },
    });
    const account = { email: `runs-${shape}@example.com`, password: "SecurePass123" };
    await call("POST", "/v1/auth/register", { ...account, name: "R" });
    token = (await call("POST", "/v1/auth/login", account)).data.access_token;
  }, 120_000);
  afterAll(async () => {
    await system?.stop();
    await model?.close();
    await effects?.close();
    await database?.drop();
    rmSync(dataDir, { recursive: true, force: true });
  });

  async function send(verb: string, path: string, body?: object, headers: Record<string, string> = {}): Promise<Response> {
    return await fetch(system.baseUrl + path, {
      method: verb,
      headers: {
        ...headers,
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  }

  async function call(verb: string, path: string, body?: object): Promise<{ status: number; data: Json; error: Json }> {
    const response = await send(verb, path, body);
    const { data, error } = (await response.json()) as { data: unknown; error: unknown };
    return { status: response.status, data, error };
  }

  async function watched(runId: string, after = ""): Promise<StreamedEvent[]> {
    const response = await send("GET", `/v1/runs/${runId}/events`, undefined, { "last-event-id": after });
    const events: StreamedEvent[] = [];
    for await (const event of streamedEvents(response)) events.push(event);
    return events;
  }

  const textOf = (events: readonly StreamedEvent[]) => events.map(({ data }) => data.delta ?? "").join("");

  test("finish in the background, and can be awaited, read and listed", async () => {
    model.reply({ text: "In good time." });
    const accepted = await call("POST", "/v1/runs", { message: "Take your time" });
    expect(accepted.status).toBe(202);
    const { id, conversation_id: conversationId } = accepted.data.run;
    const { run } = (await call("GET", `/v1/runs/${id}/wait`)).data;
    expect(run).toMatchObject({ id, status: "completed", response: "In good time.", error: "" });
    expect((await call("GET", `/v1/runs/${id}`)).data.run).toEqual(run);
    expect((await call("GET", `/v1/conversations/${conversationId}/runs`)).data.runs).toEqual([run]);
    const { messages } = (await call("GET", `/v1/conversations/${conversationId}`)).data;
    expect(messages.map(({ content }: { content: string }) => content)).toEqual(["Take your time", "In good time."]);
    expect((await call("GET", "/v1/runs/0198a000-0000-7000-8000-000000000001")).status).toBe(404);
  });

  test("can be streamed from any position, live and afterwards, without gaps or duplicates", async () => {
    const gate = Promise.withResolvers<void>();
    model.reply({ text: words, pauseAfter: { pieces: 20, gate: gate.promise } });
    const { id } = (await call("POST", "/v1/runs", { message: "Many words" })).data.run;
    const live = streamedEvents(await send("GET", `/v1/runs/${id}/events`));
    const seen: StreamedEvent[] = [];
    for (let event = await live.next(); !event.done; event = await live.next()) {
      seen.push(event.value);
      if (textOf(seen).includes("word15")) break;
    }
    // A second reader continues from the first one's last position while the model is still streaming.
    await live.return(undefined);
    const text = textOf(seen);
    const place = seen.at(-1)?.id ?? "";
    const resumed = watched(id, place);
    const second = watched(id);
    await new Promise((resolve) => setImmediate(resolve));
    gate.resolve();
    expect(text + textOf((await resumed).filter(({ data }) => data.type === "content"))).toBe(words);
    const whole = await second;
    expect(textOf(whole.filter(({ data }) => data.type === "content"))).toBe(words);
    expect(whole[0]?.data).toMatchObject({ type: expect.stringMatching(/queued|started/), run_id: id });
    expect(whole.at(-1)?.data).toMatchObject({ type: "finish", delta: "stop", message: { content: words } });
    // Afterwards, from the journal: from every position that was sent.
    for (const { id: at } of [...seen, ...whole]) {
      const rest = await watched(id, at);
      const before = whole.findIndex((event) => event.id === at);
      if (before >= 0) {
        const told = whole.slice(0, before + 1).filter(({ data }) => data.type === "content");
        expect(textOf(told) + textOf(rest.filter(({ data }) => data.type === "content"))).toBe(words);
      }
    }
    expect((await call("GET", `/v1/runs/${id}/events?after=never`)).status).toBe(400);
  });

  test("of one conversation execute one after another, in the order of acceptance", async () => {
    const gate = Promise.withResolvers<void>();
    model.reply({ text: "first", pauseAfter: { pieces: 1, gate: gate.promise } });
    const first = (await call("POST", "/v1/runs", { message: "m0" })).data.run;
    await model.request(model.requests.length - 1);
    const path = `/v1/conversations/${first.conversation_id}`;
    const accepted: string[] = [];
    for (let n = 1; n <= 3; n++) {
      model.reply({ text: `answer ${n}` });
      const { status, data } = await call("POST", `${path}/runs`, { message: `m${n}` });
      expect(status).toBe(202);
      expect(data.run).toMatchObject({ status: "queued", message: `m${n}` });
      accepted.push(data.run.id);
    }
    expect(await call("POST", `${path}/messages`, { message: "now", concurrency: "reject" })).toMatchObject({
      status: 409,
      error: { code: "CONVERSATION_BUSY" },
    });
    // A client that waits for the answer also waits for the runs before it.
    model.reply({ text: "answer 4" });
    const waiting = call("POST", `${path}/messages`, { message: "m4" });
    await expect.poll(async () => (await call("GET", `${path}/runs?status=queued`)).data.runs.length).toBe(4);
    gate.resolve();
    expect((await waiting).data.response).toBe("answer 4");
    for (const [index, id] of accepted.entries()) {
      expect((await call("GET", `/v1/runs/${id}/wait`)).data.run.response).toBe(`answer ${index + 1}`);
    }
    const { messages } = (await call("GET", path)).data;
    expect(messages.map(({ content }: { content: string }) => content)).toEqual(
      ["first", "answer 1", "answer 2", "answer 3", "answer 4"].flatMap((answer, n) => [`m${n}`, answer]),
    );
  });

  test("can be cancelled during an answer, which closes the model's connection and frees the conversation", async () => {
    model.reply({ text: words, pauseAfter: { pieces: 5, gate: new Promise(() => {}) } });
    const before = model.requests.length;
    const { id, conversation_id: conversationId } = (await call("POST", "/v1/runs", { message: "Never mind" })).data.run;
    const request = await model.request(before);
    const events = watched(id);
    const cancelled = await call("POST", `/v1/runs/${id}/cancel`, {});
    expect(cancelled.data.run).toMatchObject({ id, status: "cancelled", receipts: [] });
    expect(await request.aborted).toBe(true);
    expect((await events).at(-1)?.data.type).toBe("cancelled");
    model.reply({ text: "Gladly." });
    const next = await call("POST", `/v1/conversations/${conversationId}/messages`, { message: "Another one" });
    expect(next.data.response).toBe("Gladly.");
    expect((await call("POST", `/v1/runs/${id}/cancel`)).data.run.status).toBe("cancelled");
  });

  test("that wait for approval return a receipt for each call when cancelled, and can no longer be approved", async () => {
    model.reply({
      calls: [
        { id: "sum", name: "calculator", arguments: '{"expression":"6*7"}' },
        { id: "post", name: "http_request", arguments: JSON.stringify({ url: effects.url, method: "POST", body: "x" }) },
      ],
    });
    const { id, conversation_id: conversationId } = (await call("POST", "/v1/runs", { message: "Post it" })).data.run;
    expect((await call("GET", `/v1/runs/${id}/wait`)).data.run.status).toBe("waiting");
    const { run } = (await call("POST", `/v1/runs/${id}/cancel`)).data;
    expect(run.receipts).toEqual([{ call_id: "post", tool_name: "http_request", outcome: "not_started" }]);
    const late = await call("POST", `/v1/conversations/${conversationId}/approve`, { approved: true });
    expect(late.status).toBe(409);
    expect(effects.bodies).toEqual([]);
  });

  test("are cancelled by a message with concurrency interrupt", async () => {
    const gate = new Promise(() => {});
    model.reply({ text: words, pauseAfter: { pieces: 5, gate } }, { text: "Stopped." });
    const before = model.requests.length;
    const first = (await call("POST", "/v1/runs", { message: "Go on for ever" })).data.run;
    await model.request(before);
    const path = `/v1/conversations/${first.conversation_id}/messages`;
    const answer = await call("POST", path, { message: "Stop", concurrency: "interrupt" });
    expect(answer.data.response).toBe("Stopped.");
    expect((await call("GET", `/v1/runs/${first.id}`)).data.run.status).toBe("cancelled");
  });

  test("that are requested a hundred times under one key are one run, and all responses are byte-identical", async () => {
    for (const path of ["/v1/conversations", "/v1/runs"]) {
      const before = model.requests.length;
      const key = { "idempotency-key": `once${path}` };
      model.reply({ text: "Only once." });
      const body = { message: "Once, please" };
      const answers = await Promise.all(Array.from({ length: 100 }, () => send("POST", path, body, key)));
      const texts = await Promise.all(answers.map((answer) => answer.text()));
      if (path === "/v1/conversations") {
        expect(new Set(texts).size).toBe(1);
        expect(texts[0]).toContain("Only once.");
        const again = await send("POST", path, body, key);
        expect(again.headers.get("idempotent-replayed")).toBe("true");
        expect(await again.text()).toBe(texts[0]);
      } else {
        const ids = new Set(texts.map((text) => JSON.parse(text).data.run.id));
        expect(ids.size).toBe(1);
        expect((await call("GET", `/v1/runs/${[...ids][0]}/wait`)).data.run.response).toBe("Only once.");
      }
      expect(model.requests.length).toBe(before + 1);
      const other = await send("POST", path, { message: "Something else" }, key);
      expect(other.status).toBe(422);
      expect(((await other.json()) as { error: unknown }).error).toMatchObject({
        code: "IDEMPOTENCY_KEY_REUSED",
        param: "Idempotency-Key",
      });
      const streamed = await send(
        "POST",
        "/v1/conversations",
        { ...body, stream: true },
        { "idempotency-key": "once/v1/conversations" },
      );
      expect(streamed.headers.get("idempotent-replayed")).toBe("true");
      const events: StreamedEvent[] = [];
      for await (const event of streamedEvents(streamed)) events.push(event);
      expect(textOf(events.filter(({ data }) => data.type === "content"))).toBe("Only once.");
    }
  }, 60_000);

  test("that were streamed under a key are streamed again with the same bytes, marked as replayed", async () => {
    const calls = [{ id: "call_sum", name: "calculator", arguments: '{"expression":"6*7"}' }];
    for (const [index, reply] of [
      [{ text: "One word after another, and a last one." }],
      [{ calls }, { text: "It is 42." }],
      [{ status: 400, error: "no such thing" }],
    ].entries()) {
      model.reply(...reply);
      const before = model.requests.length;
      const stream = async () => {
        const body = { message: "Stream it, please", stream: true };
        const response = await send("POST", "/v1/conversations", body, { "idempotency-key": `streamed-${index}` });
        const bytes = (await response.text()).replaceAll(": ping\n\n", "");
        return { bytes, replayed: response.headers.get("idempotent-replayed") };
      };
      // The second one comes while the first one is under way, or after it.
      const [first, second] = await Promise.all([stream(), stream()]);
      const marks = [first.replayed, second.replayed];
      expect(marks.toSorted()).toEqual([null, "true"].toSorted());
      expect(second.bytes).toBe(first.bytes);
      expect(await stream()).toEqual({ bytes: first.bytes, replayed: "true" });
      expect(model.requests.length).toBe(before + reply.length);
    }
  });

  test("that failed return the same error under their key, marked as replayed", async () => {
    model.reply({ status: 400, error: "no such thing" });
    const key = { "idempotency-key": "failed-once" };
    const before = model.requests.length;
    const ask = async () => {
      const response = await send("POST", "/v1/conversations", { message: "Fail, please" }, key);
      return { status: response.status, replayed: response.headers.get("idempotent-replayed"), body: await response.json() };
    };
    const first = await ask();
    expect(first).toMatchObject({ replayed: null, body: { success: false } });
    expect(await ask()).toEqual({ ...first, replayed: "true" });
    expect(model.requests.length).toBe(before + 1);
  });

  test.each([
    ["/v1/conversations", "/v1/runs"],
    ["/v1/runs", "/v1/conversations"],
  ])("started at %s refuse the same message under their key at %s, which is a different request", async (first, second) => {
    const key = { "idempotency-key": `one${first}` };
    const body = { message: "In which way?" };
    model.reply({ text: "In this one." });
    const answer = (await (await send("POST", first, body, key)).json()) as { data: { run?: { id: string } } };
    const before = model.requests.length;
    const other = await send("POST", second, body, key);
    expect(other.status).toBe(422);
    expect(await other.json()).toMatchObject({ error: { code: "IDEMPOTENCY_KEY_REUSED" } });
    if (answer.data.run !== undefined) await call("GET", `/v1/runs/${answer.data.run.id}/wait`);
    expect(model.requests.length - before).toBeLessThanOrEqual(first === "/v1/runs" ? 1 : 0);
  });

  test("are tried again after a failure of the model's endpoint, at a time stored in their row", async () => {
    model.reply({ status: 503, error: "overloaded" }, { status: 503, error: "overloaded" }, { status: 503, error: "overloaded" });
    model.reply({ text: "Back again." });
    const { id } = (await call("POST", "/v1/runs", { message: "Are you there?" })).data.run;
    await expect
      .poll(async () => (await call("GET", `/v1/runs/${id}`)).data.run, { timeout: 10_000 })
      .toMatchObject({
        ...{ status: "queued", wake_at: expect.any(String), error: "" },
        ...{ last_error: expect.stringContaining("overloaded"), error_reason: "MODEL_FAILED" },
      });
    const { run } = (await call("GET", `/v1/runs/${id}/wait`)).data;
    expect(run).toMatchObject({ status: "completed", response: "Back again.", last_error: "", error_reason: "" });
    expect((await watched(id)).map(({ data }) => data.type)).toContain("retrying");
  }, 60_000);

  if (shape === "mesh") describeMessageLimits(() => ({ system, model }));
  describeNewMessages(() => ({ call, send, model, effects }));
  describeTextBeforeError(() => system);
});
