import { once } from "node:events";
import { Agent, createServer, request as httpRequest, type Server } from "node:http";
import { connect, type IncomingHttpHeaders } from "node:http2";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { useLibraryGateway } from "../../testing/library-gateway.ts";
import type { RawConnection } from "../../testing/raw-connection.ts";
import {
  announcedRows,
  bytesOf,
  faultOf,
  grpcRows,
  type MatrixRow,
  matrixTokens,
  refusedRequest,
  refusedRows,
  type SentRequest,
  servedRequest,
  spending,
} from "../../testing/request-matrix.ts";

const gateway = useLibraryGateway({ RATE_LIMIT_AUTH_PER_MINUTE: "1000000", SERVER_ADDRESS_CONNECTIONS: "0" }, matrixTokens());
beforeAll(async () => {
  await gateway.fixture.fetch(spending.path, { headers: spending.headers });
});

const surfaces = ["REST", "Connect", "gRPC-Web"] as const;
const forms = ["length", "chunks"] as const;
/** None, one that is drained behind its response, one that closes the connection. */
const sizes = [0, 2_000, 100_000];

/** Numbers between 0 and 1 that are the same in every run. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

const oneOf = <T>(list: readonly T[], next: () => number): T => list[Math.floor(next() * list.length)] as T;

/** Reads the responses of a connection's requests, and finds those that are not theirs. */
async function check(connection: RawConnection, requests: readonly SentRequest[]): Promise<string[]> {
  const faults: string[] = [];
  let last: Readonly<Record<string, string>> = {};
  for (const [i, request] of requests.entries()) {
    const answer = await connection.answer();
    if (answer === undefined) {
      if (last.connection !== "close") faults.push(`${request.what}: no response, and the one before did not say so`);
      const begun = gateway.fixture.calls.map(({ header }) => header.get("x-request-id"));
      for (const { id, what } of requests.slice(i)) if (begun.includes(id)) faults.push(`${what}: begun, and not answered`);
      break;
    }
    last = answer.headers;
    const fault = faultOf(request, answer);
    if (fault !== undefined) faults.push(fault);
  }
  if (connection.error() !== undefined) faults.push(`the connection ends with ${connection.error()}`);
  return faults;
}

/** Writes bytes in pieces of any size, each in a turn of its own. */
async function writeInPieces({ socket }: RawConnection, bytes: Buffer, next: () => number): Promise<void> {
  for (let at = 0; at < bytes.length && socket.writable; ) {
    const size = next() < 0.3 ? 1 + Math.floor(next() * 40) : 1 + Math.floor(next() * 200_000);
    socket.write(bytes.subarray(at, at + size));
    at += size;
    if (next() < 0.3) await new Promise((resolve) => setImmediate(resolve));
  }
}

const matrix = [...refusedRows, ...announcedRows];

test.each(matrix.map((row) => [row.what, row] as const))(
  "behind %s, the next request of its connection gets its own response or none",
  async (_what, row: MatrixRow) => {
    for (const form of forms) {
      for (const size of "content-length" in row.headers ? [0] : sizes) {
        for (const surface of surfaces) {
          const requests = [refusedRequest(row, size), servedRequest(surface), refusedRequest(row, size), servedRequest(surface)];
          const connection = await gateway.open();
          connection.write(Buffer.concat(requests.map((request) => bytesOf(request, form))));
          expect(await check(connection, requests), `${form}, ${size} bytes, before ${surface}`).toEqual([]);
          connection.socket.destroy();
        }
      }
    }
  },
);

test("requests in any order, split anywhere, get their own responses or none", async () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const next = numbers(seed);
    const requests = Array.from({ length: 8 }, () =>
      next() < 0.4 ? servedRequest(oneOf(surfaces, next)) : refusedRequest(oneOf(refusedRows, next), oneOf(sizes, next)),
    );
    const connection = await gateway.open();
    const bytes = Buffer.concat(requests.map((request) => bytesOf(request, oneOf(forms, next))));
    const [faults] = await Promise.all([check(connection, requests), writeInPieces(connection, bytes, next)]);
    expect(faults, `seed ${seed}`).toEqual([]);
    connection.socket.destroy();
  }
});

