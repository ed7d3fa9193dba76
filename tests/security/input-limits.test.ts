import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { authorizationValues } from "./authorization-values.ts";
import { fuzzAuthorization, genuineCredentials } from "./fuzz-authorization.ts";
import { send } from "./requests.ts";
import { type Account, type Stage, startStage } from "./stage.ts";

let stage: Stage;
let account: Account;
beforeAll(async () => {
  stage = await startStage();
  account = await stage.account();
}, 120_000);
afterAll(() => stage?.stop());

const nested = (depth: number) => `${"[".repeat(depth)}${"]".repeat(depth)}`;

/** The surfaces that read JSON: a request with `field` added to a valid body. */
const surfaces = {
  REST: {
    path: "/v1/tools/execute",
    body: (field: string) => `{"id":"c","type":"function","function":{"name":"current_time","arguments":"{}"}${field}}`,
  },
  OpenAI: { path: "/v1/chat/completions", body: (field: string) => `{"messages":[{"role":"user","content":"hi"}]${field}}` },
  "OpenAI, streamed": {
    path: "/v1/chat/completions",
    body: (field: string) => `{"stream":true,"messages":[{"role":"user","content":"hi"}]${field}}`,
  },
  Connect: {
    path: "/turnwright.tool.v1.ToolService/ExecuteTool",
    body: (field: string) => `{"call":{"id":"c","type":"function","function":{"name":"current_time","arguments":"{}"}${field}}}`,
  },
} as const;
type Surface = keyof typeof surfaces;

const post = (surface: Surface, field: string, headers: Record<string, string> = {}) =>
  send(stage.baseUrl, {
    method: "POST",
    path: surfaces[surface].path,
    headers: { authorization: `Bearer ${account.accessToken}`, ...headers },
    body: surfaces[surface].body(field),
  });

// All surfaces ignore unknown members of OpenAI's objects.
describe("a body", () => {
  test.each(Object.keys(surfaces) as Surface[])(
    "of ordinary size and depth is accepted by %s, so that refusals are due to the limits",
    async (surface) => {
      // Over Connect, OpenAI's object is one level below the body.
      const { status, body } = await post(surface, `,"unknown":${nested(surface === "Connect" ? 30 : 31)}`);
      expect(status, body).toBe(200);
    },
  );

  test.each(Object.keys(surfaces) as Surface[])("that nests 33 deep is refused by %s, naming the body", async (surface) => {
    const { status, body } = await post(surface, `,"unknown":${nested(32)}`);
    expect(status).toBe(400);
    expect(body).toContain("body: nests deeper than 32 levels");
  });

  test.each(Object.keys(surfaces) as Surface[])("of half a million brackets does no harm to %s", async (surface) => {
    const { status } = await post(surface, `,"unknown":${nested(250_000)}`);
    expect(status).toBe(400);
    expect((await send(stage.baseUrl, { method: "GET", path: "/ready" })).status).toBe(200);
  });

  test("that nests in a known field is refused by Connect", async () => {
    const { status } = await send(stage.baseUrl, {
      method: "POST",
      path: surfaces.Connect.path,
      headers: { authorization: `Bearer ${account.accessToken}` },
      body: `{"call":${'{"function":'.repeat(50_000)}{}${"}".repeat(50_000)}}`,
    });
    expect(status).toBe(400);
  });

  test.each(["REST", "OpenAI", "OpenAI, streamed"] as const)("of more than a mebibyte is refused by %s", async (surface) => {
    const { status, body } = await post(surface, `,"unknown":"${"x".repeat(1_048_576)}"`);
    expect(status).toBe(413);
    expect(JSON.parse(body).error.code).toBe("TOO_LARGE");
  });

  test("of more than two mebibytes, above the size of a mebibyte in base64, is refused by Connect", async () => {
    const { status, body } = await post("Connect", `,"unknown":"${"x".repeat(2_097_152)}"`);
    expect(status).toBe(429);
    expect(JSON.parse(body).code).toBe("resource_exhausted");
  });

  test("that is small but expands when decompressed is refused by Connect", async () => {
    const packed = gzipSync(surfaces.Connect.body(`,"unknown":"${"x".repeat(20_000_000)}"`));
    expect(packed.length).toBeLessThan(100_000);
    const { status } = await send(stage.baseUrl, {
      method: "POST",
      path: surfaces.Connect.path,
      headers: { authorization: `Bearer ${account.accessToken}`, "content-encoding": "gzip" },
      body: packed,
    });
    expect(status).toBe(429);
  });

  test.each(["REST", "OpenAI"] as const)(
    "with a false content-length is refused by %s before any of it is read",
    async (surface) => {
      const { hostname, port } = new URL(stage.baseUrl);
      const status = await new Promise<string>((resolve, reject) => {
        const socket = connect(Number(port), hostname);
        socket.once("data", (chunk) => {
          socket.destroy();
          resolve(chunk.toString("latin1").slice(9, 12));
        });
        socket.once("error", reject);
        socket.write(
          `POST ${surfaces[surface].path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${account.accessToken}\r\n` +
            "content-type: application/json\r\ncontent-length: 99999999999\r\n\r\n{",
        );
      });
      expect(status).toBe("413");
    },
  );
});

