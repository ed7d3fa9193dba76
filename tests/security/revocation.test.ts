import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { migratedServices } from "@turnwright/platform/postgres/migrations";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import { type FaultProxy, faultProxy } from "@turnwright/testing/fault-proxy";
import { testRedis } from "@turnwright/testing/redis";
import { type ScriptedModel, startScriptedModel } from "@turnwright/testing/scripted-model";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type System, startSystem } from "../e2e/system.ts";

const redisUrl = await testRedis("revocation in the mesh");
const never = new Promise<never>(() => {});

describe.each(redisUrl === undefined ? ["all-in-one" as const] : ["all-in-one" as const, "mesh" as const])(
  "a key that is revoked, %s",
  (shape) => {
    let dataDir: string;
    let database: TestDatabase;
    let model: ScriptedModel;
    let redis: FaultProxy | undefined;
    let system: System;
    let hanging: Server;
    let toolCalls = 0;
    let toolEnded = Promise.withResolvers<number>();

    beforeAll(async () => {
      dataDir = mkdtempSync(join(tmpdir(), "turnwright-revocation-"));
      database = await createTestDatabase({ services: migratedServices });
      model = await startScriptedModel();
      hanging = createServer((request) => {
        toolCalls += 1;
        request.socket.once("close", () => toolEnded.resolve(performance.now()));
      }).listen(0, "127.0.0.1");
      await once(hanging, "listening");
      if (shape === "mesh") redis = await faultProxy(new URL(redisUrl as string));
      system = await startSystem({
        shape,
        env: {
          TURNWRIGHT_DATA_DIR: dataDir,
          DATABASE_URL: database.url,
          DB_ROLE_PREFIX: "turnwright",
          REDIS_URL: redis?.url ?? "",
          LLM_BASE_URL: model.url,
          TOOLS_ALLOWED_HOSTS: `127.0.0.1:${(hanging.address() as AddressInfo).port}`,
        },
      });
    });
    afterAll(async () => {
      await system.stop();
      redis?.close();
      hanging.closeAllConnections();
      hanging.close();
      await model.close();
      await database.drop();
      rmSync(dataDir, { recursive: true, force: true });
    });

    const send = (verb: string, path: string, bearer: string | undefined, body?: object) =>
      fetch(system.baseUrl + path, {
        method: verb,
        headers: { "content-type": "application/json", ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }) },
        body: body === undefined ? undefined : JSON.stringify(body),
      });
    const data = async (answer: Promise<Response>) => ((await (await answer).json()) as { data: Record<string, unknown> }).data;

    let people = 0;
    async function keyHolder() {
      const credentials = { email: `holder-${++people}@example.com`, password: "SecurePass123" };
      await send("POST", "/v1/auth/register", undefined, { ...credentials, name: "H" });
      const { access_token: token } = await data(send("POST", "/v1/auth/login", undefined, credentials));
      const { api_key: apiKey, key } = await data(send("POST", "/v1/api-keys", token as string, { name: "k" }));
      expect((await send("GET", "/v1/auth/me", key as string)).status).toBe(200);
      return { token: token as string, key: key as string, keyId: (apiKey as { id: string }).id };
    }

    /** A stream in progress; resolves with the rest once it ends. */
    async function stream(path: string, key: string, body: object) {
      const response = await send("POST", path, key, { ...body, stream: true });
      const reader = (response.body as ReadableStream<Uint8Array>).pipeThrough(new TextDecoderStream()).getReader();
      let text = (await reader.read()).value ?? "";
      const end = (async () => {
        for (let next = await reader.read(); !next.done; next = await reader.read()) text += next.value;
        return { text, at: performance.now() };
      })();
      return end;
    }

    async function run(name: string, revoke: (holder: Awaited<ReturnType<typeof keyHolder>>) => Promise<unknown>) {
      const holder = await keyHolder();
      toolEnded = Promise.withResolvers();
      const before = toolCalls;
      const asked = model.requests.length;
      const reply = { text: "one two three", pauseAfter: { pieces: 2, gate: never } };
      const url = `http://127.0.0.1:${(hanging.address() as AddressInfo).port}/`;
      model.reply(reply);
      const completion = stream("/v1/chat/completions", holder.key, { messages: [{ role: "user", content: "hi" }] });
      await model.request(asked);
      model.reply(reply);
      const turn = stream("/v1/conversations", holder.key, { message: "hi" });
      await model.request(asked + 1);
      const tool = send("POST", "/v1/tools/execute", holder.key, {
        id: "c",
        type: "function",
        function: { name: "fetch_url", arguments: JSON.stringify({ url }) },
      });
      await expect.poll(() => toolCalls).toBe(before + 1);

      const revokedAt = performance.now();
      await revoke(holder);
      let refusedAt = Number.NaN;
      await expect
        .poll(
          async () => {
            const { status } = await send("GET", "/v1/auth/me", holder.key);
            if (status === 401) refusedAt = performance.now();
            return status;
          },
          { timeout: 5_000, interval: 10 },
        )
        .toBe(401);
      const ends = await Promise.all([completion, turn]);
      for (const { text } of ends) {
        expect(text).toContain('"code":"INVALID_TOKEN"');
        expect(text).not.toContain("[DONE]");
      }
      expect((await tool).status).toBe(401);
      const toolEndedAt = await toolEnded.promise;
      for (const index of [asked, asked + 1]) expect(await model.requests[index]?.aborted).toBe(true);
      const ms = (at: number) => Math.round(at - revokedAt);
      const [first, second] = ends.map(({ at }) => ms(at)) as [number, number];
      process.stdout.write(
        `${shape}, ${name}: refused after ${ms(refusedAt)} ms, streams ended after ${first} and ${second} ms, the tool after ${ms(toolEndedAt)} ms\n`,
      );
      expect(ms(refusedAt)).toBeLessThanOrEqual(1_000);
      expect(Math.max(first, second, ms(toolEndedAt))).toBeLessThanOrEqual(5_000);
    }

    test("is refused within a second, and its streams and tools end", async () => {
      await run("by its owner", ({ token, keyId }) => send("DELETE", `/v1/api-keys/${keyId}`, token));
    });

    test("is refused likewise when revoked by SQL", async () => {
      const db = new pg.Client({ connectionString: database.url });
      await db.connect();
      await run("by SQL", ({ keyId }) => db.query("update auth.user_tokens set is_revoked = true where id = $1", [keyId]));
      await db.end();
    });

    const withoutRedis = async () => {
      await redis?.refuse();
      const statuses = new Set<number>();
      const { token } = await keyHolder();
      for (let i = 0; i < 50; i++) statuses.add((await send("GET", "/v1/auth/me", token)).status);
      expect([...statuses]).toEqual([200]);
      await run("without Redis", ({ token: owner, keyId }) => send("DELETE", `/v1/api-keys/${keyId}`, owner));
      await redis?.accept();
      await expect.poll(async () => (await fetch(`${system.baseUrl}/ready`)).status, { timeout: 10_000 }).toBe(200);
    };
    if (shape === "mesh") test("is refused likewise without Redis, with no 5xx response", withoutRedis);
  },
);
