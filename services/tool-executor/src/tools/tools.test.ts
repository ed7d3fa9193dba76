import { hash } from "node:crypto";
import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { createLogger } from "@turnwright/platform/logger";
import type { Outbound } from "@turnwright/platform/outbound/outbound";
import { afterEach, expect, test } from "vitest";
import type { Tool, ToolParameters } from "../tool-definition/define-tool.ts";
import { registerTool } from "../tool-definition/registered-tool.ts";
import { calculator } from "./calculator.ts";
import { currentTime, isoIn } from "./current-time.ts";
import { createFetchUrl } from "./fetch-url.ts";
import { createHttpRequest } from "./http-request.ts";
import { createToolOutbound } from "./tool-outbound.ts";
import { createWebSearch } from "./web-search.ts";

const servers: Server[] = [];
const outbounds: Outbound[] = [];
afterEach(async () => {
  for (const outbound of outbounds.splice(0)) await outbound.close();
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

async function serve(listener: RequestListener): Promise<{ url: string; outbound: Outbound }> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const outbound = createToolOutbound({ allowedHosts: [host] });
  outbounds.push(outbound);
  return { url: `http://${host}`, outbound };
}

const context = {
  signal: new AbortController().signal,
  logger: createLogger({ service: "test", level: "silent" }),
  callKey: "key",
};

/** Runs a tool as the executor does: with JSON text as arguments, checked by its schema. */
async function call<P extends ToolParameters>(tool: Tool<P>, args: unknown): Promise<unknown> {
  const registered = registerTool(tool as unknown as Tool);
  return registered.tool.execute(registered.parse(JSON.stringify(args)), context);
}

test("the calculator returns the same as the seed's, errors included", async () => {
  expect(await call(calculator, { expression: "1337 * 42" })).toEqual({ expression: "1337 * 42", result: 56154 });
  expect(await call(calculator, { expression: "1/0" })).toEqual({ expression: "1/0", error: "division by zero" });
});

test("the current time is the clock's, in the requested zone", async () => {
  const before = Math.floor(Date.now() / 1000);
  const utc = (await call(currentTime, {})) as { iso: string; unix: number; timezone: string };
  expect(utc.unix).toBeGreaterThanOrEqual(before);
  expect(utc.iso).toMatch(/Z$/);
  expect(utc.timezone).toBe("UTC");
  const there = (await call(currentTime, { timezone: "Asia/Kolkata" })) as { iso: string; unix: number };
  expect(there.iso).toMatch(/\+05:30$/);
  expect(Math.floor(Date.parse(there.iso) / 1000)).toBe(there.unix);
  await expect(call(currentTime, { timezone: "Mars/Base" })).rejects.toThrow(/timezone: is not an IANA time zone/);
});

test("offsets follow the date, west, east and by half hours", () => {
  const winter = new Date("2026-01-15T12:00:00.000Z");
  const summer = new Date("2026-07-15T12:00:00.000Z");
  expect(isoIn(winter, "Europe/Berlin")).toBe("2026-01-15T13:00:00.000+01:00");
  expect(isoIn(summer, "Europe/Berlin")).toBe("2026-07-15T14:00:00.000+02:00");
  expect(isoIn(winter, "America/New_York")).toBe("2026-01-15T07:00:00.000-05:00");
  expect(isoIn(winter, "America/St_Johns")).toBe("2026-01-15T08:30:00.000-03:30");
  expect(isoIn(winter, "UTC")).toBe("2026-01-15T12:00:00.000Z");
});

test("web_search asks Brave and returns titles, URLs and descriptions", async () => {
  let asked: IncomingMessage | undefined;
  const { url } = await serve((request, response) => {
    asked = request;
    const result = (n: number) => ({ title: `T${n}`, url: `https://example.com/${n}`, description: "D", more: true });
    response.end(JSON.stringify({ web: { results: [1, 2, 3].map(result) }, query: {} }));
  });
  const search = createWebSearch({ apiKey: "the-key", baseUrl: url });
  expect(await call(search, { query: "a & b", num_results: 2 })).toEqual({
    results: [
      { title: "T1", url: "https://example.com/1", description: "D" },
      { title: "T2", url: "https://example.com/2", description: "D" },
    ],
    count: 2,
  });
  expect(asked?.url).toBe("/res/v1/web/search?q=a+%26+b&count=2");
  expect(asked?.headers["x-subscription-token"]).toBe("the-key");
  await call(search, { query: "a" });
  expect(asked?.url).toContain("count=5");
});

test("web_search returns an empty list without results, and says why it fails without a key or with a broken API", async () => {
  let status = 200;
  let body = "{}";
  const { url } = await serve((_request, response) => response.writeHead(status).end(body));
  const search = createWebSearch({ apiKey: "the-key", baseUrl: url });
  expect(await call(search, { query: "a" })).toEqual({ results: [], count: 0 });
  body = "<html>";
  await expect(call(search, { query: "a" })).rejects.toThrow(/did not return search results/);
  status = 429;
  await expect(call(search, { query: "a" })).rejects.toThrow(/status 429/);
  await expect(call(createWebSearch({ apiKey: undefined, baseUrl: url }), { query: "a" })).rejects.toThrow(/WEB_SEARCH_API_KEY/);
  for (const args of [{}, { query: "" }, { query: "a", num_results: 0 }, { query: "a", num_results: 11 }]) {
    await expect(call(search, args)).rejects.toThrow(/query: |num_results: /);
  }
});

test("fetch_url reads text in its charset, follows redirects and returns the final URL", async () => {
  const { url, outbound } = await serve((request, response) => {
    if (request.url === "/old") return response.writeHead(301, { location: "/new" }).end();
    response.setHeader("content-type", "text/plain; charset=iso-8859-1");
    response.end(Buffer.from("Grüße", "latin1"));
  });
  expect(await call(createFetchUrl(outbound), { url: `${url}/old` })).toEqual({
    url: `${url}/new`,
    status: 200,
    content_type: "text/plain; charset=iso-8859-1",
    content: "Grüße",
    truncated: false,
  });
});

test("fetch_url stops at 1 MiB, at a whole character", async () => {
  const { url, outbound } = await serve((_request, response) => {
    response.setHeader("content-type", "text/html");
    response.end(`x${"é".repeat(1_048_576)}`);
  });
  const page = (await call(createFetchUrl(outbound), { url })) as { content: string; truncated: boolean };
  expect(page.truncated).toBe(true);
  expect(page.content).toBe(`x${"é".repeat(524_287)}`);
});

test("fetch_url refuses content other than text", async () => {
  const headers = [
    { "content-type": "image/png" },
    { "content-type": "application/octet-stream" },
    { "content-encoding": "gzip" },
  ];
  const { url, outbound } = await serve((request, response) =>
    response.writeHead(200, headers[Number(request.url?.slice(1))]).end("x"),
  );
  for (const n of headers.keys())
    await expect(call(createFetchUrl(outbound), { url: `${url}/${n}` })).rejects.toThrow(/not text/);
});

test("http_request sends its arguments and returns the status, some headers and the body", async () => {
  const received: { method?: string; headers: Record<string, unknown>; body: string }[] = [];
  const { url, outbound } = await serve(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    received.push({ method: request.method, headers: request.headers, body });
    const headers = { location: "/next", "content-type": "application/json", "set-cookie": "a=b" };
    response.writeHead(303, headers).end(`{"n":"${"x".repeat(70_000)}"}`);
  });
  const result = await call(createHttpRequest(outbound), {
    method: "POST",
    url: `${url}/hook`,
    headers: { "content-type": "text/plain", "X-Custom": "yes" },
    body: "hello",
  });
  expect(received).toMatchObject([
    { method: "POST", headers: { "content-type": "text/plain", "x-custom": "yes" }, body: "hello" },
  ]);
  expect(result).toMatchObject({
    status: 303,
    headers: { location: "/next", "content-type": "application/json" },
    truncated: true,
  });
  expect(result).not.toHaveProperty("headers.set-cookie");
  expect((result as { body: string }).body).toHaveLength(65_536);
});

