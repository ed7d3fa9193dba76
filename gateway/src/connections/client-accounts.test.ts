import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect, type Socket } from "node:net";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { mount } from "@turnwright/platform/rpc/mount";
import { afterEach, describe, expect, test } from "vitest";
import { aliceKey, type Fixture, type FixtureOptions, startFixture } from "../../testing/gateway.ts";
import { compileLibrary } from "../../testing/library.ts";

const library = compileLibrary();
const refusedStream = 7;
const enhanceYourCalm = 11;
const watchPath = "/v1/shelves/one/watch";
let gateway: Fixture;
const endings: (() => void)[] = [];

/** Called with the message's text; each test sets its own. */
let read: (text: string) => Promise<string>;
let watch: (signal: AbortSignal) => AsyncGenerator<string>;

const served = mount(library.service, {
  read: async ({ text }: { text: string }) =>
    create(library.message("ReadResponse"), { word: await read(text) } as MessageInitShape<never>),
  putBook: () => create(library.message("PutBookResponse"), { book: {} } as MessageInitShape<never>),
  async *watchShelf(_request: unknown, { signal }: { signal: AbortSignal }) {
    for await (const word of watch(signal)) yield create(library.message("ReadResponse"), { word } as MessageInitShape<never>);
  },
} as unknown as ServiceImpl<typeof library.service>);

async function start(env: Record<string, string>, more: FixtureOptions = {}): Promise<void> {
  gateway = await startFixture({ mounts: [served], env: { RATE_LIMIT_ENABLED: "false", ...env }, ...more });
}

afterEach(async () => {
  for (const end of endings.splice(0)) end();
  await gateway.close();
});

async function dial(): Promise<Socket> {
  const socket = connect({ port: gateway.port, host: "127.0.0.1" }).on("error", () => {});
  endings.push(() => socket.destroy());
  await once(socket, "connect");
  return socket;
}

function session(initialWindowSize?: number) {
  const client = connectHttp2(gateway.url, { settings: initialWindowSize === undefined ? {} : { initialWindowSize } });
  client.on("error", () => {});
  endings.push(() => client.destroy());
  return client;
}

/** The status of a request, or the code with which its stream was reset. */
function outcome(client: ReturnType<typeof session>, headers: Record<string, string>, body?: string): Promise<number> {
  const stream = client.request(headers);
  stream.on("error", () => {});
  stream.end(body);
  return new Promise((resolve) => {
    stream.once("response", (head) => resolve(Number(head[":status"])));
    stream.once("close", () => resolve(stream.rstCode));
  });
}

const reading = { ":method": "POST", ":path": "/v1/readings", "content-type": "application/json" };
const putPath = "/v1/shelves/one/books/1";
/** Path to which an authenticated caller may send a large body. */
const putting = {
  ":method": "PUT",
  ":path": putPath,
  "content-type": "application/json",
  authorization: `Bearer ${aliceKey}`,
};
/** Sixteen requests of 16 KiB on a connection, and 64 from an address. */
const fewRequests = { SERVER_CONNECTION_BYTES: "262144", SERVER_ADDRESS_BYTES: "1048576" };

/** Holds requests until the test releases them. */
function hold(): { release: () => void; waiting: () => number } {
  const gate = Promise.withResolvers<void>();
  let waiting = 0;
  read = async () => {
    waiting += 1;
    await gate.promise;
    return "done";
  };
  endings.push(gate.resolve);
  return { release: gate.resolve, waiting: () => waiting };
}

