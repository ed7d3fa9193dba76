import { once } from "node:events";
import { connect } from "node:net";
import { AuthService } from "@turnwright/contract/auth/v1/auth_service";
import { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { mount } from "@turnwright/platform/rpc/mount";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { alice, aliceKey, type Fixture, fakeTokens, startFixture } from "../testing/gateway.ts";

const accounts = mount(AuthService, {
  register: ({ email, name }) => ({ user: { id: alice.userId, email, name, role: "user" } }),
  login() {
    throw fail(ErrorReason.INVALID_CREDENTIALS, "Email or password is wrong.");
  },
  refresh: () => ({}),
  logout: () => ({}),
  listSessions: () => ({}),
  revokeSession: () => ({}),
  changePassword: () => ({}),
  getCurrentUser: () => ({ user: { id: alice.userId } }),
});

let gateway: Fixture;
beforeAll(async () => {
  gateway = await startFixture({ mounts: [accounts] });
});
afterAll(() => gateway.close());

const register = (headers: Record<string, string> = {}) =>
  fetch(`${gateway.url}/v1/auth/register`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: '{"email":"you@example.com","password":"SecurePass123","name":"You"}',
  });

describe("the public server", () => {
  test("answers as the seed did: status, envelope, error code", async () => {
    const registered = await register();
    expect(registered.status).toBe(201);
    expect(await registered.json()).toMatchObject({
      success: true,
      data: { user: { email: "you@example.com", is_active: false } },
    });
    const login = await fetch(`${gateway.url}/v1/auth/login`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: '{"email":"you@example.com","password":"wrong"}',
    });
    expect(login.status).toBe(401);
    expect(await login.json()).toMatchObject({ success: false, error: { code: "LOGIN_ERROR", type: "authentication_error" } });
  });

  test("answers an unknown path with 404 in the envelope", async () => {
    const response = await fetch(`${gateway.url}/v1/nothing?secret=1`);
    expect(response.status).toBe(404);
    const text = await response.text();
    expect(JSON.parse(text)).toMatchObject({ success: false, error: { code: "NOT_FOUND", param: null } });
    expect(text).not.toContain("secret");
  });

  test.each([
    ["/v1/auth/register", "DELETE", "POST"],
    ["/v1/auth/register/", "GET", "POST"],
    ["/v1/auth/me", "POST", "GET, HEAD"],
    ["/v1/chat/completions", "GET", "POST"],
    ["/v1/models/some/model", "DELETE", "GET, HEAD"],
    ["/health", "POST", "GET, HEAD"],
  ])("answers a known path with another verb with 405: %s %s", async (path, method, allow) => {
    const response = await fetch(`${gateway.url}${path}`, { method });
    expect(response.status).toBe(405);
    expect(response.headers.get("allow")).toBe(allow);
    expect(await response.json()).toMatchObject({ success: false, error: { code: "METHOD_NOT_ALLOWED" } });
  });

  test("serves paths with a slash at the end", async () => {
    expect((await fetch(`${gateway.url}/health/`)).status).toBe(200);
  });

  test("returns the given request id, creates one when absent, and ignores a malformed one", async () => {
    const idOf = async (id?: string) =>
      (await fetch(`${gateway.url}/health`, { headers: id === undefined ? {} : { "x-request-id": id } })).headers.get(
        "x-request-id",
      );
    expect(await idOf("trace:1.2-3_4")).toBe("trace:1.2-3_4");
    expect(await idOf()).toMatch(/^[0-9a-f-]{36}$/);
    expect(await idOf('"><script>')).toMatch(/^[0-9a-f-]{36}$/);
    expect(await idOf("x".repeat(129))).toMatch(/^[0-9a-f-]{36}$/);
  });

  test("lets browsers of any origin call and read its headers", async () => {
    const preflight = await fetch(`${gateway.url}/v1/chat/completions`, {
      method: "OPTIONS",
      headers: {
        origin: "https://app.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-stream-format,x-server-tools,idempotency-key",
      },
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get("access-control-allow-origin")).toBe("*");
    expect(preflight.headers.get("access-control-allow-methods")).toContain("DELETE");
    expect(preflight.headers.get("access-control-allow-headers")).toContain("x-stream-format,x-server-tools,idempotency-key");
    const refused = await fetch(`${gateway.url}/v1/auth/me`, { headers: { origin: "https://app.example" } });
    expect(refused.status).toBe(401);
    expect(refused.headers.get("access-control-allow-origin")).toBe("*");
    expect(refused.headers.get("access-control-expose-headers")).toContain("x-ratelimit-remaining");
    expect(refused.headers.get("access-control-expose-headers")).toContain("idempotent-replayed");
  });

  test("lets only the configured origins read", async () => {
    const strict = await startFixture({ env: { CORS_ORIGINS: "https://a.example,https://b.example" } });
    try {
      const originOf = async (origin: string) =>
        (await fetch(`${strict.url}/health`, { headers: { origin } })).headers.get("access-control-allow-origin");
      expect(await originOf("https://b.example")).toBe("https://b.example");
      expect(await originOf("https://c.example")).toBe(null);
    } finally {
      await strict.close();
    }
  });

  test("logs each request once, with caller, route and duration, without token or body", async () => {
    await gateway.fetch("/v1/auth/me?key=in-the-query", { headers: { "x-request-id": "logged-1" } });
    const line = await gateway.logged((candidate) => candidate.request_id === "logged-1");
    expect(line).toMatchObject({
      msg: "request",
      method: "GET",
      route: "/v1/auth/me",
      status: 400,
      user_id: alice.userId,
      token_id: alice.tokenId,
      ms: expect.any(Number),
    });
    await register({ "x-request-id": "logged-2" });
    await gateway.logged((candidate) => candidate.request_id === "logged-2");
    const log = JSON.stringify(gateway.log);
    for (const secret of [aliceKey, "in-the-query", "SecurePass123", "you@example.com"]) expect(log).not.toContain(secret);
    expect(gateway.log.filter((candidate) => candidate.request_id === "logged-1")).toHaveLength(1);
  });

  test.each([
    ["nonsense", "NONSENSE\r\n\r\n", 400, "INVALID_REQUEST"],
    ["headers over the limit", `GET / HTTP/1.1\r\nhost: a\r\nx: ${"y".repeat(20_000)}\r\n\r\n`, 431, "TOO_LARGE"],
    ["a bad path", "GET /%E0%A4%A HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", 400, "INVALID_REQUEST"],
  ])("answers %s in the common error body", async (_what, bytes, status, code) => {
    const socket = connect(gateway.port, "127.0.0.1").setEncoding("utf8");
    socket.on("error", () => {});
    let answer = "";
    socket.on("data", (chunk) => {
      answer += chunk;
    });
    socket.write(bytes);
    await once(socket, "close");
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(JSON.parse(answer.slice(answer.indexOf("\r\n\r\n")))).toMatchObject({ success: false, error: { code } });
  });
});

