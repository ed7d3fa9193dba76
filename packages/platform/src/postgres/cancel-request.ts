import pg from "pg";

/** A connection of the driver below its client; `pg` exports it without types. */
interface Wire {
  connect(port: number | string, host?: string): void;
  requestSsl(): void;
  cancel(processId: number, secretKey: number): void;
  once(event: "connect" | "sslconnect" | "end" | "error", listener: () => void): void;
  readonly stream: { destroy(): void };
}

const WireConnection = pg.Connection as unknown as new (config: { ssl: unknown; sslNegotiation?: string }) => Wire;

/** The parts of a connected client that address its backend. */
export interface BackendAddress {
  readonly host: string;
  readonly port: number;
  readonly ssl: unknown;
  readonly sslNegotiation?: string;
  readonly processID: number | null;
  readonly secretKey: number | null;
}

/**
 * Asks the server to stop the statement of a backend, by a cancel request over a connection of its own, which needs no
 * free backend. Resolves to whether the server has taken it, at the latest after `timeoutMs`; never rejects. The
 * statement, if it still runs, then fails with 57014.
 */
export function sendCancelRequest(backend: BackendAddress, timeoutMs: number): Promise<boolean> {
  const { host, port, ssl, sslNegotiation, processID, secretKey } = backend;
  if (processID === null || secretKey === null) return Promise.resolve(false);
  return new Promise((resolve) => {
    let isSent = false;
    const wire = new WireConnection({ ssl, sslNegotiation });
    const finish = (wasTaken: boolean) => {
      clearTimeout(timer);
      resolve(wasTaken);
      wire.stream.destroy();
    };
    const timer = setTimeout(() => finish(false), timeoutMs);
    const send = () => {
      isSent = true;
      wire.cancel(processID, secretKey);
    };
    wire.once("connect", () => {
      if (!ssl) send();
      else if (sslNegotiation !== "direct") wire.requestSsl();
    });
    wire.once("sslconnect", send);
    wire.once("error", () => finish(false));
    // The server closes the connection once it has passed the request on.
    wire.once("end", () => finish(isSent));
    if (host.startsWith("/")) wire.connect(`${host}/.s.PGSQL.${port}`);
    else wire.connect(port, host);
  });
}
