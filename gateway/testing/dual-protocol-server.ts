import { once } from "node:events";
import type { RequestListener } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { afterEach, beforeEach } from "vitest";
import { ClientAccounts } from "../src/connections/client-accounts.ts";
import { type ConnectionTimeouts, createDualProtocolServer, type DualProtocolServer } from "../src/connections/protocols.ts";

/** The server of the current test. */
export interface TestedServer {
  readonly server: DualProtocolServer;
  readonly port: number;
  /** Opens a connection that is destroyed after the test; its errors are ignored. */
  dial(options?: { allowHalfOpen?: boolean }): Promise<Socket>;
}

/** Limits that no single-client test reaches. */
const roomy = {
  connectionsPerAddress: 0,
  bytesPerConnection: 8_388_608,
  bytesPerAddress: 67_108_864,
  bytesInAll: 268_435_456,
  proxies: [],
};

/** Registers hooks that start a bare server on loopback before each test and close it after the test. */
export function useDualProtocolServer(listener: RequestListener, timeouts: ConnectionTimeouts): TestedServer {
  const sockets: Socket[] = [];
  let server: DualProtocolServer;
  let port = 0;
  beforeEach(async () => {
    const limits = { accounts: new ClientAccounts(roomy), streamsPerConnection: 250, onRefused: () => {} };
    server = createDualProtocolServer(listener, timeouts, limits);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    port = (server.address() as AddressInfo).port;
  });
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    const closed = once(server, "close");
    server.close();
    server.closeAllConnections();
    await closed;
  });
  return {
    get server() {
      return server;
    },
    get port() {
      return port;
    },
    async dial({ allowHalfOpen = false } = {}) {
      const socket = connect({ port, host: "127.0.0.1", noDelay: true, allowHalfOpen }).on("error", () => {});
      sockets.push(socket);
      await once(socket, "connect");
      return socket;
    },
  };
}
