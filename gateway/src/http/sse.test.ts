import { once } from "node:events";
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2, constants } from "node:http2";
import { connect } from "node:net";
import { setImmediate as immediate } from "node:timers/promises";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { mount } from "@turnwright/platform/rpc/mount";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { aliceKey, type Fixture, startFixture } from "../../testing/gateway.ts";
import { compileLibrary } from "../../testing/library.ts";
import { silentStream } from "../../testing/silent-stream.ts";

const library = compileLibrary();

/** The next steps of the watched shelf; each test sets its own. */
let watch: (signal: AbortSignal) => AsyncGenerator<string>;

const served = mount(library.service, {
  async *watchShelf(_request: unknown, context: HandlerContext) {
    for await (const word of watch(context.signal)) {
      yield create(library.message("ReadResponse"), { word } as MessageInitShape<never>);
    }
  },
} as unknown as ServiceImpl<typeof library.service>);

let gateway: Fixture;
beforeAll(async () => {
  gateway = await startFixture({ mounts: [served], env: { SSE_HEARTBEAT: "40ms" } });
});
afterAll(() => gateway.close());

const path = "/v1/shelves/one/watch";

/** Reads a response until it contains the text. */
async function until(reader: ReadableStreamDefaultReader<Uint8Array>, text: string): Promise<string> {
  const decoder = new TextDecoder();
  let all = "";
  while (!all.includes(text)) {
    const { done, value } = await reader.read();
    if (done) throw new Error(`ended without ${text}: ${all}`);
    all += decoder.decode(value, { stream: true });
  }
  return all;
}

const untilAborted = (signal: AbortSignal) => (signal.aborted ? Promise.resolve() : once(signal, "abort"));

describe("server-sent events", () => {
  test("sends a comment whenever the stream was silent for a while, also before the first message", async () => {
    const go = Promise.withResolvers<void>();
    watch = async function* () {
      await go.promise;
      yield "late";
    };
    const response = await gateway.fetch(path);
    expect(response.status).toBe(200);
    const reader = response.body?.getReader() as ReadableStreamDefaultReader<Uint8Array>;
    expect(await until(reader, ": ping\n\n: ping\n\n")).toMatch(/^(?:: ping\n\n)+$/);
    go.resolve();
    expect(await until(reader, "[DONE]\n\n")).toMatch(/^(?:: ping\n\n)*data: \{"word":"late"\}\n\ndata: \[DONE\]\n\n$/);
  });

  test("sends no comment where messages flow", async () => {
    let longestGapMs = 0;
    watch = async function* () {
      longestGapMs = 0;
      for (let i = 0; i < 12; i++) {
        const last = performance.now();
        yield `word ${i}`;
        // The pace is the input under test: gaps below a heartbeat, for longer than a heartbeat in all.
        await new Promise((resolve) => setTimeout(resolve, 10));
        longestGapMs = Math.max(longestGapMs, performance.now() - last);
      }
    };
    let text: string;
    // On a machine that paused for as long as a heartbeat, messages did not flow.
    do text = await (await gateway.fetch(path)).text();
    while (longestGapMs > 25);
    expect(text).not.toContain("ping");
    expect(text.match(/data: \{/g)).toHaveLength(12);
  });

  test("cancels the call when the client disconnects before the first message, and logs the request as aborted", async () => {
    const cancelled = Promise.withResolvers<void>();
    const entered = Promise.withResolvers<void>();
    watch = (signal) =>
      silentStream(async () => {
        entered.resolve();
        await untilAborted(signal);
        cancelled.resolve();
      });
    const client = new AbortController();
    const headers = { "x-request-id": "gone-early" };
    const refused = expect(gateway.fetch(path, { signal: client.signal, headers })).rejects.toThrow();
    await entered.promise;
    client.abort();
    await refused;
    await cancelled.promise;
    const line = await gateway.logged(({ request_id }) => request_id === "gone-early");
    expect(line).toMatchObject({ aborted: true, route: "/v1/shelves/:shelf_id/watch" });
  });

  test("cancels the call in the middle, and ends the handler's generator", async () => {
    const cleanedUp = Promise.withResolvers<void>();
    const gone = Promise.withResolvers<void>();
    watch = async function* () {
      try {
        yield "again";
        await gone.promise;
        for (;;) {
          yield "again";
          await immediate();
        }
      } finally {
        cleanedUp.resolve();
      }
    };
    const client = new AbortController();
    const response = await gateway.fetch(path, { signal: client.signal });
    await response.body?.getReader().read();
    client.abort();
    gone.resolve();
    await cleanedUp.promise;
  });

  test.each([
    ["resets its stream", (_session: ClientHttp2Session, stream: ClientHttp2Stream) => stream.close(constants.NGHTTP2_CANCEL)],
    ["closes its connection", (session: ClientHttp2Session) => session.destroy()],
  ])("cancels the call before the first message when an HTTP/2 client %s", async (_name, leave) => {
    const entered = Promise.withResolvers<void>();
    const cancelled = Promise.withResolvers<void>();
    watch = (signal) =>
      silentStream(async () => {
        entered.resolve();
        await untilAborted(signal);
        cancelled.resolve();
      });
    const session = connectHttp2(gateway.url);
    const stream = session.request({ ":path": path, authorization: `Bearer ${aliceKey}` });
    stream.on("error", () => {});
    await entered.promise;
    leave(session, stream);
    await cancelled.promise;
    session.destroy();
  });

  test("holds the call back when the client does not read", async () => {
    let produced = 0;
    const megabyte = "x".repeat(1_048_576);
    watch = async function* () {
      for (; produced < 64; produced++) yield megabyte;
    };
    const socket = connect({ port: gateway.port, host: "127.0.0.1" });
    socket.write(`GET ${path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${aliceKey}\r\n\r\n`);
    await once(socket, "readable");
    // While no client reads, production stops: the kernel's buffers are full and the gateway holds one message at most.
    // A held-back handler gives no sign: the test sees that nothing was produced in 100 ms.
    let before = -1;
    while (produced !== before) {
      before = produced;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(produced).toBeLessThan(32);
    let bytes = 0;
    for await (const chunk of socket) {
      bytes += (chunk as Buffer).length;
      if ((chunk as Buffer).includes("[DONE]")) break;
    }
    expect(produced).toBe(64);
    expect(bytes).toBeGreaterThan(64 * megabyte.length);
  });
});
