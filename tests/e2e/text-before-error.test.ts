import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { AgentService } from "@turnwright/contract/agent/v1/agent_service";
import { createGrpcTransport as createGrpcJsTransport } from "@turnwright/platform/rpc/grpc-transport";
import { createTestDatabase } from "@turnwright/testing/database";
import { testRedis } from "@turnwright/testing/redis";
import { type ScriptedModel, startScriptedModel, streamedFrames } from "@turnwright/testing/scripted-model";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startAllInOne } from "./all-in-one.ts";
import { streamedEvents } from "./event-stream.ts";
import { type System, startSystem } from "./system.ts";

const redis = await testRedis("text before an error in a mesh");
const text = "Half an answer that breaks off";
const brokenAnswer = [
  ...streamedFrames({ text, finishReason: null, usage: null, withoutDone: true }),
  `data: ${JSON.stringify({ error: { message: "WORDS of the endpoint", code: 503 } })}\n\n`,
].join("");

/** Starts the services of a mesh as processes, with a database of their own. */
async function startMesh(env: Record<string, string>): Promise<System> {
  const database = await createTestDatabase({ services: [] });
  const dataDir = mkdtempSync(join(tmpdir(), "turnwright-e2e-"));
  const stores = { DATABASE_URL: database.url, REDIS_URL: redis ?? "", TURNWRIGHT_DATA_DIR: dataDir };
  const system = await startSystem({ shape: "mesh", env: { ...stores, ...env } });
  return {
    ...system,
    async stop() {
      const exitCode = await system.stop();
      await database.drop();
      rmSync(dataDir, { recursive: true, force: true });
      return exitCode;
    },
  };
}

describe.each<[string, boolean, (env: Record<string, string>) => Promise<System>]>([
  ["one process", true, startAllInOne],
  ["a mesh", redis !== undefined, startMesh],
])("in %s, text and failure that come in one write", (_shape, isPossible, start) => {
  let model: ScriptedModel;
  let system: System;
  let token: string;

  beforeAll(async () => {
    if (!isPossible) return;
    const answer = () => ({ raw: [brokenAnswer], contentType: "text/event-stream" });
    model = await startScriptedModel({ models: ["one"], answer });
    system = await start({ LLM_BASE_URL: model.url, LLM_DEFAULT_MODEL: "one" });
    const account = { email: "reader@example.com", password: "SecurePass123" };
    await post("/v1/auth/register", { ...account, name: "R" });
    const login = (await (await post("/v1/auth/login", account)).json()) as { data: { access_token: string } };
    token = login.data.access_token;
  }, 120_000);

  afterAll(async () => {
    await system?.stop();
    await model?.close();
  });

  const post = (path: string, body: object, headers: Record<string, string> = {}) =>
    fetch(system.baseUrl + path, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...headers,
      },
      body: JSON.stringify(body),
    });

  test.skipIf(!isPossible)("reach clients of the OpenAI surface in this order", async () => {
    const body = { model: "one", messages: [{ role: "user", content: "go" }], stream: true };
    let told = "";
    let error: { message?: string } = {};
    for await (const { data } of streamedEvents(await post("/v1/chat/completions", body, { "x-stream-format": "openai" }))) {
      expect(error).toEqual({});
      told += data.choices?.[0]?.delta?.content ?? "";
      error = data.error ?? {};
    }
    expect({ told, message: error.message }).toEqual({ told: text, message: "WORDS of the endpoint" });
  });

  test.skipIf(!isPossible)("reach clients of a stored run in this order", async () => {
    let told = "";
    let error: { message?: string } = {};
    for await (const { data } of streamedEvents(await post("/v1/conversations", { message: "go", stream: true }))) {
      expect(error).toEqual({});
      if (data.type === "content") told += data.delta;
      error = data.error ?? {};
    }
    expect({ told, message: error.message }).toEqual({ told: text, message: "WORDS of the endpoint" });
  });

  test.skipIf(!isPossible).each<[string, (url: string) => Transport]>([
    ["Connect", (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1" })],
    ["gRPC", (baseUrl) => createGrpcTransport({ baseUrl })],
    ["gRPC with grpc-js", (baseUrl) => createGrpcJsTransport({ addresses: [new URL(baseUrl).host] })],
  ])("reach clients of %s in this order", async (_protocol, open) => {
    const transport = open(system.baseUrl);
    const agent = createClient(AgentService, transport);
    let told = "";
    let error: unknown;
    try {
      for await (const { type, delta } of agent.streamTurn(
        { message: "go" },
        { headers: { authorization: `Bearer ${token}` } },
      )) {
        if (type === "content") told += delta;
        // A reader with work to do is behind the wire.
        await new Promise((resolve) => setImmediate(resolve));
      }
    } catch (thrown) {
      error = thrown;
    }
    if ("close" in transport) (transport.close as () => void)();
    expect({ told, message: error instanceof ConnectError ? error.rawMessage : error }).toEqual({
      told: text,
      message: "WORDS of the endpoint",
    });
  });
});
