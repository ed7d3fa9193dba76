import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { afterEach, expect, test } from "vitest";
import { livingSandboxes } from "../../testing/living-sandboxes.ts";
import { closeNetworkedTools, openTool, serve } from "../../testing/networked-tool.ts";
import { isHost } from "../tool-definition/tool-hosts.ts";

afterEach(closeNetworkedTools);

const getText =
  "const r = await fetch(args.url, { signal, ...args.init }); return { status: r.status, text: await r.text(), url: r.url };";

test("a request reaches a declared host with its method, headers and body, and the whole response comes back", async () => {
  const { host, seen } = await serve(async (request, response) => {
    const body = await buffer(request);
    response.writeHead(201, { "x-answer": "yes", "content-type": "application/octet-stream" }).end(body);
  });
  const { run } = await openTool({
    hosts: [host],
    body: `const bytes = Buffer.from(args.bytes, "base64");
      const r = await fetch(args.url, { method: "POST", headers: { "x-own": "ü", authorization: "Bearer t" }, body: bytes });
      const back = Buffer.from(await r.arrayBuffer());
      return [r.status, r.headers.get("x-answer"), back.equals(bytes), r.redirected, r.url];`,
  });
  const url = `http://${host}/path?q=1`;
  const outcome = await run({ url, bytes: randomBytes(300_000).toString("base64") });
  expect(outcome).toMatchObject({ status: "success", output: JSON.stringify([201, "yes", true, false, url]) });
  expect(seen[0]).toMatchObject({ method: "POST", url: "/path?q=1", headers: { "x-own": "ü", authorization: "Bearer t" } });
});

test("an encoded response is decoded, and a response without a body has none", async () => {
  const { host } = await serve((request, response) => {
    if (request.url === "/none") return response.writeHead(204).end();
    response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync("plain"));
  });
  const { run } = await openTool({ hosts: [host], body: getText });
  expect(await run({ url: `http://${host}/` })).toMatchObject({ output: expect.stringContaining('"text":"plain"') });
  expect(await run({ url: `http://${host}/none` })).toMatchObject({ output: expect.stringContaining('"status":204,"text":""') });
});

test("a host that the tool does not declare is never reached, in any notation", async () => {
  const { host, seen } = await serve((_request, response) => response.end("secret"));
  const body = `const failures = [];
    for (const url of args.urls) failures.push(await fetch(url).then((r) => r.text(), (error) => error.message));
    return failures;`;
  const { run } = await openTool({ hosts: ["example.com", "127.0.0.1:1"], allowed: [host, "localhost"], body });
  const port = host.split(":")[1];
  const urls = [
    `http://${host}/`,
    `http://localhost:${port}/`,
    `http://2130706433:${port}/`,
    `http://0x7f.1:${port}/`,
    `http://[::ffff:127.0.0.1]:${port}/`,
    `http://${host}#example.com`,
    `http://example.com.:${port}/`,
    "file:///etc/passwd",
    "data:text/plain,hello",
    "blob:nodedata:1",
  ];
  const outcome = await run({ urls });
  const failures = JSON.parse((outcome as { output: string }).output) as string[];
  expect(failures).toHaveLength(urls.length);
  for (const [i, failure] of failures.entries())
    expect(failure, urls[i]).toMatch(/^fetch failed: the tool does not declare the host/);
  expect(seen).toEqual([]);
});

test("only the operator can allow a private host", async () => {
  const { host, seen } = await serve((_request, response) => response.end("secret"));
  const { run } = await openTool({ hosts: [host], allowed: [], body: getText });
  expect(await run({ url: `http://${host}/` })).toMatchObject({
    status: "failed",
    error: expect.stringContaining("private networks"),
  });
  expect(seen).toEqual([]);
});

test("each hop of a redirect is checked like the first, and carries no credential to another origin", async () => {
  const other = await serve((request, response) =>
    response.end(JSON.stringify([request.method, request.headers.authorization ?? null])),
  );
  const hidden = await serve((_request, response) => response.end("secret"));
  const first = await serve((request, response) => {
    const to = request.url === "/hidden" ? hidden.host : other.host;
    if (request.url === "/loop") return response.writeHead(302, { location: "/loop" }).end();
    response.writeHead(request.url === "/kept" ? 307 : 303, { location: `http://${to}/` }).end();
  });
  const { run } = await openTool({ hosts: [first.host, other.host], allowed: ["127.0.0.1"], body: getText });
  const init = { method: "POST", body: "x", headers: { authorization: "Bearer t" } };
  const answer = async (path: string, more = {}) => {
    const outcome = await run({ url: `http://${first.host}${path}`, init: { ...init, ...more } });
    return outcome.output === null ? outcome : JSON.parse(outcome.output);
  };
  expect(await answer("/")).toEqual({ status: 200, text: '["GET",null]', url: `http://${other.host}/` });
  expect(await answer("/kept")).toMatchObject({ text: '["POST",null]' });
  expect(await answer("/", { redirect: "manual" })).toMatchObject({ status: 303 });
  expect(await answer("/", { redirect: "error" })).toMatchObject({
    status: "failed",
    error: expect.stringContaining("redirect"),
  });
  expect(await answer("/hidden")).toMatchObject({ status: "failed", error: expect.stringContaining(hidden.host) });
  expect(await answer("/loop", { method: "GET", body: undefined })).toMatchObject({
    error: expect.stringContaining("redirects"),
  });
  expect(hidden.seen).toEqual([]);
});

