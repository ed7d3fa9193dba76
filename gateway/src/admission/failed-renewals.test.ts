import { AuthService } from "@turnwright/contract/auth/v1/auth_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { createMemoryRateLimiter } from "@turnwright/platform/ports/rate-limiter-memory";
import { mount } from "@turnwright/platform/rpc/mount";
import { afterEach, expect, test } from "vitest";
import { type Fixture, startFixture } from "../../testing/gateway.ts";

let gateway: Fixture;
afterEach(() => gateway.close());

const accounts = mount(AuthService, {
  login: () => ({}),
  refresh({ refreshToken }: { refreshToken: string }) {
    if (refreshToken === "valid") return { accessToken: "a" };
    throw fail(ErrorReason.INVALID_REFRESH_TOKEN, "The refresh token is not valid.");
  },
} as never);

const post = async (path: string, body: object) => {
  const headers = { "content-type": "application/json" };
  return (await fetch(`${gateway.url}${path}`, { method: "POST", headers, body: JSON.stringify(body) })).status;
};
const refresh = (token: string) => post("/v1/auth/refresh", { refresh_token: token });
const overConnect = (token: string) => post("/turnwright.auth.v1.AuthService/Refresh", { refreshToken: token });
const login = () => post("/v1/auth/login", { email: "you@example.com", password: "SecurePass123" });

test("valid refreshes take nothing of an address's logins; invalid ones do, by every protocol", async () => {
  const env = { RATE_LIMIT_AUTH_PER_MINUTE: "4" };
  gateway = await startFixture({ mounts: [accounts], env, limiter: createMemoryRateLimiter({ now: () => 1_000_000 }) });
  for (let count = 0; count < 10; count += 1) expect(await refresh("valid")).toBe(200);
  expect([await refresh("stolen"), await overConnect("stolen"), await refresh("stolen"), await login()]).toEqual([
    401, 401, 401, 200,
  ]);
  expect([await refresh("stolen"), await overConnect("stolen"), await login()]).toEqual([429, 429, 429]);
  expect([await refresh("valid"), await overConnect("valid")]).toEqual([200, 200]);
});

test("all refreshes of an address have a limit, however valid", async () => {
  gateway = await startFixture({ mounts: [accounts], limiter: createMemoryRateLimiter({ now: () => 1_000_000 }) });
  const statuses = new Map<number, number>();
  for (let round = 0; round < 61; round += 1) {
    for (const status of await Promise.all(Array.from({ length: 10 }, () => refresh("valid"))))
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
  }
  expect(Object.fromEntries(statuses)).toEqual({ 200: 600, 429: 10 });
});

test("a service learns how a client without a credential names itself, bounded and printable", async () => {
  gateway = await startFixture({ mounts: [accounts] });
  const agent = `Browser\t${"é".repeat(400)}`;
  await fetch(`${gateway.url}/v1/auth/refresh`, {
    method: "POST",
    headers: { "content-type": "application/json", "user-agent": agent },
    body: '{"refresh_token":"valid"}',
  });
  const told = (await gateway.called("Refresh")).header.get("x-turnwright-client-agent") ?? "";
  expect(told).toMatch(/^Browser\?[?]+$/);
  expect(told).toHaveLength(300);
});
