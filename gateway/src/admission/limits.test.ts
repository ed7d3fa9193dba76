import { create } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { AuthService } from "@turnwright/contract/auth/v1/auth_service";
import { IdentitySchema } from "@turnwright/contract/auth/v1/identity";
import { detailOf } from "@turnwright/platform/errors";
import { publishRevocation } from "@turnwright/platform/identity/revocations";
import { createMemoryRateLimiter } from "@turnwright/platform/ports/rate-limiter-memory";
import { mount } from "@turnwright/platform/rpc/mount";
import { afterEach, describe, expect, test } from "vitest";
import { alice, aliceKey, type Fixture, fakeTokens, startFixture } from "../../testing/gateway.ts";

const accounts = mount(AuthService, {
  register: () => ({}),
  login: () => ({}),
  refresh: () => ({}),
  logout: () => ({}),
  listSessions: () => ({}),
  revokeSession: () => ({}),
  changePassword: () => ({}),
  getCurrentUser: () => ({ user: { id: alice.userId } }),
});

let gateway: Fixture;
afterEach(() => gateway.close());

/** A gateway with a stopped clock, in which Alice may make a few requests. */
async function limited(perMinute: number, env: Record<string, string> = {}): Promise<void> {
  const tokens = fakeTokens();
  tokens.known.set(aliceKey, create(IdentitySchema, { ...alice, rateLimitPerMinute: perMinute }));
  gateway = await startFixture({ mounts: [accounts], tokens, env, limiter: createMemoryRateLimiter({ now: () => 1_000_000 }) });
}

const login = () =>
  fetch(`${gateway.url}/v1/auth/login`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: '{"email":"you@example.com","password":"SecurePass123"}',
  });

const limitHeaders = ({ headers }: Response) => ({
  limit: headers.get("x-ratelimit-limit"),
  remaining: headers.get("x-ratelimit-remaining"),
  limitRequests: headers.get("x-ratelimit-limit-requests"),
  remainingRequests: headers.get("x-ratelimit-remaining-requests"),
  reset: headers.get("x-ratelimit-reset-requests"),
});

describe("limits", () => {
  test("counts a token's requests, reports them in headers and answers 429 at the limit", async () => {
    await limited(2);
    const first = await gateway.fetch("/v1/auth/me");
    expect(first.status).toBe(200);
    expect(limitHeaders(first)).toEqual({ limit: "2", remaining: "1", limitRequests: "2", remainingRequests: "1", reset: "60s" });
    await gateway.fetch("/v1/auth/me");
    const third = await gateway.fetch("/v1/auth/me");
    expect(third.status).toBe(429);
    expect(limitHeaders(third)).toMatchObject({ limit: "2", remaining: "0" });
    const seconds = Number(third.headers.get("retry-after"));
    expect(seconds).toBeGreaterThanOrEqual(1);
    expect(await third.json()).toEqual({
      success: false,
      error: {
        message: `Too many requests; try again in ${seconds} s.`,
        type: "rate_limit_error",
        param: null,
        code: "RATE_LIMIT",
      },
    });
    expect(gateway.calls.filter(({ method }) => method === "GetCurrentUser")).toHaveLength(2);
  });

  test("also counts a failing request, with the headers on the error", async () => {
    await limited(5);
    const response = await gateway.fetch("/v1/conversations/none/of/these");
    expect(response.status).toBe(404);
    expect(limitHeaders(response).limit).toBe(null);
    const malformed = await gateway.fetch("/v1/auth/logout", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{",
    });
    expect(malformed.status).toBe(400);
    expect(limitHeaders(malformed)).toMatchObject({ limit: "5", remaining: "4" });
  });

  test("counts public calls that check credentials by address, but not those that read keys", async () => {
    await limited(60, { RATE_LIMIT_AUTH_PER_MINUTE: "3" });
    const statuses = [];
    for (let i = 0; i < 4; i++) statuses.push((await login()).status);
    expect(statuses).toEqual([200, 200, 200, 429]);
    for (let i = 0; i < 4; i++) expect((await fetch(`${gateway.url}/.well-known/jwks.json`)).status).toBe(200);
    expect((await gateway.fetch("/v1/auth/me")).status).toBe(200);
  });

  test("counts nothing when disabled", async () => {
    await limited(1, { RATE_LIMIT_ENABLED: "false", RATE_LIMIT_AUTH_PER_MINUTE: "1" });
    for (let i = 0; i < 3; i++) {
      const response = await gateway.fetch("/v1/auth/me");
      expect(response.status).toBe(200);
      expect(limitHeaders(response).limit).toBe(null);
      expect((await login()).status).toBe(200);
    }
  });

  test("is shared by REST and Connect", async () => {
    await limited(2);
    const transport = createConnectTransport({ baseUrl: gateway.url, httpVersion: "1.1" });
    const headers = { authorization: `Bearer ${aliceKey}` };
    const client = createClient(AuthService, transport);
    await gateway.fetch("/v1/auth/me");
    let remaining: string | null = null;
    await client.getCurrentUser({}, { headers, onHeader: (header) => (remaining = header.get("x-ratelimit-remaining")) });
    expect(remaining).toBe("0");
    const refused = await client.getCurrentUser({}, { headers }).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(detailOf(refused)?.retryAfterSeconds).toBeGreaterThan(0);
    expect((refused as { metadata: Headers }).metadata.get("x-ratelimit-remaining")).toBe("0");
  });

  test("stops a revoked key at the next request", async () => {
    await limited(60);
    expect((await gateway.fetch("/v1/auth/me")).status).toBe(200);
    gateway.tokens.known.delete(aliceKey);
    expect((await gateway.fetch("/v1/auth/me")).status).toBe(200);
    await publishRevocation(gateway.bus, alice.tokenId);
    const response = await gateway.fetch("/v1/auth/me");
    expect(response.status).toBe(401);
    expect(await response.json()).toMatchObject({ error: { code: "INVALID_TOKEN" } });
  });
});