test("the bodies of requests and responses are limited", async () => {
  const { host, seen } = await serve((_request, response) => response.end(Buffer.alloc(1_048_577)));
  const { run } = await openTool({
    hosts: [host],
    body: "const r = await fetch(args.url, args.long ? { method: 'POST', body: 'x'.repeat(args.long) } : {}); return r.status;",
  });
  const url = `http://${host}/`;
  expect(await run({ url })).toMatchObject({
    status: "failed",
    error: expect.stringContaining("the response is longer than 1048576"),
  });
  expect(await run({ url, long: 1_048_577 })).toMatchObject({
    status: "failed",
    error: expect.stringContaining("the body is longer"),
  });
  expect(seen).toHaveLength(1);
});

test("a call sends four requests at once while others wait, and its hundred and first request fails", async () => {
  const waiting: (() => void)[] = [];
  let most = 0;
  const { host, seen } = await serve((_request, response) => {
    waiting.push(() => response.end("x".repeat(1_000)));
    most = Math.max(most, waiting.length);
    // Answered a little later, so that parallel requests are counted together.
    setTimeout(() => waiting.shift()?.(), 5);
  });
  const { run } = await openTool({
    hosts: [host],
    body: `const all = await Promise.allSettled(Array.from({ length: args.count }, () => fetch(args.url).then((r) => r.text())));
      return all.map(({ value, reason }) => value?.length ?? reason.message);`,
  });
  const many = await run({ url: `http://${host}/`, count: 40 });
  expect(many).toMatchObject({ status: "success", output: JSON.stringify(Array(40).fill(1_000)) });
  expect(most).toBeLessThanOrEqual(4);
  expect(most).toBeGreaterThan(1);
  const before = seen.length;
  const tooMany = await run({ url: `http://${host}/`, count: 103 });
  expect(tooMany).toMatchObject({ status: "success", output: expect.stringContaining("a call may send 100 requests") });
  expect(seen.length - before).toBe(100);
});

test("requests end when the call is cancelled, when the tool aborts them, and when the tool returns", async () => {
  const closed: string[] = [];
  const came = new Map<string, PromiseWithResolvers<void>>();
  const arrival = (path: string) => {
    if (!came.has(path)) came.set(path, Promise.withResolvers());
    return came.get(path) as PromiseWithResolvers<void>;
  };
  const { host } = await serve((request, response) => {
    const path = request.url ?? "";
    // Answers once the other request has arrived.
    if (path.startsWith("/after")) return void arrival(path.slice("/after".length)).promise.then(() => response.end());
    response.on("close", () => closed.push(path));
    arrival(path).resolve();
  });
  const { run } = await openTool({
    hosts: [host],
    body: `const own = new AbortController();
      const pending = fetch(args.base + args.path, { signal: args.own ? own.signal : signal }).catch((error) => {
        if (signal.aborted) throw error;
        return error.name;
      });
      if (args.own || args.leaves) await fetch(args.base + "/after" + args.path);
      own.abort();
      return args.leaves ? "left" : await pending;`,
  });
  const base = `http://${host}`;
  const controller = new AbortController();
  const cancelled = run({ base, path: "/cancelled" }, controller.signal);
  await arrival("/cancelled").promise;
  controller.abort();
  expect(await cancelled).toMatchObject({ status: "cancelled" });
  expect(await run({ base, path: "/aborted", own: true })).toMatchObject({ output: '"AbortError"' });
  expect(await run({ base, path: "/left", leaves: true })).toMatchObject({ output: '"left"' });
  await expect.poll(() => closed.sort(), { timeout: 10_000 }).toEqual(["/aborted", "/cancelled", "/left"]);
});

