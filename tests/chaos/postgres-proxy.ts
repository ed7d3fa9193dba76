import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import type { Random } from "./random.ts";

/**
 * Number of statements lost before the server received them, or after it answered; `silent`: those of each without a
 * word until the client gave up.
 */
export interface Losses {
  before: number;
  after: number;
  silent: number;
  passed: number;
}

/** A proxy in front of PostgreSQL that loses statements or their results. */
export interface PostgresProxy {
  readonly port: number;
  /** Port of the server, which changes with a restart. */
  target: number;
  /**
   * Share of statements to lose: half before the server receives them, half after. Half of each break the connection,
   * half time out.
   */
  lossRate: number;
  readonly losses: Losses;
  close(): void;
}

/** Messages by which a client executes a statement: the simple query, and Sync, the end of an extended one. */
const simpleQuery = 0x51;
const sync = 0x53;

/** Starts the proxy on loopback. */
export async function startPostgresProxy(target: number, random: Random): Promise<PostgresProxy> {
  const sockets = new Set<Socket>();
  const losses: Losses = { before: 0, after: 0, silent: 0, passed: 0 };
  const server = createServer((client) => {
    const upstream = connect(proxy.target, "127.0.0.1");
    let isLosing = false;
    /** Nothing passes any more, although the connection stays open. */
    let isSilent = false;
    const lose = () => {
      if (!isSilent) client.destroy();
    };
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
      if (isSilent && !isLosing) return;
      // The driver writes a statement as one piece that ends with Sync, or as one simple query.
      const isStatement = piece[0] === simpleQuery || piece.at(-5) === sync;
      if (isStatement && proxy.lossRate > 0 && random.next() < proxy.lossRate) {
        const isBefore = random.next() < 0.5;
        isSilent = random.next() < 0.5;
        if (isSilent) losses.silent += 1;
        if (isBefore) {
          losses.before += 1;
          lose();
          return;
        }
        losses.after += 1;
        isLosing = true;
      } else if (isStatement) losses.passed += 1;
      upstream.write(piece);
    });
    upstream.on("data", (piece) => {
      // The server answers only after the commit.
      if (isLosing) lose();
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
