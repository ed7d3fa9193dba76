import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** A TCP proxy that can break, hold or refuse connections. */
export interface FaultProxy {
  /** The target's URL with the proxy's address. */
  readonly url: string;
  /** Breaks all connections; new ones are accepted. */
  cut(): void;
  /** Forwards nothing any more, on connections that stay open. */
  hold(): void;
  /** Breaks all connections and refuses new ones. */
  refuse(): Promise<void>;
  /** Accepts connections again. */
  accept(): Promise<void>;
  close(): void;
}

/** Starts a proxy on loopback in front of a server. Each connection goes to the current `target`: a server may move. */
export async function faultProxy(target: URL): Promise<FaultProxy> {
  const pairs = new Set<[Socket, Socket]>();
  let isHeld = false;
  const server = createServer((client) => {
    const upstream = connect(Number(target.port || 6379), target.hostname);
    const pair: [Socket, Socket] = [client, upstream];
    pairs.add(pair);
    client.pipe(upstream).pipe(client);
    for (const socket of pair) {
      socket.on("error", () => {});
      socket.on("close", () => {
        pairs.delete(pair);
        for (const each of pair) each.destroy();
      });
    }
    if (isHeld) upstream.pause();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const url = new URL(target);
  url.hostname = "127.0.0.1";
  url.port = String(port);
  const cut = () => {
    for (const pair of pairs) for (const socket of pair) socket.destroy();
  };
  return {
    url: url.href,
    cut,
    hold() {
      isHeld = true;
      for (const [client, upstream] of pairs) {
        upstream.unpipe(client);
        upstream.pause();
      }
    },
    async refuse() {
      server.close();
      cut();
      await once(server, "close");
    },
    async accept() {
      server.listen(port, "127.0.0.1");
      await once(server, "listening");
    },
    close() {
      server.close();
      cut();
    },
  };
}
