import type { ServiceImpl } from "@connectrpc/connect";
import { AuthService } from "@turnwright/contract/auth/v1/auth_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { mount } from "@turnwright/platform/rpc/mount";
import { request as undiciRequest } from "undici";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Fixture, startFixture } from "../../testing/gateway.ts";

const user = { id: "0190a000-0000-7000-8000-000000000001", email: "anna@shop.test", name: "Anna" };
/** The sessions that auth knows: the refresh token that is valid now. */
let valid: Set<string>;
let isDown = false;
let refreshes = 0;

const auth = mount(AuthService, {
  login({ email, password }: { email: string; password: string }) {
    if (email !== user.email || password !== "correct")
      throw fail(ErrorReason.INVALID_CREDENTIALS, "Email or password is wrong.");
    valid.add("rt-1");
    return { accessToken: "access-1", refreshToken: "rt-1", tokenType: "Bearer", expiresIn: 900, user };
  },
  refresh({ refreshToken }: { refreshToken: string }) {
    refreshes += 1;
    if (isDown) throw fail(ErrorReason.UNAVAILABLE, "auth is down");
    if (!valid.delete(refreshToken)) throw fail(ErrorReason.INVALID_REFRESH_TOKEN, "The refresh token is not valid.");
    const next = `rt-${Number(refreshToken.slice(3)) + 1}`;
    valid.add(next);
    return { accessToken: `access-${next}`, refreshToken: next, tokenType: "Bearer", expiresIn: 900 };
  },
} as unknown as ServiceImpl<typeof AuthService>);

let gateway: Fixture;
beforeAll(async () => {
  const env = { SERVER_TRUST_PROXY: "127.0.0.1", RATE_LIMIT_AUTH_PER_MINUTE: "1000" };
  gateway = await startFixture({ mounts: [auth], env });
});
afterAll(() => gateway.close());
beforeEach(() => {
  valid = new Set();
  isDown = false;
});

type Headers = Readonly<Record<string, string>>;
const own: Headers = { "sec-fetch-site": "same-origin", "content-type": "application/json", "x-turnwright-console": "1" };

/** A request with these headers and no others: `fetch` would refuse some of them. */
async function ask(method: "POST" | "PUT" | "DELETE" | "OPTIONS" | "GET", headers: Headers, body?: string | object) {
  const text = typeof body === "object" ? JSON.stringify(body) : body;
  const answer = await undiciRequest(`${gateway.url}/console/session`, { method, headers, body: text });
  const cookie = answer.headers["set-cookie"];
  return {
    status: answer.statusCode,
    headers: answer.headers,
    cookie: Array.isArray(cookie) ? cookie.join("|") : cookie,
    body: (await answer.body.json().catch(() => undefined)) as { data?: unknown; error?: { code: string; param: string | null } },
  };
}
const logIn = (headers: Headers = own) => ask("POST", headers, { email: user.email, password: "correct" });
const cookieName = () => `tw_${gateway.port}`;

describe("the session of a browser", () => {
  test("begins with the access token in the answer and the refresh token in the cookie alone", async () => {
    const { status, cookie, body, headers } = await logIn();
    expect(status).toBe(200);
    expect(body.data).toMatchObject({ access_token: "access-1", expires_in: 900, user: { id: user.id, email: user.email } });
    expect(JSON.stringify(body)).not.toContain("rt-1");
    expect(cookie).toBe(`${cookieName()}=rt-1; Path=/console/session; HttpOnly; SameSite=Strict; Max-Age=604800`);
    expect(headers["cache-control"]).toBe("no-store");
  });

  test("goes on with the cookie, which each refresh replaces", async () => {
    await logIn();
    const first = await ask("PUT", { ...own, cookie: `other=1; ${cookieName()}=rt-1; tw_1=rt-9` }, "{}");
    expect(first.body.data).toEqual({ access_token: "access-rt-2", expires_in: 900 });
    expect(first.cookie).toContain(`${cookieName()}=rt-2; Path=/console/session; HttpOnly; SameSite=Strict`);
    const again = await ask("PUT", { ...own, cookie: `${cookieName()}=rt-1` }, "{}");
    expect([again.status, again.body.error?.code]).toEqual([401, "REFRESH_ERROR"]);
    expect(again.cookie).toContain(`${cookieName()}=; Path=/console/session; HttpOnly; SameSite=Strict; Max-Age=0`);
  });

  test("is none, and no error, in a browser that has no cookie, has that of another port, or a malformed one", async () => {
    const before = refreshes;
    for (const cookie of ["", `tw_${gateway.port + 1}=rt-1`, `__Secure-${cookieName()}=rt-1`, `${cookieName()}="a b"`]) {
      const answer = await ask("PUT", { ...own, ...(cookie === "" ? {} : { cookie }) }, "{}");
      expect([cookie, answer.status, answer.body.data]).toEqual([cookie, 200, null]);
    }
    expect(refreshes).toBe(before);
  });

  test("survives an outage: only a verdict removes the cookie", async () => {
    await logIn();
    isDown = true;
    const failed = await ask("PUT", { ...own, cookie: `${cookieName()}=rt-1` }, "{}");
    expect([failed.status, failed.cookie]).toEqual([503, undefined]);
    isDown = false;
    expect((await ask("PUT", { ...own, cookie: `${cookieName()}=rt-1` }, "{}")).status).toBe(200);
  });

  test("ends with the cookie removed", async () => {
    const { status, cookie } = await ask("DELETE", own, "{}");
    expect([status, cookie]).toEqual([200, `${cookieName()}=; Path=/console/session; HttpOnly; SameSite=Strict; Max-Age=0`]);
  });

  test("has a cookie for HTTPS alone when the request came by HTTPS", async () => {
    const https = { ...own, "x-forwarded-proto": "https", "x-forwarded-for": "203.0.113.7", host: "agents.test" };
    const { cookie } = await logIn(https);
    expect(cookie).toBe("__Secure-tw_443=rt-1; Path=/console/session; HttpOnly; SameSite=Strict; Secure; Max-Age=604800");
    const refreshed = await ask("PUT", { ...https, cookie: "__Secure-tw_443=rt-1" }, "{}");
    expect(refreshed.cookie).toMatch(/^__Secure-tw_443=rt-2; .*; Secure; /);
  });

  test("refuses a wrong password without a cookie, and a body that is no login", async () => {
    const wrong = await ask("POST", own, { email: user.email, password: "wrong" });
    expect([wrong.status, wrong.body.error?.code, wrong.cookie]).toEqual([401, "LOGIN_ERROR", undefined]);
    for (const [body, param] of [
      ["", "body"],
      ["[]", "body"],
      ["{", "body"],
      ['{"email":"a"}', "password"],
      [JSON.stringify({ email: "a".repeat(300), password: "b" }), "email"],
    ] as const) {
      const answer = await ask("POST", own, body);
      expect([body, answer.status, answer.body.error?.param]).toEqual([body, 400, param]);
    }
    expect((await ask("POST", own, JSON.stringify({ email: "a", password: "b".repeat(5_000) }))).status).toBe(413);
  });
});