test("http_request sends one idempotency key per call that may change something, unless its arguments have one", async () => {
  const keys: unknown[] = [];
  const { url, outbound } = await serve((request, response) => {
    keys.push(request.headers["idempotency-key"]);
    response.end();
  });
  const tool = createHttpRequest(outbound);
  const send = (method: string, callKey: string, headers?: Record<string, string>) =>
    tool.execute(
      { method: method as "GET", url, headers },
      { signal: new AbortController().signal, logger: undefined as never, callKey },
    );
  for (const method of ["POST", "PUT", "PATCH", "DELETE"]) await send(method, "run:call \n\u{1f600}");
  await send("POST", "run:other");
  expect(new Set(keys.splice(0))).toEqual(
    new Set([hash("sha256", "run:call \n\u{1f600}", "hex"), hash("sha256", "run:other", "hex")]),
  );
  await send("POST", "run:call", { "IDEMPOTENCY-Key": "mine" });
  for (const method of ["GET", "HEAD", "OPTIONS"]) await send(method, "run:call");
  expect(keys).toEqual(["mine", undefined, undefined, undefined]);
});

test.each([
  [{ method: "TRACE", url: "http://example.com" }, "method"],
  [{ method: "GET" }, "url"],
  [{ method: "GET", url: "http://example.com", headers: { Host: "other" } }, "headers"],
  [{ method: "GET", url: "http://example.com", headers: { "transfer-encoding": "chunked" } }, "headers"],
  [{ method: "GET", url: "http://example.com", headers: { "bad name": "x" } }, "headers"],
  [{ method: "GET", url: "http://example.com", headers: { good: "a\r\nhost: b" } }, "headers"],
  [{ method: "POST", url: "http://example.com", body: { a: 1 } }, "body"],
  [{ method: "GET", url: "http://127.0.0.1/" }, "url"],
])("http_request refuses, case %#: %o", async (args, param) => {
  const outbound = createToolOutbound({ allowedHosts: [] });
  outbounds.push(outbound);
  await expect(call(createHttpRequest(outbound), args)).rejects.toThrow(new RegExp(`${param}`));
});

test("http_request must be approved and never runs twice", () => {
  const { spec } = registerTool(createHttpRequest(createToolOutbound({ allowedHosts: [] })) as unknown as Tool);
  expect(spec).toMatchObject({ requiresApproval: true, effect: 3 });
});
