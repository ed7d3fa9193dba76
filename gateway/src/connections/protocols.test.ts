import { execFile } from "node:child_process";
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import type { Socket } from "node:net";
import { promisify } from "node:util";
import { Pool } from "undici";
import { describe, expect, test } from "vitest";
import { useDualProtocolServer } from "../../testing/dual-protocol-server.ts";

const run = promisify(execFile);
const requestMs = 400;

const tested = useDualProtocolServer(
  (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => response.end(`${request.httpVersion} ${request.url} ${Buffer.concat(chunks).length}`));
  },
  { requestMs, idleMs: 5_000 },
);
const { dial } = tested;

/** Reads until the text has appeared or the connection ends. */
async function received(socket: Socket, text: string): Promise<string> {
  let all = "";
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    all += String(chunk);
    if (all.includes(text)) break;
  }
  return all;
}

async function http2Request(path: string, body: Buffer): Promise<string> {
  const session = connectHttp2(`http://127.0.0.1:${tested.port}`);
  try {
    const stream = session.request({ ":method": "POST", ":path": path });
    stream.end(body);
    stream.setEncoding("utf8");
    let answer = "";
    for await (const chunk of stream) answer += chunk;
    return answer;
  } finally {
    session.close();
  }
}

describe("one port for HTTP/1.1 and HTTP/2", () => {
  test("serves HTTP/1.1 with large bodies over kept connections", async () => {
    const pool = new Pool(`http://127.0.0.1:${tested.port}`, { connections: 1 });
    for (const size of [0, 5, 700_000, 7]) {
      const { body } = await pool.request({ path: "/one", method: "POST", body: Buffer.alloc(size) });
      expect(await body.text()).toBe(`1.1 /one ${size}`);
    }
    await pool.close();
  });

  test("serves pipelined HTTP/1.1 requests in order", async () => {
    const socket = await dial();
    socket.write("GET /a HTTP/1.1\r\nhost: a\r\n\r\nGET /b HTTP/1.1\r\nhost: a\r\n\r\n");
    const text = await received(socket, "/b 0");
    expect(text.indexOf("1.1 /a 0")).toBeLessThan(text.indexOf("1.1 /b 0"));
  });

  test("serves HTTP/2 with prior knowledge, several streams and large bodies", async () => {
    expect(await Promise.all([0, 5, 700_000].map((size) => http2Request("/two", Buffer.alloc(size))))).toEqual([
      "2.0 /two 0",
      "2.0 /two 5",
      "2.0 /two 700000",
    ]);
  });

  test("serves curl in both protocols", async () => {
    const url = `http://127.0.0.1:${tested.port}/curl`;
    expect((await run("curl", ["-sS", url])).stdout).toBe("1.1 /curl 0");
    expect((await run("curl", ["-sS", "--http2-prior-knowledge", "-d", "abc", url])).stdout).toBe("2.0 /curl 3");
    expect((await run("curl", ["-sS", "--http2", url])).stdout).toBe("1.1 /curl 0");
  });

  test("decides byte by byte", async () => {
    const socket = await dial();
    // POST and PRI begin with the same letter.
    for (const byte of "POST /slow HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nok") {
      socket.write(byte);
      await new Promise(setImmediate);
    }
    expect(await received(socket, "/slow")).toContain("1.1 /slow 2");
  });

  test("survives a client that disconnects before it sends a byte", async () => {
    for (const bytes of ["", "PRI * HT", "GET"]) {
      const socket = await dial();
      if (bytes !== "") socket.write(bytes);
      socket.resetAndDestroy();
    }
    expect(await http2Request("/after", Buffer.alloc(1))).toBe("2.0 /after 1");
  });
});

describe("slow clients", () => {
  test.each([
    ["says nothing", ""],
    ["stops in the middle of HTTP/2's preface", "PRI * HT"],
    ["stops in the middle of its headers", "GET / HTTP/1.1\r\nhost: a\r\nx-slow:"],
    ["stops in the middle of its body", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc"],
    ["speaks HTTP/2 without settings", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
  ])("cuts one that %s", async (_what, bytes) => {
    const begun = performance.now();
    const socket = await dial();
    if (bytes !== "") socket.write(bytes);
    socket.resume();
    await once(socket, "close");
    expect(performance.now() - begun).toBeLessThan(requestMs * 4);
  });

  test("cuts one that drips its first bytes", async () => {
    const socket = await dial();
    const drip = [..."PRI * HTTP/2."];
    const timer = setInterval(() => socket.write(drip.shift() ?? ""), requestMs / 4);
    socket.resume();
    // A client cut while it writes may see a reset before the end.
    await new Promise((resolve) => socket.on("error", resolve).once("close", resolve));
    clearInterval(timer);
    expect(drip.length).toBeGreaterThan(0);
  });

  test("cuts an HTTP/2 stream whose body does not arrive, but not its neighbours", async () => {
    const session = connectHttp2(`http://127.0.0.1:${tested.port}`);
    const slow = session.request({ ":method": "POST", ":path": "/slow" });
    slow.on("error", () => {});
    slow.write("a");
    await once(slow, "close");
    expect(slow.rstCode).not.toBe(0);
    const next = session.request({ ":path": "/next" });
    next.setEncoding("utf8");
    expect((await next.toArray()).join("")).toBe("2.0 /next 0");
    session.close();
  });
});