describe("another site's page", () => {
  const without = (name: string): Headers => Object.fromEntries(Object.entries(own).filter(([key]) => key !== name));
  const attacks: readonly (readonly [name: string, headers: () => Headers])[] = [
    ["a form of another site", () => ({ "sec-fetch-site": "cross-site", "content-type": "application/x-www-form-urlencoded" })],
    ["a form on another port of this host", () => ({ "sec-fetch-site": "same-site", "content-type": "text/plain" })],
    ["a script on another port of this host", () => ({ ...own, "sec-fetch-site": "same-site" })],
    ["a script of another site", () => ({ ...own, "sec-fetch-site": "cross-site" })],
    ["an address typed by hand", () => ({ ...own, "sec-fetch-site": "none" })],
    ["a form of this site", () => ({ "sec-fetch-site": "same-origin", "content-type": "text/plain" })],
    ["a script without the console's header", () => without("x-turnwright-console")],
    ["a script without the content type", () => without("content-type")],
    ["a plain-text body", () => ({ ...own, "content-type": "text/plain; a=application/json" })],
    [
      "a browser without Sec-Fetch-Site, from another port",
      () => ({ ...without("sec-fetch-site"), origin: "http://127.0.0.1:1" }),
    ],
    [
      "a browser without Sec-Fetch-Site, by the other scheme",
      () => ({ ...without("sec-fetch-site"), origin: gateway.url.replace("http", "https") }),
    ],
    ["a page without an origin", () => ({ ...without("sec-fetch-site"), origin: "null" })],
    ["a client that names no site", () => without("sec-fetch-site")],
    ["an origin that only begins like this one", () => ({ ...without("sec-fetch-site"), origin: `${gateway.url}.evil.test` })],
  ];
  test.each(attacks)("can neither begin, renew nor end a session: %s", async (_name, headers) => {
    valid.add("rt-1");
    for (const method of ["POST", "PUT", "DELETE"] as const) {
      const body = method === "POST" ? { email: user.email, password: "correct" } : "{}";
      const answer = await ask(method, { ...headers(), cookie: `${cookieName()}=rt-1` }, body);
      expect(answer.status === 403 || answer.status === 415).toBe(true);
      expect(answer.cookie).toBe(undefined);
    }
    expect([...valid]).toEqual(["rt-1"]);
  });

  test("gets no answer to its question, and may read none", async () => {
    const asked = {
      origin: "http://evil.test",
      "access-control-request-method": "PUT",
      "access-control-request-headers": "x-turnwright-console",
    };
    for (const method of ["OPTIONS", "GET", "PUT"] as const) {
      const answer = await ask(
        method,
        method === "PUT" ? { ...own, origin: "http://evil.test" } : asked,
        method === "PUT" ? "{}" : undefined,
      );
      const cors = Object.keys(answer.headers).filter((name) => name.startsWith("access-control-"));
      expect([method, cors]).toEqual([method, []]);
      if (method === "OPTIONS") expect(answer.status).toBe(405);
    }
  });

  test("is this one's own page where the browser sends its origin instead", async () => {
    const headers = { ...without("sec-fetch-site"), origin: gateway.url };
    expect((await logIn(headers)).status).toBe(200);
  });
});

describe("the limits of an address", () => {
  test("count logins, and let a person reload", async () => {
    const limited = await startFixture({ mounts: [auth], env: { RATE_LIMIT_AUTH_PER_MINUTE: "3" } });
    try {
      const send = async (method: "POST" | "PUT") => {
        const { statusCode, body } = await undiciRequest(`${limited.url}/console/session`, {
          method,
          headers: own,
          body: JSON.stringify({ email: user.email, password: "correct" }),
        });
        await body.dump();
        return statusCode;
      };
      for (let i = 0; i < 30; i += 1) expect(await send("PUT")).toBe(200);
      const logins = [];
      for (let i = 0; i < 4; i += 1) logins.push(await send("POST"));
      expect(logins).toEqual([200, 200, 200, 429]);
      expect(await send("PUT")).toBe(200);
    } finally {
      await limited.close();
    }
  });
});