describe("a body of too many values", () => {
  const keys = (count: number) => Array.from({ length: count }, (_, index) => `"k${index}":1`).join(",");

  test.each([
    ["REST", 10_100, 400],
    ["Connect", 10_100, 400],
    ["REST", 9_900, 200],
    ["Connect", 9_900, 200],
    ["OpenAI", 50_100, 400],
    ["OpenAI, streamed", 50_100, 400],
    ["OpenAI", 49_900, 200],
  ] as const)("of %s: %i keys that nobody knows are answered with %i", async (surface, count, expected) => {
    const { status, body } = await post(surface, `,"unknown":{${keys(count)}}`);
    expect(status, body.slice(0, 200)).toBe(expected);
    if (expected === 400) expect(body).toMatch(/body: holds more than \d+ values/);
  });
});

describe("headers", () => {
  test.each([
    ["one that is long", { "x-long": "x".repeat(20_000) }],
    ["many", Object.fromEntries(Array.from({ length: 1_500 }, (_, index) => [`x-many-${index}`, "x".repeat(10)]))],
    ["a long cookie", { cookie: "x".repeat(17_000) }],
  ])("that are too large (%s) are refused", async (_what, headers) => {
    const { status, body } = await send(stage.baseUrl, { method: "GET", path: "/v1/auth/me", headers });
    expect(status).toBe(431);
    expect(JSON.parse(body).error.code).toBe("TOO_LARGE");
  });

  test("an address that is too long is refused", async () => {
    const { status } = await send(stage.baseUrl, { method: "GET", path: `/v1/auth/me?${"x".repeat(20_000)}` });
    expect(status).toBe(431);
  });
});

describe("500 made-up values of the Authorization header", () => {
  test("get only 4xx responses", async () => {
    const genuine = await genuineCredentials(stage.baseUrl);
    const { statuses, failures } = await fuzzAuthorization({ baseUrl: stage.baseUrl, genuine, count: 500, seed: 7 });
    console.log(`fuzzed Authorization: ${[...statuses].map(([status, count]) => `${count} × ${status}`).join(", ")}`);
    expect(failures).toEqual([]);
    expect([...statuses.values()].reduce((sum, count) => sum + count, 0)).toBe(500);
    expect(statuses.get(401)).toBeGreaterThan(100);
  }, 60_000);

  test("are equal for equal seeds, all distinct, and never a genuine credential", () => {
    const genuine = { accessToken: "aaaa.bbbb.cccc", apiKey: `sk-${"x".repeat(49)}` };
    const take = (seed: number) => {
      const values = authorizationValues(genuine, seed);
      return Array.from({ length: 2_000 }, () => values.next().value?.toString("latin1") ?? "");
    };
    const first = take(1);
    expect(take(1)).toEqual(first);
    expect(take(2)).not.toEqual(first);
    expect(new Set(first).size).toBeGreaterThan(1_800);
    const tokens = first.map((value) => /^bearer (\S+)$/i.exec(value.trim())?.[1] ?? "");
    expect(tokens.filter((token) => token === genuine.accessToken || token === genuine.apiKey)).toEqual([]);
  });
});