describe("what one client may hold", () => {
  test("is so many connections of an address; more are reset, and one that ends makes room", async () => {
    await start({ SERVER_ADDRESS_CONNECTIONS: "2" });
    const [first] = [await dial(), await dial()];
    const third = connect({ port: gateway.port, host: "127.0.0.1" });
    const code = await new Promise((resolve) => third.once("error", (error: NodeJS.ErrnoException) => resolve(error.code)));
    expect(code).toBe("ECONNRESET");
    first?.destroy();
    // The gateway sees the end before anything that arrives later.
    await expect.poll(async () => (await fetch(`${gateway.url}/health`).catch(() => undefined))?.status).toBe(200);
    expect(
      await gateway.logged(({ msg }) => msg === "connections and requests over the limits of an address refused"),
    ).toMatchObject({
      level: "warn",
      requests: 0,
    });
  });

  test("is so many requests on one connection over HTTP/2: those beyond are refused and may be sent again", async () => {
    await start(fewRequests);
    const { release, waiting } = hold();
    const client = session();
    const outcomes = Array.from({ length: 20 }, () => outcome(client, reading, '{"text":"a"}'));
    await expect.poll(waiting).toBe(16);
    const refused = await Promise.all(outcomes.slice(16));
    expect(refused).toEqual([refusedStream, refusedStream, refusedStream, refusedStream]);
    // Another connection of the address has room.
    expect(await outcome(session(), { ":path": "/health" })).toBe(200);
    release();
    expect(await Promise.all(outcomes.slice(0, 16))).toEqual(Array.from({ length: 16 }, () => 200));
    expect(await outcome(client, reading, '{"text":"a"}')).toBe(200);
  });

  test("is so many requests of one address over HTTP/1.1: those beyond get 429 and when to come back", async () => {
    await start(fewRequests);
    const { release, waiting } = hold();
    const ask = () =>
      fetch(`${gateway.url}/v1/readings`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: '{"text":"a"}',
      });
    const held = Array.from({ length: 64 }, ask);
    await expect.poll(waiting).toBe(64);
    const refused = await ask();
    expect(refused.status).toBe(429);
    expect(refused.headers.get("retry-after")).toBe("1");
    expect(refused.headers.get("x-content-type-options")).toBe("nosniff");
    expect(await refused.json()).toMatchObject({ success: false, error: { code: "RATE_LIMIT" } });
    release();
    expect((await Promise.all(held)).map(({ status }) => status)).toEqual(Array.from({ length: 64 }, () => 200));
    expect((await ask()).status).toBe(200);
  });

  test("counts by the client's own address behind a trusted proxy, not by the proxy's", async () => {
    await start({ ...fewRequests, SERVER_ADDRESS_CONNECTIONS: "1", SERVER_TRUST_PROXY: "127.0.0.1" });
    const { release, waiting } = hold();
    const client = session();
    const from = (address: string) => outcome(client, { ...reading, "x-forwarded-for": address }, '{"text":"a"}');
    const held = Array.from({ length: 64 }, (_, i) => from(`2001:db8:1:2::${i}`));
    await expect.poll(waiting).toBe(64);
    expect(await from("2001:db8:1:2:ffff::1")).toBe(refusedStream);
    const other = from("2001:db8:1:3::1");
    await expect.poll(waiting).toBe(65);
    expect(await outcome(session(), { ":path": "/health" })).toBe(200);
    release();
    expect(await Promise.all([...held, other])).toEqual(Array.from({ length: 65 }, () => 200));
  });

  test("does not believe a client that says that it is a proxy", async () => {
    await start(fewRequests);
    const { waiting } = hold();
    const client = session();
    const outcomes = Array.from({ length: 20 }, (_, i) =>
      outcome(client, { ...reading, "x-forwarded-for": `203.0.113.${i}` }, '{"text":"a"}'),
    );
    await expect.poll(waiting).toBe(16);
    expect(await Promise.all(outcomes.slice(16))).toEqual(Array.from({ length: 4 }, () => refusedStream));
  });

  test("is an answer of any size alone, and no more large ones than fit while they are not read", async () => {
    await start(fewRequests);
    read = async (text) => "x".repeat(Number(text));
    const alone = session();
    const stream = alone.request(reading);
    stream.end('{"text":"3000000"}');
    let bytes = 0;
    for await (const chunk of stream) bytes += (chunk as Buffer).length;
    expect(bytes).toBeGreaterThan(3_000_000);

    const client = session(0);
    const streams = Array.from({ length: 10 }, () => {
      const one = client.request(reading);
      one.on("error", () => {});
      one.end('{"text":"100000"}');
      return one;
    });
    await expect.poll(() => streams.filter(({ closed }) => closed).length).toBeGreaterThanOrEqual(7);
    expect(streams.filter(({ closed }) => !closed).length).toBeGreaterThan(0);
    expect(new Set(streams.filter(({ closed }) => closed).map(({ rstCode }) => rstCode))).toEqual(new Set([enhanceYourCalm]));
  });

  test("is a body of any size alone, and no more of their bodies than fit when there are several, with a declared length or without", async () => {
    await start({ ...fewRequests, SERVER_BODY_LIMIT: "1048576", SERVER_REQUEST_TIMEOUT: "10s" });
    read = async () => "done";
    const large = JSON.stringify({ title: "x".repeat(600_000) });
    expect(await outcome(session(), putting, large)).toBe(202);

    for (const more of [{}, { "content-length": "1000000" }]) {
      const client = session();
      const streams = Array.from({ length: 10 }, () => {
        const stream = client.request({ ...putting, ...more });
        stream.on("error", () => {});
        // The body never ends.
        stream.write("x".repeat(200_000));
        return stream;
      });
      await expect.poll(() => streams.filter(({ closed }) => closed).length, { timeout: 5_000 }).toBeGreaterThanOrEqual(8);
      const codes = streams.filter(({ closed }) => closed).map(({ rstCode }) => rstCode);
      expect(new Set(codes)).toEqual(new Set([enhanceYourCalm]));
      client.destroy();
    }
    expect(
      (await gateway.fetch(putPath, { method: "PUT", headers: { "content-type": "application/json" }, body: large })).status,
    ).toBe(202);
  });

  test("is less while it holds much: a reader who takes nothing is cut before the limit for all", async () => {
    // More than half of the connection's limit.
    await start({ ...fewRequests, SERVER_STALL_TIMEOUT: "1h" });
    watch = async function* (signal) {
      while (!signal.aborted) yield "x".repeat(16_384);
    };
    const client = session(0);
    const closed = Promise.all(
      Array.from({ length: 5 }, () => {
        const stream = client.request({ ":path": watchPath, authorization: `Bearer ${aliceKey}` });
        stream.on("error", () => {});
        return new Promise<void>((resolve) => stream.once("close", resolve));
      }),
    );
    await closed;
    expect(gateway.log.filter(({ msg }) => msg === "stalled reader cut").length).toBeGreaterThan(0);
  });

  test("is nothing when it has gone", async () => {
    await start(fewRequests);
    for (let round = 0; round < 5; round += 1) {
      const { waiting } = hold();
      const client = session();
      for (let i = 0; i < 16; i += 1) void outcome(client, reading, '{"text":"a"}');
      await expect.poll(waiting).toBe(16);
      client.destroy();
      await expect.poll(() => gateway.log.filter(({ aborted }) => aborted === true).length).toBe(16 * (round + 1));
    }
    expect(await outcome(session(), { ":path": "/health" })).toBe(200);
  });
});
