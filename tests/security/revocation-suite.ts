import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { StarterStage } from "./starter-stage.ts";

const never = new Promise<never>(() => {});

/** The tests of one shape: a revoked key is refused within a second, and what it started ends. */
export function testRevocation(shape: "all-in-one" | "mesh", stage: () => StarterStage): void {
  const baseUrl = () => stage().gateways[0] as string;

  describe(`a key that is revoked, ${shape}`, () => {
    let hanging: Server;
    let toolCalls = 0;
    let toolEnded = Promise.withResolvers<number>();

    beforeAll(async () => {
      hanging = createServer((request) => {
        toolCalls += 1;
        request.socket.once("close", () => toolEnded.resolve(performance.now()));
      }).listen(0, "127.0.0.1");
      await once(hanging, "listening");
    });
    afterAll(() => {
      hanging.closeAllConnections();
      hanging.close();
    });

    const send = (verb: string, path: string, bearer: string | undefined, body?: object) =>
      fetch(baseUrl() + path, {
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
      const asked = stage().model.requests.length;
      const reply = { text: "one two three", pauseAfter: { pieces: 2, gate: never } };
      const url = `http://127.0.0.1:${(hanging.address() as AddressInfo).port}/`;
      stage().model.reply(reply);
      const completion = stream("/v1/chat/completions", holder.key, { messages: [{ role: "user", content: "hi" }] });
      await stage().model.request(asked);
      stage().model.reply(reply);
      const turn = stream("/v1/conversations", holder.key, { message: "hi" });
      await stage().model.request(asked + 1);
      const tool = send("POST", "/v1/tools/execute", holder.key, {
        id: "c",
        type: "function",
        function: { name: "fetch_url", arguments: JSON.stringify({ url }) },
      });
      await expect.poll(() => toolCalls, { timeout: 10_000 }).toBe(before + 1);

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
      for (const index of [asked, asked + 1]) expect(await stage().model.requests[index]?.aborted).toBe(true);
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
      const db = new pg.Client({ connectionString: stage().databaseUrl });
      await db.connect();
      try {
        await run("by SQL", ({ keyId }) => db.query("update auth.user_tokens set is_revoked = true where id = $1", [keyId]));
      } finally {
        await db.end();
      }
    });

    const withoutRedis = async () => {
      await stage().redis?.refuse();
      try {
        const statuses = new Set<number>();
        const { token } = await keyHolder();
        for (let i = 0; i < 50; i++) statuses.add((await send("GET", "/v1/auth/me", token)).status);
        expect([...statuses]).toEqual([200]);
        await run("without Redis", ({ token: owner, keyId }) => send("DELETE", `/v1/api-keys/${keyId}`, owner));
      } finally {
        await stage().redis?.accept();
      }
      await expect.poll(async () => (await fetch(`${baseUrl()}/ready`)).status, { timeout: 10_000 }).toBe(200);
    };
    if (shape === "mesh") test("is refused likewise without Redis, with no 5xx response", withoutRedis);
  });
}
