import { once } from "node:events";
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { mount } from "@turnwright/platform/rpc/mount";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { aliceKey, type Fixture, startFixture } from "../../testing/gateway.ts";
import { compileLibrary } from "../../testing/library.ts";

const library = compileLibrary();
const limitMs = 500;
const path = "/v1/shelves/one/watch";
const megabyte = "x".repeat(1_048_576);

/** Messages of the watched shelf; each test sets its own. */
let watch: (signal: AbortSignal) => AsyncGenerator<string>;
let cancelled: PromiseWithResolvers<number>;
let gateway: Fixture;

const served = mount(library.service, {
  async *watchShelf(_request: unknown, { signal }: HandlerContext) {
    signal.addEventListener("abort", () => cancelled.resolve(performance.now()), { once: true });
    for await (const word of watch(signal)) yield create(library.message("ReadResponse"), { word } as MessageInitShape<never>);
  },
} as unknown as ServiceImpl<typeof library.service>);

beforeAll(async () => {
  gateway = await startFixture({ mounts: [served], env: { SERVER_STALL_TIMEOUT: `${limitMs}ms`, SSE_HEARTBEAT: "10s" } });
});
afterAll(() => gateway.close());
beforeEach(() => {
  cancelled = Promise.withResolvers();
});

async function* endless(): AsyncGenerator<string> {
  for (;;) yield megabyte;
}

/** Opens the stream and reads only its beginning. */
async function stalled(): Promise<Socket> {
  const socket = connect({ port: gateway.port, host: "127.0.0.1" });
  socket.on("error", () => {});
  socket.write(`GET ${path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${aliceKey}\r\n\r\n`);
  await once(socket, "readable");
  return socket;
}

function openHttp2(session: ClientHttp2Session, at: string) {
  const stream = session.request({ ":path": at, authorization: `Bearer ${aliceKey}` });
  stream.on("error", () => {});
  return stream;
}

const cuts = () => gateway.log.filter(({ msg }) => msg === "stalled reader cut").length;

describe("a client that does not read", () => {
  test("is cut together with its call when it reads nothing for the time limit", async () => {
    watch = endless;
    const startedAt = performance.now();
    const socket = await stalled();
    const afterMs = (await cancelled.promise) - startedAt;
    expect(afterMs).toBeGreaterThan(limitMs);
    expect(afterMs).toBeLessThan(limitMs + 1_500);
    const reset = once(socket, "error");
    socket.resume();
    expect(await reset).toMatchObject([{ code: "ECONNRESET" }]);
  });

  test("is also cut when the response is complete and only waits to be read", async () => {
    watch = async function* () {
      for (let i = 0; i < 3; i++) yield "x".repeat(4 * megabyte.length);
    };
    const before = cuts();
    const socket = await stalled();
    await expect.poll(cuts, { timeout: limitMs + 2_000 }).toBe(before + 1);
    socket.destroy();
  });

  test("is left alone when there is nothing to read", async () => {
    let opened = 0;
    watch = async function* () {
      opened += 1;
      if (opened > 1) yield* endless();
      yield "one";
      // A reader that stalls later is cut first.
      await cancelled.promise;
      yield "two";
    };
    const response = await gateway.fetch(path);
    const socket = await stalled();
    const text = await response.text();
    socket.destroy();
    expect(text).toContain("two");
    expect(text).toContain("[DONE]");
  });

  test("is left alone while it reads, however slowly", async () => {
    watch = async function* () {
      for (let i = 0; i < 24; i++) yield megabyte;
    };
    const socket = await stalled();
    let bytes = 0;
    // The system accepts more only when a good part of its buffers is empty.
    const startedAt = performance.now();
    while (bytes < 24 * megabyte.length) {
      const chunk = socket.read() as Buffer | null;
      bytes += chunk?.length ?? 0;
      if (chunk === null) await once(socket, "readable");
      const dueMs = (bytes / megabyte.length) * (limitMs / 8);
      const earlyMs = dueMs - (performance.now() - startedAt);
      // The slow pace is the input under test.
      if (earlyMs > 10) await delay(earlyMs);
    }
    expect(performance.now() - startedAt).toBeGreaterThan(2.5 * limitMs);
    socket.destroy();
  });

  test("loses one stream of an HTTP/2 connection and keeps those that it reads", async () => {
    let opened = 0;
    watch = async function* (signal) {
      opened += 1;
      if (opened === 1) yield* endless();
      else
        while (!signal.aborted) {
          yield "again";
          // Only the pace of a stream that is read; no assertion waits for it.
          await delay(20);
        }
    };
    const session = connectHttp2(gateway.url);
    const stopped = openHttp2(session, path);
    await once(stopped, "response");
    const read = openHttp2(session, path);
    let bytes = 0;
    read.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
    });
    await cancelled.promise;
    const before = bytes;
    await expect.poll(() => bytes).toBeGreaterThan(before);
    expect(session.closed).toBe(false);
    session.destroy();
  });

  test("loses an HTTP/2 connection with its last stream", async () => {
    watch = endless;
    const session = connectHttp2(gateway.url);
    session.on("error", () => {});
    const stopped = openHttp2(session, path);
    await once(stopped, "response");
    await cancelled.promise;
    await once(session, "close");
  });

  test.each([
    ["Connect", "application/connect+json", 1],
    ["gRPC-web", "application/grpc-web+json", 0],
  ])("is cut over %s as well", async (_name, type) => {
    watch = endless;
    const message = Buffer.from("{}");
    const body = Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]);
    const socket = connect({ port: gateway.port, host: "127.0.0.1" });
    socket.on("error", () => {});
    const method = library.service.methods.find(({ localName }) => localName === "watchShelf");
    socket.write(
      `POST /${library.service.typeName}/${method?.name} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${aliceKey}\r\n` +
        `content-type: ${type}\r\ncontent-length: ${body.length}\r\n\r\n`,
    );
    socket.write(body);
    await once(socket, "readable");
    await cancelled.promise;
    socket.destroy();
  });
});
