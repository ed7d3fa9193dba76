import type { LookupAddress, lookup } from "node:dns";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { detailOf, ErrorReason, reasonOf } from "../errors.ts";
import { createOutbound, type Outbound, RefusedAddressError } from "./outbound.ts";

const seen: string[] = [];
/** Decompressed three times, it would be 20 MB. */
const bomb = gzipSync(gzipSync(gzipSync(Buffer.alloc(20_000_000))));
const server = createServer((request: IncomingMessage, response: ServerResponse) => {
  seen.push(request.url ?? "");
  const url = new URL(request.url ?? "/", "http://server");
  if (url.pathname === "/to") return response.writeHead(302, { location: url.searchParams.get("url") ?? "" }).end();
  const hops = Number(url.searchParams.get("hops") ?? 0);
  if (hops > 0) return response.writeHead(307, { location: `/?hops=${hops - 1}` }).end();
  if (url.pathname === "/large") return response.end("x".repeat(5_000));
  if (url.pathname === "/cut") {
    response.writeHead(200, { "content-length": "100" });
    response.write("half", () => response.destroy());
    return;
  }
  if (url.pathname === "/chain") {
    response.writeHead(200, { "content-encoding": Array(5_000).fill("gzip").join(",").slice(0, 14_000) });
    return response.end(bomb);
  }
  if (url.pathname === "/never") return response.flushHeaders();
  response.setHeader("x-many", ["a", "b"]);
  response.end("hello");
});