describe("a token with a limit of concurrent requests", () => {
  test("may have that many in flight, and another one when one has ended", async () => {
    const tokens = fakeTokens();
    tokens.known.set(aliceKey, create(IdentitySchema, { ...alice, maxConcurrent: 2 }));
    const gates: PromiseWithResolvers<void>[] = [];
    const slow = mount(AuthService, {
      ...accounts.impl,
      async getCurrentUser() {
        const gate = Promise.withResolvers<void>();
        gates.push(gate);
        await gate.promise;
        return { user: { id: alice.userId } };
      },
    });
    gateway = await startFixture({ mounts: [slow], tokens });
    const me = () => fetch(`${gateway.url}/v1/auth/me`, { headers: { authorization: `Bearer ${aliceKey}` } });
    const running = [me(), me()];
    await expect.poll(() => gates.length).toBe(2);
    const refused = await me();
    expect(refused.status).toBe(429);
    expect(refused.headers.get("retry-after")).toBe("1");
    expect(await refused.json()).toMatchObject({ error: { code: "RATE_LIMIT", message: expect.stringContaining("2 requests") } });
    gates[0]?.resolve();
    expect((await Promise.race(running)).status).toBe(200);
    const third = me();
    await expect.poll(() => gates.length).toBe(3);
    for (const gate of gates) gate.resolve();
    expect((await third).status).toBe(200);
    expect((await running[1])?.status).toBe(200);
  });
});

describe("the address of a client", () => {
  const seen: string[] = [];
  const noting = mount(AuthService, {
    ...accounts.impl,
    login: (_request, ctx) => {
      seen.push(ctx.requestHeader.get("x-turnwright-client-address") ?? "");
      return {};
    },
  });
  const login = (forwarded: string) =>
    fetch(`${gateway.url}/v1/auth/login`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "x-forwarded-for": forwarded,
        "x-turnwright-client-address": "198.51.100.9",
      },
      body: JSON.stringify({ email: "a@example.com", password: "p" }),
    });

  test("is the connection's, whatever a header says", async () => {
    gateway = await startFixture({ mounts: [noting] });
    await login("203.0.113.7");
    expect(seen.at(-1)).toMatch(/127\.0\.0\.1$/);
  });

  test("is taken from a trusted proxy's header, and only from its trusted part", async () => {
    gateway = await startFixture({ mounts: [noting], env: { SERVER_TRUST_PROXY: "127.0.0.0/8, ::ffff:127.0.0.0/104" } });
    await login("198.51.100.1, 203.0.113.7");
    expect(seen.at(-1)).toBe("203.0.113.7");
  });
});
