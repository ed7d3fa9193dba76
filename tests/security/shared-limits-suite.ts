import { randomUUID } from "node:crypto";
import { createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { AuthService } from "@turnwright/contract/auth/v1/auth_service";
import { ErrorReason, reasonOf } from "@turnwright/platform/errors";
import { describe, expect, test } from "vitest";
import type { StarterStage } from "./starter-stage.ts";

const children = 14;
const served = 3;

/** The tests of one shape: what a key may do does not grow with its children. */
export function testSharedLimits(name: "all-in-one" | "two gateways", stage: () => StarterStage): void {
  describe(`a key with 14 children under its limit, ${name}`, () => {
    const gatewayOf = (i: number) => stage().gateways[i % stage().gateways.length] as string;
    const rest = (i: number, bearer: string, path: string, body?: object) =>
      fetch(gatewayOf(i) + path, {
        method: body === undefined ? "GET" : "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${bearer}` },
        body: body === undefined ? undefined : JSON.stringify(body),
      });

    async function session(): Promise<string> {
      const credentials = { email: `${randomUUID()}@example.com`, password: "correct-horse-battery" };
      await rest(0, "", "/v1/auth/register", { ...credentials, name: "Tenant" });
      const answer = await rest(0, "", "/v1/auth/login", credentials);
      return ((await answer.json()) as { data: { access_token: string } }).data.access_token;
    }

    async function createKey(bearer: string, init: object): Promise<string | undefined> {
      const answer = await rest(0, bearer, "/v1/api-keys", { name: "k", ...init });
      return answer.status === 201 ? ((await answer.json()) as { data: { key: string } }).data.key : undefined;
    }

    /**
     * Creates a key and its children; returns the children's secrets. The key has `served` requests left afterwards;
     * each child's own limit would allow more.
     */
    async function family(): Promise<string[]> {
      const limit = { rate_limit_per_minute: children + served, rate_limit_per_day: children + served };
      const mother = (await createKey(await session(), limit)) as string;
      const made: string[] = [];
      for (let i = 0; i < children; i += 1) made.push((await createKey(mother, limit)) as string);
      return made;
    }

    const connectOver = (transportOf: (baseUrl: string) => Transport) => {
      const clients = new Map<string, ReturnType<typeof createClient<typeof AuthService>>>();
      return async (i: number, key: string): Promise<boolean> => {
        const client = clients.get(gatewayOf(i)) ?? createClient(AuthService, transportOf(gatewayOf(i)));
        clients.set(gatewayOf(i), client);
        try {
          await client.getCurrentUser({}, { headers: { authorization: `Bearer ${key}` } });
          return true;
        } catch (error) {
          expect(reasonOf(error)).toBe(ErrorReason.RATE_LIMITED);
          return false;
        }
      };
    };
    const overHttp = (path: string, body?: object) => async (i: number, key: string) => {
      const answer = await rest(i, key, path, body);
      await answer.text();
      if (answer.status === 429) expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(80_000);
      else expect(answer.status).toBe(200);
      return answer.status === 200;
    };
    const chat = { model: "small", messages: [{ role: "user", content: "Hello" }] };

    const surfaces: Readonly<Record<string, (i: number, key: string) => Promise<boolean>>> = {
      REST: overHttp("/v1/auth/me"),
      "OpenAI's format": overHttp("/v1/chat/completions", chat),
      "OpenAI's streams": overHttp("/v1/chat/completions", { ...chat, stream: true }),
      Connect: connectOver((baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1" })),
      gRPC: connectOver((baseUrl) => createGrpcTransport({ baseUrl })),
      "gRPC-web": connectOver((baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" })),
    };

    test.each(Object.keys(surfaces))("is served 3 requests in all over %s", async (surface) => {
      const keys = await family();
      const call = surfaces[surface] as (typeof surfaces)[string];
      const answers = await Promise.all([...keys, ...keys].map((key, i) => call(i, key)));
      expect(answers.filter(Boolean)).toHaveLength(served);
    });

    test("is served 3 requests in all over all surfaces together, and no more after its children's secrets are rotated", async () => {
      const keys = await family();
      const calls = Object.values(surfaces);
      const answers = await Promise.all([...keys, ...keys].map((key, i) => calls[i % calls.length]?.(i, key)));
      expect(answers.filter(Boolean)).toHaveLength(served);
      const owner = await session();
      const limit = { rate_limit_per_minute: 4, rate_limit_per_day: 4 };
      const answer = await rest(0, owner, "/v1/api-keys", { name: "rotating", ...limit });
      const { api_key: apiKey, key } = ((await answer.json()) as { data: { api_key: { id: string }; key: string } }).data;
      const statuses = [(await rest(0, key, "/v1/auth/me")).status, (await rest(1, key, "/v1/auth/me")).status];
      const rotated = await rest(0, owner, `/v1/api-keys/${apiKey.id}/rotate`, {});
      const next = ((await rotated.json()) as { data: { key: string } }).data.key;
      for (let i = 0; i < 3; i += 1) statuses.push((await rest(i, next, "/v1/auth/me")).status);
      expect(statuses).toEqual([200, 200, 200, 200, 429]);
    });

    test("gains nothing by creating children and using them: 3 requests a day are 3, whatever they are for", async () => {
      const limit = { rate_limit_per_minute: served, rate_limit_per_day: served };
      const keys = [(await createKey(await session(), limit)) as string];
      let count = 0;
      for (let round = 0; round < children; round += 1) {
        for (const key of [...keys]) {
          const child = await createKey(key, limit);
          if (child === undefined) continue;
          keys.push(child);
          count += 1;
        }
        count += (await Promise.all(keys.map((key, i) => rest(i, key, "/v1/auth/me")))).filter(
          ({ status }) => status === 200,
        ).length;
      }
      expect(count).toBe(served);
    });

    test("has 2 concurrent requests in all, which are given back when their clients leave", async () => {
      const mother = (await createKey(await session(), { max_concurrent: 2, rate_limit_per_minute: 10_000 })) as string;
      const made: string[] = [];
      for (let i = 0; i < 5; i += 1) made.push((await createKey(mother, {})) as string);
      /** A begun stream, as a function that disconnects its client; undefined: refused. */
      const open = async (i: number) => {
        const leaving = new AbortController();
        const answer = await fetch(`${gatewayOf(i)}/v1/chat/completions`, {
          method: "POST",
          headers: { "content-type": "application/json", authorization: `Bearer ${made[i % made.length]}` },
          body: JSON.stringify({ model: "small", stream: true, messages: [{ role: "user", content: "Wait" }] }),
          signal: leaving.signal,
        });
        if (answer.status === 429) return void (await answer.text());
        expect(answer.status).toBe(200);
        await answer.body?.getReader().read();
        return () => leaving.abort();
      };
      for (let round = 0; round < 6; round += 1) {
        const streams = [];
        // Slots of the previous round are free once the gateway notices the disconnects.
        for (let i = 0; streams.length < 2; i += 1) streams.push(...[await open(i)].filter((leave) => leave !== undefined));
        const more = await Promise.all(Array.from({ length: 10 }, (_, i) => open(i)));
        expect(more.filter((leave) => leave !== undefined)).toEqual([]);
        for (const leave of streams) leave();
      }
    });

    const whileRedisIsAway = async () => {
      const keys = await family();
      await stage().redis?.refuse();
      const send = async () =>
        (await Promise.all([...keys, ...keys].map((key, i) => rest(i, key, "/v1/auth/me")))).filter(
          ({ status }) => status === 200,
        ).length;
      try {
        expect(await send()).toBe(served);
      } finally {
        await stage().redis?.accept();
      }
      const readiness = async () => (await rest(0, "", "/ready")).status;
      await expect.poll(readiness, { timeout: 20_000 }).toBe(200);
      expect(await send()).toBe(0);
    };
    if (name === "two gateways")
      test("is served 3 requests in all while Redis is away, and none when it is back", whileRedisIsAway);
  });
}
