import { EventEmitter, once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { beforeEach, describe, expect, test } from "vitest";
import { useDualProtocolServer } from "../../testing/dual-protocol-server.ts";
import { PipelinedConnection } from "./pipelining.ts";

const atOnce = 2;
/** Handles a request; each test sets its own. */
let serve: (request: IncomingMessage, response: ServerResponse) => void;
let begun: { request: IncomingMessage; response: ServerResponse }[];
let onBegun: () => void;

const { dial } = useDualProtocolServer(
  (request, response) => {
    begun.push({ request, response });
    serve(request, response);
    onBegun();
  },
  { requestMs: 10_000, idleMs: 5_000 },
);
beforeEach(() => {
  begun = [];
  onBegun = () => {};
});

/** A deterministic generator of numbers in [0, 1). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return state / 0x8000_0000;
  };
}

const get = (path: string) => `GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`;
const post = (path: string, body: string) => `POST ${path} HTTP/1.1\r\nhost: a\r\ncontent-length: ${body.length}\r\n\r\n${body}`;

/** Reads until `count` answers have arrived; returns their bodies. */
async function answers(socket: Socket, count: number): Promise<string[]> {
  let text = "";
  const bodies = () => [...text.matchAll(/<([^>]*)>/g)].map((match) => match[1] ?? "");
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    text += String(chunk);
    if (bodies().length >= count) break;
  }
  return bodies();
}

/** Answers with the path and the length of the body. */
const echo = (request: IncomingMessage, response: ServerResponse) => {
  let bytes = 0;
  request.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
  });
  request.on("end", () => response.end(`<${request.url} ${bytes}>`));
};

/** Resolves when the server has processed all sent bytes: it has served another connection after them. */
async function settled(): Promise<void> {
  const before = begun.length;
  const other = await dial();
  const own = Promise.withResolvers<void>();
  const { serve: held } = { serve };
  serve = (request, response) => {
    if (request.url !== "/settled") return held(request, response);
    response.end("<settled>");
    own.resolve();
  };
  other.write(get("/settled"));
  await answers(other, 1);
  await own.promise;
  serve = held;
  begun = begun.filter(({ request }, index) => index < before || request.url !== "/settled");
}