test("a connection that is reset or half-closed within a body leaves nothing for the next", async () => {
  const row = refusedRows[0] as MatrixRow;
  for (let round = 0; round < 6; round += 1) {
    for (const request of [refusedRequest(row, 100_000), servedRequest("REST")]) {
      const broken = await gateway.open();
      const bytes = bytesOf(request, oneOf(forms, numbers(round + 1)));
      broken.write(bytes.subarray(0, bytes.length - 10));
      if (round % 2 === 0) broken.socket.resetAndDestroy();
      else broken.socket.end();
      const requests = [servedRequest("REST"), servedRequest("Connect")];
      const other = await gateway.open();
      other.write(Buffer.concat(requests.map((one) => bytesOf(one, "length"))));
      expect(await check(other, requests)).toEqual([]);
      other.socket.destroy();
    }
  }
});

/** A proxy of HTTP/1.1 that reuses a few connections to the gateway for all its clients. */
async function startPoolingProxy(port: number): Promise<{ server: Server; port: number; connections(): number }> {
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  const used = new Set<unknown>();
  const server = createServer((request, response) => {
    const { method, url: path, headers } = request;
    const upstream = httpRequest({ host: "127.0.0.1", port, agent, method, path, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    upstream.on("socket", (socket) => used.add(socket));
    upstream.on("error", () => {
      if (!response.headersSent) response.writeHead(502);
      response.end();
    });
    request.pipe(upstream);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  server.on("close", () => agent.destroy());
  return { server, port: (server.address() as AddressInfo).port, connections: () => used.size };
}

let proxy: Awaited<ReturnType<typeof startPoolingProxy>> | undefined;
afterAll(() => {
  proxy?.server.closeAllConnections();
  proxy?.server.close();
});

test("behind a proxy that pools its connections, every request gets its own response", async () => {
  proxy = await startPoolingProxy(gateway.fixture.port);
  const next = numbers(7);
  const own = new Agent({ keepAlive: false });
  const send = (port: number, request: SentRequest) =>
    new Promise<string | undefined>((resolve) => {
      const { method, path, body, id } = request;
      const headers = { ...request.headers, "x-request-id": id, "content-length": body.length };
      const sent = httpRequest({ host: "127.0.0.1", port, agent: own, method, path, headers }, (answer) => {
        let text = "";
        answer.setEncoding("latin1");
        answer.on("data", (chunk) => {
          text += chunk;
        });
        answer.on("end", () =>
          resolve(faultOf(request, { status: answer.statusCode ?? 0, headers: answer.headers, body: text })),
        );
      });
      sent.on("error", (error) => resolve(`${request.what}: ${error.message}`));
      sent.end(body);
    });
  const requests = Array.from({ length: 120 }, () =>
    next() < 0.4
      ? servedRequest(oneOf(surfaces, next))
      : refusedRequest(oneOf(refusedRows, next), oneOf([0, 2_000, 60_000], next)),
  );
  const faults: string[] = [];
  const { port } = proxy;
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (let request = requests.pop(); request !== undefined; request = requests.pop()) {
        const fault = await send(port, request);
        if (fault !== undefined) faults.push(fault);
      }
    }),
  );
  expect(faults).toEqual([]);
  expect(proxy.connections()).toBeLessThan(200);
});

test("over HTTP/2, refusals with unread bodies and served calls of one connection get their own responses", async () => {
  const session = connect(gateway.fixture.url);
  const next = numbers(3);
  const rows = [...refusedRows.filter(({ path }) => path !== "/%"), ...grpcRows];
  const ask = async (request: SentRequest) => {
    const { method, path, headers, body, id } = request;
    const stream = session.request({ ...headers, ":method": method, ":path": path, "x-request-id": id }, { endStream: false });
    let seen: IncomingHttpHeaders = {};
    let trailers: IncomingHttpHeaders = {};
    let text = "";
    stream.on("error", () => {});
    stream.on("response", (fields) => {
      seen = fields;
    });
    stream.on("trailers", (fields) => {
      trailers = fields;
    });
    stream.setEncoding("latin1");
    stream.on("data", (chunk) => {
      text += chunk;
    });
    // Some clients never end their request.
    if (request.text !== undefined || next() < 0.5) stream.end(body);
    else stream.write(body);
    await once(stream, "close");
    return faultOf(request, { status: Number(seen[":status"]), headers: { ...trailers, ...seen }, body: text });
  };
  const requests = Array.from({ length: 80 }, () =>
    next() < 0.4 ? servedRequest(oneOf(surfaces, next)) : refusedRequest(oneOf(rows, next), oneOf(sizes, next)),
  );
  const faults = await Promise.all(requests.map((request) => ask(request)));
  expect(faults.filter((fault) => fault !== undefined)).toEqual([]);
  session.destroy();
});