test("a tool sends no request while it loads, nor between its calls", async () => {
  const { host, seen } = await serve((_request, response) => response.end("x"));
  const early = await openTool({ hosts: [host], before: `await fetch("http://${host}/early");`, body: "return 1;" });
  expect(early.custom.loaded[0]).toMatchObject({ fault: expect.stringContaining("only during a call") });
  // The refused process ends itself: the test must not call it in the meantime.
  const late = await openTool({
    hosts: [host],
    body: `setTimeout(() => fetch(args.url).catch((error) => error.message.includes("only during a call") && process.exit(0)), 20);
      return 1;`,
  });
  const living = () => livingSandboxes().filter((command) => command.includes(late.dir));
  expect(await late.run({ url: `http://${host}/late` })).toMatchObject({ status: "success" });
  await expect.poll(living, { timeout: 15_000 }).toEqual([]);
  expect(seen).toEqual([]);
});

const frame = `import { writeSync } from "node:fs";
const send = (message) => { const body = Buffer.from(JSON.stringify(message)); const head = Buffer.alloc(4);
  head.writeUInt32BE(body.length); writeSync(3, Buffer.concat([head, body])); };
const request = (id, url, headers = {}) => ({ type: "fetch", id, url, method: "GET", headers });`;

test("frames that a tool forges get it no further", async () => {
  const { host, seen } = await serve((_request, response) => response.end("secret"));
  const hosts = ["127.0.0.1:1"];
  const { run } = await openTool({
    hosts,
    allowed: [host],
    before: frame,
    body: `send({ ...request(900, args.url), hosts: [args.host] }); await new Promise((resolve) => setTimeout(resolve, 100)); return 1;`,
  });
  expect(await run({ url: `http://${host}/`, host })).toMatchObject({ status: "success" });
  const flood = await openTool({
    hosts,
    before: frame,
    body: "for (let i = 0; i < 1_000; i += 1) send(request(900 + i, args.url)); await new Promise((r) => setTimeout(r, 5_000));",
  });
  expect(await flood.run({ url: `http://${host}/` })).toMatchObject({
    error: expect.stringContaining("more requests than allowed"),
  });
  const split = await openTool({
    hosts: [host],
    before: frame,
    body: `send(request(900, args.url, { "x-a": "b\\r\\nx-c: d" })); await new Promise((r) => setTimeout(r, 5_000));`,
  });
  expect(await split.run({ url: `http://${host}/` })).toMatchObject({
    error: expect.stringContaining("sent an invalid message"),
  });
  expect(seen).toEqual([]);
});

test("a tool cannot set headers of the connection", async () => {
  const first = Promise.withResolvers<void>();
  // The tool's second request is answered once the first one is here.
  const { host, seen } = await serve((request, response) => {
    if (request.url === "/") first.resolve();
    void first.promise.then(() => response.end("x"));
  });
  const { run } = await openTool({
    hosts: [host],
    before: frame,
    body: `send(request(900, args.url, { host: "other", "transfer-encoding": "chunked", "accept-encoding": "gzip", "x-own": "kept" }));
      await fetch(args.url + "second"); return 1;`,
  });
  await run({ url: `http://${host}/` });
  seen.sort((one, other) => String(one.url).length - String(other.url).length);
  expect(seen[0]?.headers).toMatchObject({ host, "accept-encoding": "identity", "x-own": "kept" });
  expect(seen[0]?.headers["transfer-encoding"]).toBeUndefined();
});

test("a later process cannot declare more hosts than the first", async () => {
  const { host, seen } = await serve((_request, response) => response.end("secret"));
  const before = `import { existsSync } from "node:fs"; import { dirname } from "node:path"; import { fileURLToPath } from "node:url";
    const hosts = existsSync(dirname(fileURLToPath(import.meta.url)) + "/more") ? ["${host}"] : [];`;
  const { dir, run } = await openTool({
    hosts: [],
    allowed: [host],
    before,
    body: "if (args.end) process.exit(0); return (await fetch(args.url)).status;",
  });
  writeFileSync(join(dir, "more"), "");
  await run({ end: true });
  expect(await run({ url: `http://${host}/` })).toMatchObject({
    status: "failed",
    error: expect.stringContaining("does not declare"),
  });
  expect(seen).toEqual([]);
});

test.each([
  "http://example.com",
  "example.com/path",
  "EXAMPLE.com",
  "0x7f.1",
  "*.example.com",
  "a b",
  "user@example.com",
  "::1",
  "",
  "x:0x1",
])("hosts: %s is not a host", (entry) => expect(isHost(entry)).toBe(false));

test.each([
  "api.example.com",
  "localhost:8088",
  "10.0.0.7",
  "[::1]:8080",
  "xn--bcher-kva.example",
  "example.com:80",
  "example.com:443",
])("hosts: %s is a host", (entry) => expect(isHost(entry)).toBe(true));

test("a tool with an invalid host is refused, and the error names the entry", async () => {
  const { custom } = await openTool({ hosts: ["example.com", "http://example.com"], allowed: [], body: "return 1;" });
  expect(custom.loaded[0]).toMatchObject({ fault: "hosts.1: must be a host or host:port, in lower case" });
});