let port: number;
let open: Outbound;
const closers: Outbound[] = [];

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  port = (server.address() as AddressInfo).port;
  open = outbound({ allowedHosts: [`127.0.0.1:${port}`] });
});
afterAll(async () => {
  await Promise.all(closers.map((one) => one.close()));
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const reasons = { refused: ErrorReason.INVALID_REQUEST, failed: ErrorReason.UNAVAILABLE };

function outbound(options: Omit<Parameters<typeof createOutbound>[0], "reasons">): Outbound {
  const made = createOutbound({ ...options, reasons });
  closers.push(made);
  return made;
}

const signal = new AbortController().signal;
const plain = { signal, maxBytes: 1_000 };

test.each([
  "http://127.0.0.1:PORT/",
  "http://localhost:PORT/",
  "http://2130706433:PORT/",
  "http://0x7f.1:PORT/",
  "http://0177.0.0.1:PORT/",
  "http://127.1:PORT/",
  "http://[::1]:PORT/",
  "http://[::ffff:127.0.0.1]:PORT/",
  "http://[::ffff:7f00:1]:PORT/",
  "http://0.0.0.0:PORT/",
  "http://169.254.169.254/latest/meta-data/",
  "http://user:secret@example.com/",
  "http://user@example.com/",
  "ftp://example.com/",
  "file:///etc/passwd",
  "data:text/plain,hello",
  "not a url",
  "//example.com",
])("%s is refused and never reached", async (url) => {
  const guarded = outbound({ allowedHosts: [] });
  const before = seen.length;
  const error = await guarded.send({ ...plain, url: url.replace("PORT", String(port)) }).catch((thrown: unknown) => thrown);
  expect(reasonOf(error)).toBe(ErrorReason.INVALID_REQUEST);
  expect(detailOf(error)?.param).toBe("url");
  expect(seen).toHaveLength(before);
});

/** A resolver that answers each query with the next of these addresses. */
function resolver(...answers: LookupAddress[][]) {
  const asked: string[] = [];
  const resolve = (host: string, _options: unknown, callback: (error: null, addresses: LookupAddress[]) => void) => {
    asked.push(host);
    callback(null, answers[Math.min(asked.length, answers.length) - 1] ?? []);
  };
  return { asked, lookup: resolve as unknown as typeof lookup };
}

test("a name is refused when any of its addresses is private", async () => {
  for (const address of ["127.0.0.1", "10.0.0.7", "::1", "::ffff:192.168.1.1"]) {
    const mixed = [
      { address: "93.184.215.14", family: 4 },
      { address, family: address.includes(":") ? 6 : 4 },
    ];
    const guarded = outbound({ allowedHosts: [], lookup: resolver(mixed).lookup });
    const error = await guarded.send({ ...plain, url: `http://rebind.example:${port}/` }).catch((thrown: unknown) => thrown);
    expect((error as Error).cause, address).toBeInstanceOf(RefusedAddressError);
  }
});

test("a private name and an unknown one give the same error", async () => {
  const unknown = ((_host: string, _options: unknown, callback: (error: Error, addresses: []) => void) =>
    callback(Object.assign(new Error("getaddrinfo ENOTFOUND"), { code: "ENOTFOUND" }), [])) as unknown as typeof lookup;
  const answers: unknown[] = [];
  for (const one of [resolver([{ address: "127.0.0.1", family: 4 }]).lookup, unknown]) {
    const guarded = outbound({ allowedHosts: [], lookup: one });
    const error = await guarded.send({ ...plain, url: "https://wiki.corp.example/" }).catch((thrown: unknown) => thrown);
    answers.push([reasonOf(error), detailOf(error)?.param, (error as Error).message]);
  }
  expect(answers[0]).toEqual(answers[1]);
  expect(String(answers[0])).toContain("wiki.corp.example cannot be reached");
});

test("a name is resolved once for a connection, so a second answer has no chance", async () => {
  const { asked, lookup } = resolver([{ address: "127.0.0.1", family: 4 }], [{ address: "93.184.215.14", family: 4 }]);
  const guarded = outbound({ allowedHosts: [], lookup });
  const before = seen.length;
  await expect(guarded.send({ ...plain, url: `http://rebind.example:${port}/` })).rejects.toThrow(/not a name of the public/);
  expect(asked).toEqual(["rebind.example"]);
  expect(seen).toHaveLength(before);
});

test("an allowed host is reachable on its port only, or on any", async () => {
  expect(await open.send({ ...plain, url: `http://127.0.0.1:${port}/` })).toMatchObject({
    status: 200,
    headers: { "x-many": "a, b" },
    body: Buffer.from("hello"),
    truncated: false,
  });
  const anyPort = outbound({ allowedHosts: ["LocalHost"] });
  expect((await anyPort.send({ ...plain, url: `http://localhost:${port}/` })).status).toBe(200);
  const otherPort = outbound({ allowedHosts: ["127.0.0.1:1"] });
  await expect(otherPort.send({ ...plain, url: `http://127.0.0.1:${port}/` })).rejects.toThrow(/private networks/);
});

test("three redirects are followed, a fourth is not, and none unless requested", async () => {
  const to = (hops: number) => `http://127.0.0.1:${port}/?hops=${hops}`;
  const followed = await open.send({ ...plain, url: to(3), maxRedirects: 3 });
  expect(followed).toMatchObject({ status: 200, url: to(0) });
  await expect(open.send({ ...plain, url: to(4), maxRedirects: 3 })).rejects.toThrow(/redirects/);
  expect(await open.send({ ...plain, url: to(1) })).toMatchObject({ status: 307, headers: { location: "/?hops=0" } });
});

test.each(["http://127.0.0.1:1/", "http://localhost/", "http://[::1]/", "file:///etc/passwd", "http://a:b@example.com/"])(
  "a redirect to %s is refused",
  async (target) => {
    const url = `http://127.0.0.1:${port}/to?url=${encodeURIComponent(target)}`;
    const error = await open.send({ ...plain, url, maxRedirects: 3 }).catch((thrown: unknown) => thrown);
    expect(reasonOf(error)).toBe(ErrorReason.INVALID_REQUEST);
  },
);

test("a body is read to the limit and no further", async () => {
  const url = `http://127.0.0.1:${port}/large`;
  const cut = await open.send({ ...plain, url });
  expect(cut.body).toHaveLength(1_000);
  expect(cut.truncated).toBe(true);
  expect(await open.send({ ...plain, url, maxBytes: 5_000 })).toMatchObject({ truncated: false });
});

test("an unreachable host gives an error without internal details", async () => {
  const closed = outbound({ allowedHosts: ["127.0.0.1:1"] });
  const error = await closed.send({ ...plain, url: "http://127.0.0.1:1/" }).catch((thrown: unknown) => thrown);
  expect(reasonOf(error)).toBe(ErrorReason.UNAVAILABLE);
  expect(String(error)).toContain("127.0.0.1:1 cannot be reached (ECONNREFUSED)");
  await expect(open.send({ ...plain, url: `http://127.0.0.1:${port}/cut` })).rejects.toThrow(/cannot be reached/);
});

test("the signal ends a request that hangs", async () => {
  const controller = new AbortController();
  const sent = open.send({ ...plain, signal: controller.signal, url: `http://127.0.0.1:${port}/never` });
  await expect.poll(() => seen.includes("/never")).toBe(true);
  controller.abort();
  await expect(sent).rejects.toMatchObject({ name: "AbortError" });
});

test("an address that is refused on its own is refused before anything is sent or resolved", () => {
  const { asked, lookup } = resolver([{ address: "127.0.0.1", family: 4 }]);
  const guarded = outbound({ allowedHosts: ["10.0.0.7:8080"], lookup });
  const refusal = (url: string) => {
    try {
      guarded.check(url);
    } catch (error) {
      return detailOf(error)?.param;
    }
  };
  for (const url of ["https://127.0.0.1/", "https://[::1]/", "https://user@example.com/", "file:///etc/passwd", "hello"]) {
    expect(refusal(url), url).toBe("url");
  }
  for (const url of ["https://rebind.example/", "https://93.184.215.14/", "http://10.0.0.7:8080/hook"]) {
    expect(refusal(url), url).toBeUndefined();
  }
  expect(asked).toEqual([]);
});

test("where https is required, plain http reaches only allowed hosts", async () => {
  const { asked, lookup } = resolver([{ address: "93.184.215.14", family: 4 }]);
  const guarded = outbound({ allowedHosts: [`127.0.0.1:${port}`], httpsOnly: true, lookup });
  expect((await guarded.send({ ...plain, url: `http://127.0.0.1:${port}/` })).status).toBe(200);
  await expect(guarded.send({ ...plain, url: "http://example.com/" })).rejects.toThrow("url: must be an https address");
  expect(() => guarded.check("http://example.com/")).toThrow("must be an https address");
  expect(() => guarded.check("https://example.com/")).not.toThrow();
  expect(asked).toEqual([]);
});

test("a body with chained encodings is returned as received, without decompressing any of them (CVE-2026-22036)", async () => {
  const response = await open.send({ ...plain, maxBytes: 10_000, url: `http://127.0.0.1:${port}/chain` });
  expect(bomb.equals(response.body)).toBe(true);
  expect(response.truncated).toBe(false);
});