describe("pipelined requests", () => {
  test("are begun a few at a time, however many come in one read, and the rest as answers leave", async () => {
    serve = () => {};
    const socket = await dial();
    const paths = Array.from({ length: 1_000 }, (_, i) => `/${i}`);
    socket.write(paths.map(get).join(""));
    await settled();
    expect(begun).toHaveLength(atOnce);
    let most = 0;
    serve = echo;
    onBegun = () => {
      most = Math.max(most, begun.filter(({ response }) => !response.closed).length);
    };
    for (const { request, response } of [...begun]) echo(request, response);
    expect(await answers(socket, paths.length)).toEqual(paths.map((path) => `${path} 0`));
    expect(most).toBeLessThanOrEqual(atOnce);
  });

  test("carry small and large bodies without losing a byte", async () => {
    serve = echo;
    const socket = await dial();
    const sizes = [0, 1, 70_000, 3, 0, 200_000, 16_384, 2];
    socket.write(sizes.map((size, i) => post(`/${i}`, "\r\n\r\n".repeat(size).slice(0, size))).join(""));
    expect(await answers(socket, sizes.length)).toEqual(sizes.map((size, i) => `/${i} ${size}`));
  });

  test("may arrive byte by byte, and in pieces that split their ends", async () => {
    serve = echo;
    const socket = await dial();
    const text = get("/a") + post("/b", "xy") + get("/c");
    for (let at = 0; at < text.length; at += 3) {
      socket.write(text.slice(at, at + 3));
      await new Promise(setImmediate);
    }
    expect(await answers(socket, 3)).toEqual(["/a 0", "/b 2", "/c 0"]);
  });

  test("get the same responses for any split into pieces and any body", async () => {
    serve = echo;
    const random = seeded(7);
    const upTo = (n: number) => Math.floor(random() * n);
    const bodies = ["", "\r\n\r\n", "\n\r\n\r", "x\r\n", "GET / HTTP/1.1\r\n\r\n", "0\r\n\r\n", "\r", "yyyy"];
    for (let round = 0; round < 60; round += 1) {
      const expected: string[] = [];
      let text = "";
      for (let i = 0; i < 12; i += 1) {
        const body = (bodies[upTo(bodies.length)] ?? "").repeat(upTo(4));
        const kind = body === "" ? 0 : upTo(3);
        expected.push(`/${i} ${kind === 0 ? 0 : body.length}`);
        if (kind === 0) text += get(`/${i}`);
        else if (kind === 1) text += post(`/${i}`, body);
        else {
          const head = `POST /${i} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n`;
          text += `${head}${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
        }
      }
      const socket = await dial();
      const answered = answers(socket, expected.length);
      for (let at = 0; at < text.length; ) {
        const length = 1 + upTo(round % 3 === 0 ? 20 : 400);
        socket.write(text.slice(at, at + length));
        at += length;
        if (upTo(3) === 0) await new Promise(setImmediate);
      }
      expect(await answered).toEqual(expected);
      socket.destroy();
    }
  });

  test("are all answered when their client closes its side behind them", async () => {
    serve = echo;
    const socket = await dial({ allowHalfOpen: true });
    socket.end(Array.from({ length: 200 }, (_, i) => get(`/${i}`)).join(""));
    expect(await answers(socket, 200)).toHaveLength(200);
    await once(socket, "close");
  });

  test("neither hold back a slowly read body nor take more of it than is read", async () => {
    const reading = Promise.withResolvers<IncomingMessage>();
    serve = (request, response) => {
      if (request.url !== "/slow") return echo(request, response);
      reading.resolve(request);
      request.on("end", () => response.end("<slow>"));
    };
    const socket = await dial();
    const size = 2_000_000;
    socket.write(post("/slow", "z".repeat(size)) + get("/next"));
    const request = await reading.promise;
    await settled();
    expect(request.readableLength).toBeLessThan(200_000);
    let bytes = 0;
    for await (const chunk of request) {
      bytes += (chunk as Buffer).length;
      await new Promise(setImmediate);
    }
    expect(bytes).toBe(size);
    expect(await answers(socket, 2)).toEqual(["slow", "/next 0"]);
  });

  test("are just as few when each has a body, and all are answered", async () => {
    serve = () => {};
    const socket = await dial();
    const bodies = Array.from({ length: 300 }, (_, i) => "\r\n\r\n".repeat(i).slice(0, (i * 37) % 1_000));
    socket.write(bodies.map((body, i) => post(`/${i}`, body)).join(""));
    await settled();
    expect(begun).toHaveLength(atOnce);
    serve = echo;
    for (const { request, response } of [...begun]) echo(request, response);
    expect(await answers(socket, bodies.length)).toEqual(bodies.map(({ length }, i) => `/${i} ${length}`));
  });

  test("are just as few with chunked bodies", async () => {
    serve = () => {};
    const socket = await dial();
    const chunked = "POST /c HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\nx-t: 1\r\n\r\n";
    socket.write(chunked.repeat(200));
    await settled();
    expect(begun.length).toBeLessThanOrEqual(atOnce + 1);
    serve = echo;
    for (const { request, response } of [...begun]) echo(request, response);
    expect(await answers(socket, 200)).toEqual(Array.from({ length: 200 }, () => "/c 3"));
  });

  test("end the connection of a client that splits them beyond recognition", () => {
    const socket = Object.assign(new EventEmitter(), { destroyed: false, pause() {}, resume() {} });
    socket.on("end", () => {});
    let parsed = 0;
    socket.on("data", () => {
      parsed += 1;
      const request = { complete: false, headers: { "content-length": "9" }, readableLength: 0, readableHighWaterMark: 1 };
      connection.begin(request as unknown as IncomingMessage, {} as ServerResponse);
    });
    Object.assign(socket, { destroy: () => Object.assign(socket, { destroyed: true }) });
    const connection = new PipelinedConnection(socket as unknown as Socket);
    while (!socket.destroyed && parsed < 1_000) socket.emit("data", Buffer.from("\nPOST / HTTP/1.1\r\n\r"));
    expect(parsed).toBe(2 * atOnce);
  });

  test("end with their connection, including those that wait behind another", async () => {
    serve = () => {};
    const socket = await dial();
    socket.write(get("/a").repeat(atOnce));
    await settled();
    expect(begun).toHaveLength(atOnce);
    const ended = Promise.all(begun.map(({ response }) => once(response, "close")));
    socket.resetAndDestroy();
    await ended;
  });

  test("stay unread while their client does not read: neither more are begun nor more is held", async () => {
    serve = (_request, response) => response.end(Buffer.alloc(1_000_000, "x"));
    const socket = await dial();
    socket.write(get("/large").repeat(2_000));
    await settled();
    await settled();
    expect(begun.length).toBeLessThan(20);
  });

  test("of one connection do not block another connection", async () => {
    let ahead = 0;
    serve = (request, response) => {
      if (request.url === "/ahead") ahead += 1;
      response.end(`<${request.url}>`);
    };
    const [greedy, modest] = [await dial(), await dial()];
    greedy.resume();
    modest.write(get("/warm"));
    await answers(modest, 1);
    greedy.write(get("/ahead").repeat(2_000));
    modest.write(get("/modest"));
    await answers(modest, 1);
    expect(ahead).toBeLessThan(1_000);
  });
});
