import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import type { Random } from "./random.ts";

/** A proxy in front of PostgreSQL that loses statements, or the answers to them. */
export interface PostgresProxy {
  readonly port: number;
  /** Where the server is now; it has another port after a restart. */
  target: number;
  /** The share of statements whose connection is lost: half of them before the server has them, half after. */
  lossRate: number;
  readonly losses: { before: number; after: number; passed: number };
  close(): void;
}

/** What a client of PostgreSQL sends when it executes something: the simple query, and the end of an extended one. */
const simpleQuery = 0x51;
const sync = 0x53;

/** Starts the proxy on loopback. */
export async function startPostgresProxy(target: number, random: Random): Promise<PostgresProxy> {
  const sockets = new Set<Socket>();
  const losses = { before: 0, after: 0, passed: 0 };
  const server = createServer((client) => {
    const upstream = connect(proxy.target, "127.0.0.1");
    let isLosing = false;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.on("data", (piece) => {
      // The driver writes a statement as one piece that ends with Sync, or as one simple query.
      const isStatement = piece[0] === simpleQuery || piece.at(-5) === sync;
      if (isStatement && proxy.lossRate > 0 && random.next() < proxy.lossRate) {
        if (random.next() < 0.5) {
          losses.before += 1;
          client.destroy();
          return;
        }
        losses.after += 1;
        isLosing = true;
      } else if (isStatement) losses.passed += 1;
      upstream.write(piece);
    });
    upstream.on("data", (piece) => {
      // The server answers when it has committed.
      if (isLosing) client.destroy();
      else client.write(piece);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const proxy: PostgresProxy = {
    port: (server.address() as AddressInfo).port,
    target,
    lossRate: 0,
    losses,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
  return proxy;
}
