import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { expect, test } from "vitest";
import { aliceKey } from "../../testing/gateway.ts";
import { useLibraryGateway } from "../../testing/library-gateway.ts";
import { headOf } from "../../testing/rpc-requests.ts";
import { type DiscardBounds, discard } from "./discarding.ts";

const { open } = useLibraryGateway({ RATE_LIMIT_ENABLED: "false" });
const bodyBytes = 20_000_000;
const piece = Buffer.alloc(50_000, 0x20);
const chunk = Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from("\r\n")]);

/** Surfaces and the status with which they refuse a body that is too large. */
const surfaces: readonly (readonly [string, string, string, number])[] = [
  ["REST", "/v1/readings", "application/json", 413],
  ["OpenAI", "/v1/chat/completions", "application/json", 413],
  ["Connect", "/fixture.v1.LibraryService/ListBooks", "application/json", 429],
  ["a Connect stream", "/fixture.v1.LibraryService/WatchShelf", "application/connect+json", 200],
  ["gRPC-Web", "/fixture.v1.LibraryService/ListBooks", "application/grpc-web+proto", 200],
];

test.each(surfaces.flatMap((surface) => [[...surface, "with its length"] as const, [...surface, "in chunks"] as const]))(
  "a client that sends 20 MB first reads the refusal, and no reset: %s (%s, %s, %i), %s",
  async (_what, path, type, status, form) => {
    const connection = await open();
    const isChunked = form === "in chunks";
    const length = isChunked ? { "transfer-encoding": "chunked" } : { "content-length": bodyBytes };
    connection.write(headOf(path, { "content-type": type, authorization: `Bearer ${aliceKey}`, ...length }));
    // Reads nothing until everything is written, as a blocking client does.
    connection.socket.pause();
    for (let sent = 0; sent < bodyBytes; sent += piece.length) {
      await new Promise((resolve) => connection.socket.write(isChunked ? chunk : piece, resolve));
    }
    if (isChunked) connection.write("0\r\n\r\n");
    connection.socket.resume();
    const answer = await connection.answer();
    expect([answer?.status, answer?.headers.connection]).toEqual([status, "close"]);
    await connection.ended;
    expect(connection.error()).toBeUndefined();
  },
);

/** A client of a server that discards within these bounds, and the server's side of its connection. */
async function discarding(bounds: DiscardBounds): Promise<{ client: Socket; served: Socket; close(): void }> {
  const server = createServer({ allowHalfOpen: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = connect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1", allowHalfOpen: true });
  client.on("error", () => {});
  client.resume();
  const [served] = (await once(server, "connection")) as [Socket];
  served.on("error", () => {});
  served.end();
  discard(served, bounds);
  return {
    client,
    served,
    close() {
      client.destroy();
      server.close();
    },
  };
}

test("a client that goes on sending is cut when its time is over, however much it sends", async () => {
  const { client, served, close } = await discarding({ mostBytes: 1e9, longestMs: 300, silentMs: 10_000 });
  const feed = () => {
    while (!client.destroyed && client.write(piece));
  };
  client.on("drain", feed);
  feed();
  if (!served.closed) await once(served, "close");
  // All connections together have a share of the processor: not more than some turns' worth in this time.
  expect(served.bytesRead).toBeLessThan(150_000_000);
  close();
});

test("bytes beyond the bound stay with the sender", async () => {
  const { client, served, close } = await discarding({ mostBytes: 200_000, longestMs: 500, silentMs: 10_000 });
  for (let i = 0; i < 100; i++) client.write(piece);
  if (!served.closed) await once(served, "close");
  expect(served.bytesRead).toBeLessThan(1_000_000);
  close();
});

test("a silent client is cut before its time is over, and one that ends at once", async () => {
  const silent = await discarding({ mostBytes: 1e9, longestMs: 600_000, silentMs: 50 });
  await once(silent.served, "close");
  silent.close();
  const ended = await discarding({ mostBytes: 1e9, longestMs: 600_000, silentMs: 600_000 });
  ended.client.end();
  await once(ended.served, "close");
  ended.close();
});
