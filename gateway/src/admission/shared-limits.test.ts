import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { AuthService } from "@turnwright/contract/auth/v1/auth_service";
import { type Identity, IdentitySchema, type SharedLimitsSchema, TokenType } from "@turnwright/contract/auth/v1/identity";
import type { ConcurrencyLimiter } from "@turnwright/platform/ports/concurrency-limiter";
import { createMemoryConcurrencyLimiter } from "@turnwright/platform/ports/concurrency-limiter-memory";
import { createMemoryRateLimiter } from "@turnwright/platform/ports/rate-limiter-memory";
import { mount } from "@turnwright/platform/rpc/mount";
import { afterEach, describe, expect, test } from "vitest";
import { alice, type Fixture, fakeTokens, startFixture } from "../../testing/gateway.ts";

let gateway: Fixture;
afterEach(() => gateway.close());

const refused = () => ({});
/** Services whose answers wait until the test releases them. */
function slowAccounts() {
  const gates: PromiseWithResolvers<void>[] = [];
  const accounts = mount(AuthService, {
    ...{ register: refused, login: refused, refresh: refused, logout: refused },
    ...{ listSessions: refused, revokeSession: refused, changePassword: refused },
    async getCurrentUser() {
      const gate = Promise.withResolvers<void>();
      gates.push(gate);
      await gate.promise;
      return { user: { id: alice.userId } };
    },
  });
  return { accounts, gates };
}

const quickAccounts = mount(AuthService, {
  ...{ register: refused, login: refused, refresh: refused, logout: refused },
  ...{ listSessions: refused, revokeSession: refused, changePassword: refused },
  getCurrentUser: () => ({ user: { id: alice.userId } }),
});

type Shared = MessageInitShape<typeof SharedLimitsSchema>;
const ofKey = (id: string, limits: Shared): Shared => ({ owner: { case: "apiKeyId", value: id }, ...limits });
const ofAccount = (limits: Shared): Shared => ({ owner: { case: "userId", value: alice.userId }, ...limits });

const keyOf = (name: string) => `sk-${name.padEnd(24, "0")}`;

/** Credentials of Alice by name, each with a bearer token. */
function credentials(named: Readonly<Record<string, Omit<Partial<Identity>, "sharedLimits"> & { sharedLimits?: Shared[] }>>) {
  const tokens = fakeTokens();
  for (const [name, init] of Object.entries(named)) {
    tokens.known.set(keyOf(name), create(IdentitySchema, { ...alice, tokenId: name, ...init } as never));
  }
  return tokens;
}

const me = (name: string, init: RequestInit = {}) =>
  fetch(`${gateway.url}/v1/auth/me`, { ...init, headers: { authorization: `Bearer ${keyOf(name)}` } });

const frozen = () => createMemoryRateLimiter({ now: () => 1_000_000 });

describe("limits of a key", () => {
  test("hold for all that descends from it, whose answers say what is left of the tightest", async () => {
    const limits = { rateLimitPerMinute: 3, rateLimitPerDay: 3 };
    const children = Array.from({ length: 14 }, (_, i) => `child${i}`);
    const shared = [ofKey("mother", limits), ofKey("grandmother", { rateLimitPerMinute: 100 })];
    const named = Object.fromEntries(children.map((name) => [name, { ...limits, sharedLimits: shared }]));
    const tokens = credentials({ ...named, mother: { ...limits, sharedLimits: shared.slice(1) } });
    gateway = await startFixture({ mounts: [quickAccounts], tokens, limiter: frozen() });
    const answers = [];
    for (const child of children) answers.push(await me(child));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, ...new Array(11).fill(429)]);
    expect(answers.slice(0, 3).map(({ headers }) => headers.get("x-ratelimit-remaining"))).toEqual(["2", "1", "0"]);
    expect(answers[3]?.headers.get("x-ratelimit-limit")).toBe("3");
    expect(answers[3]?.headers.get("retry-after")).toBe("86400");
    expect((await me("mother")).status).toBe(429);
    expect(gateway.calls.filter(({ method }) => method === "GetCurrentUser")).toHaveLength(3);
  });

  test("count a request of a child in nothing when one of them refuses it", async () => {
    const tokens = credentials({
      poor: {
        rateLimitPerMinute: 50,
        sharedLimits: [ofKey("mother", { rateLimitPerMinute: 10 }), ofAccount({ rateLimitPerMinute: 2 })],
      },
      mother: { rateLimitPerMinute: 10 },
    });
    gateway = await startFixture({ mounts: [quickAccounts], tokens, limiter: frozen() });
    const statuses = [];
    for (let i = 0; i < 8; i++) statuses.push((await me("poor")).status);
    expect(statuses).toEqual([200, 200, ...new Array(6).fill(429)]);
    expect((await me("mother")).headers.get("x-ratelimit-remaining")).toBe("7");
  });
});

describe("limits of an account", () => {
  test("hold for its sessions and keys together, and its sessions share one limit however often somebody logs in", async () => {
    const session = { tokenType: TokenType.ACCESS, rateLimitPerMinute: 3 };
    const account = [ofAccount({ rateLimitPerMinute: 5 })];
    const tokens = credentials({
      ...Object.fromEntries([1, 2, 3, 4].map((i) => [`session${i}`, { ...session, sharedLimits: account }])),
      key: { rateLimitPerMinute: 50, sharedLimits: account },
      stranger: { ...session, userId: "0190a000-0000-7000-8000-00000000000f" },
    });
    gateway = await startFixture({ mounts: [quickAccounts], tokens, limiter: frozen() });
    const statuses = [];
    for (let i = 1; i <= 4; i++) statuses.push((await me(`session${i}`)).status);
    expect(statuses).toEqual([200, 200, 200, 429]);
    const keyed = [];
    for (let i = 0; i < 3; i++) keyed.push(await me("key"));
    expect(keyed.map(({ status }) => status)).toEqual([200, 200, 429]);
    expect(keyed[2]?.headers.get("x-ratelimit-limit")).toBe("5");
    expect((await me("stranger")).status).toBe(200);
  });
});