describe("closing", () => {
  test("lets a request in flight finish, and then stops", async () => {
    const entered = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    const slow = mount(AuthService, {
      ...accounts.impl,
      async register() {
        entered.resolve();
        await release.promise;
        return {};
      },
    });
    const fixture = await startFixture({ mounts: [slow] });
    const answer = fetch(`${fixture.url}/v1/auth/register`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: '{"email":"you@example.com","password":"SecurePass123","name":"You"}',
    });
    await entered.promise;
    const closed = fixture.close();
    release.resolve();
    expect((await answer).status).toBe(201);
    await closed;
    await expect(fetch(`${fixture.url}/health`)).rejects.toThrow();
  });

  test("waits neither for silent connections nor for idle ones", async () => {
    const fixture = await startFixture({ env: { SERVER_SHUTDOWN_TIMEOUT: "1h" } });
    const silent = connect(fixture.port, "127.0.0.1");
    silent.on("error", () => {});
    await once(silent, "connect");
    await (await fetch(`${fixture.url}/health`)).text();
    const gone = once(silent, "close");
    await fixture.close();
    await gone;
  });

  test("ends requests that exceed the limit with an error", async () => {
    const hanging = mount(TokenService, {
      exchangeToken: () => ({}),
      mintInternalToken: () => ({}),
      listRevocations: () => ({}),
      checkApiKeys: () => ({}),
      nameCredentials: () => ({}),
      rotateSigningKey: () => ({}),
      listSigningKeys: () => ({}),
      getJwks: () => new Promise<never>(() => {}),
    });
    const fixture = await startFixture({ env: { SERVER_SHUTDOWN_TIMEOUT: "50ms" }, tokens: { ...fakeTokens(), mount: hanging } });
    const answer = fetch(`${fixture.url}/.well-known/jwks.json`);
    await fixture.called("GetJwks");
    await fixture.close();
    const { status, headers } = await answer;
    expect([status, headers.get("connection"), headers.get("retry-after")]).toEqual([503, "close", "1"]);
  });
});