describe("slots of requests under way", () => {
  const family = (max: number) => ({
    ...Object.fromEntries([0, 1, 2, 3, 4].map((i) => [`child${i}`, { sharedLimits: [ofKey("mother", { maxConcurrent: max })] }])),
    mother: { maxConcurrent: max },
    other: {},
  });

  test("of a key are those of all that descends from it", async () => {
    const { accounts, gates } = slowAccounts();
    gateway = await startFixture({ mounts: [accounts], tokens: credentials(family(2)) });
    const running = [me("child0"), me("child1")];
    await expect.poll(() => gates.length).toBe(2);
    for (const name of ["child2", "child0", "mother"]) {
      const answer = await me(name);
      expect(answer.status).toBe(429);
      const { error } = (await answer.json()) as { error: { message: string } };
      expect(error.message).toBe(
        `${name === "mother" ? "This token" : "A key above this one"} may have 2 requests in flight at once.`,
      );
    }
    running.push(me("other"));
    await expect.poll(() => gates.length).toBe(3);
    for (const gate of gates) gate.resolve();
    for (const answer of await Promise.all(running)) expect(answer.status).toBe(200);
    running.push(me("child3"), me("child4"));
    await expect.poll(() => gates.length).toBe(5);
    for (const gate of gates) gate.resolve();
    await Promise.all(running);
  });

  test("are given back, all of them, by clients that disconnect, even while they wait", async () => {
    const { accounts, gates } = slowAccounts();
    const memory = createMemoryConcurrencyLimiter();
    let held = 0;
    const asked: PromiseWithResolvers<void>[] = [];
    const slow: ConcurrencyLimiter = {
      async acquire(buckets) {
        const gate = Promise.withResolvers<void>();
        asked.push(gate);
        await gate.promise;
        const taken = await memory.acquire(buckets);
        if (typeof taken !== "function") return taken;
        held += 1;
        return () => {
          held -= 1;
          taken();
        };
      },
    };
    gateway = await startFixture({ mounts: [accounts], tokens: credentials(family(4)), concurrency: slow });
    const leaving = new AbortController();
    const sent = ["child0", "child1", "child2", "child3"].map((name) =>
      me(name, { signal: leaving.signal }).catch(() => undefined),
    );
    await expect.poll(() => asked.length).toBe(4);
    for (const gate of asked.slice(0, 2)) gate.resolve();
    await expect.poll(() => gates.length).toBe(2);
    expect(held).toBe(2);
    leaving.abort();
    await Promise.all(sent);
    await expect.poll(() => held).toBe(0);
    // These get their slots after their clients have left.
    for (const gate of asked.slice(2)) gate.resolve();
    await gateway.logged(({ msg, aborted }) => msg === "request" && aborted === true);
    const again = ["child0", "child1", "child2", "child3"].map((name) => me(name));
    await expect.poll(() => asked.length).toBe(8);
    for (const gate of asked) gate.resolve();
    await expect.poll(() => held).toBe(4);
    await expect.poll(() => gates.length).toBeGreaterThanOrEqual(6);
    for (const gate of gates) gate.resolve();
    for (const answer of await Promise.all(again)) expect(answer.status).toBe(200);
    await expect.poll(() => held).toBe(0);
  });
});

describe("addresses", () => {
  const login = (forwarded: string) =>
    fetch(`${gateway.url}/v1/auth/login`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-forwarded-for": forwarded },
      body: '{"email":"a@example.com","password":"p"}',
    });
  const start = async () => {
    const env = { RATE_LIMIT_AUTH_PER_MINUTE: "3", SERVER_TRUST_PROXY: "127.0.0.0/8, ::ffff:127.0.0.0/104" };
    gateway = await startFixture({ mounts: [quickAccounts], env, limiter: frozen() });
  };
  const served = async (addresses: readonly string[]) => {
    const statuses = [];
    for (const address of addresses) statuses.push((await login(address)).status);
    return statuses.filter((status) => status === 200).length;
  };

  test("of IPv6 count by the /64, and by the /56 and /48 with 4 and 16 times the limit", async () => {
    await start();
    const many = (count: number, of: (i: number) => string) => Array.from({ length: count }, (_, i) => of(i));
    expect(await served(many(10, (i) => `2001:db8:1:1:${i}::1`))).toBe(3);
    expect(await served(many(20, (i) => `2001:db8:1:${(i + 2).toString(16)}::1`))).toBe(12 - 3);
    expect(await served(many(60, (i) => `2001:db8:1:${(i + 1).toString(16)}00::1`))).toBe(48 - 12);
    expect(await served(["2001:db8:2::1"])).toBe(1);
  });

  test("of IPv4 are the same in every form", async () => {
    await start();
    expect(await served(["192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201", "64:ff9b::c000:201", "192.0.2.1"])).toBe(3);
    expect(await served(["192.0.2.2"])).toBe(1);
  });
});
