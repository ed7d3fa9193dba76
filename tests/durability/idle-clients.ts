/** A process with the clients of idle streams; takes an `OpenStreams` message and answers with `IdleClients`. */
import { connect as connectHttp2 } from "node:http2";
import { connect, type Socket } from "node:net";

/** A stream to open. */
export interface IdleRequest {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly contentType?: string;
  /** Base64. */
  readonly body?: string;
}

/** Opens streams; each waits for its first bytes. */
export interface OpenStreams {
  readonly port: number;
  readonly token: string;
  /** Over gRPC, many streams share a connection. */
  readonly isGrpc: boolean;
  /** The first bytes are a heartbeat: the streams are opened without waiting for them. */
  readonly isSilent: boolean;
  readonly requests: readonly IdleRequest[];
}

/** State of the streams. */
export interface IdleClients {
  /** Streams that have received something. */
  readonly open: number;
  /** Streams that have ended. */
  readonly ended: number;
  /** Bytes received by all streams. */
  readonly bytes: number;
  /** Streams whose bytes have grown since the last report. */
  readonly heardFrom: number;
  /** The beginning of the response to the first stream that was refused. */
  readonly refusal: string | undefined;
}

/** Streams that are being opened at once, and streams on one gRPC connection. */
const [atOnce, perConnection] = [100, 200];
/** Local addresses, so that no limit per address has to be raised. */
const addresses = 12;

let [open, ended, bytes] = [0, 0, 0];
let refusal: string | undefined;
const heard = new Set<number>();

const addressOf = (index: number) => `127.0.0.${2 + (index % addresses)}`;

/** Counts a stream that has had its first bytes; returns the function that counts its later ones. */
function received(index: number, first: string, isGood: boolean, opened: () => void): (length: number) => void {
  open += 1;
  if (!isGood) refusal ??= first.slice(0, 500);
  opened();
  return (length) => {
    bytes += length;
    heard.add(index);
  };
}

function openHttp1(asked: OpenStreams, index: number): Promise<void> {
  const { port, token, requests } = asked;
  const { method, path, contentType, body = "" } = requests[index] as IdleRequest;
  const sent = Buffer.from(body, "base64");
  return new Promise((resolve) => {
    const socket: Socket = connect({ port, host: "127.0.0.1", localAddress: addressOf(index) });
    let more: ((length: number) => void) | undefined;
    socket.on("data", (chunk) => {
      more ??= received(index, chunk.toString("latin1"), chunk.toString("latin1").startsWith("HTTP/1.1 200"), resolve);
      more(chunk.length);
    });
    socket.on("error", (error) => {
      refusal ??= String(error);
    });
    socket.on("close", () => {
      ended += 1;
      resolve();
    });
    const length = method === "POST" ? `content-type: ${contentType}\r\ncontent-length: ${sent.length}\r\n` : "";
    socket.write(
      `${method} ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer ${token}\r\n${length}\r\n`,
    );
    socket.write(sent, () => {
      if (asked.isSilent) resolve();
    });
  });
}

function createGrpcOpener(asked: OpenStreams): (index: number) => Promise<void> {
  const { port, token, requests } = asked;
  const sessions = Array.from({ length: Math.ceil(requests.length / perConnection) }, (_, index) => {
    const createConnection = () => connect({ port, host: "127.0.0.1", localAddress: addressOf(index) });
    return connectHttp2(`http://127.0.0.1:${port}`, { createConnection }).on("error", () => {});
  });
  return (index) =>
    new Promise((resolve) => {
      const { path, contentType, body = "" } = requests[index] as IdleRequest;
      const session = sessions[Math.floor(index / perConnection)];
      const stream = session?.request({
        ":method": "POST",
        ":path": path,
        "content-type": contentType,
        te: "trailers",
        authorization: `Bearer ${token}`,
      });
      let more: ((length: number) => void) | undefined;
      let status = "";
      stream?.on("response", (headers) => {
        status = JSON.stringify(headers);
        if (headers["grpc-status"] !== undefined) refusal ??= status;
      });
      stream?.on("data", (chunk: Buffer) => {
        more ??= received(index, status, true, resolve);
        more(chunk.length);
      });
      stream?.on("error", (error) => {
        refusal ??= String(error);
      });
      stream?.on("close", () => {
        ended += 1;
        resolve();
      });
      stream?.end(Buffer.from(body, "base64"));
    });
}

async function openAll(asked: OpenStreams): Promise<void> {
  const openOne = asked.isGrpc ? createGrpcOpener(asked) : (index: number) => openHttp1(asked, index);
  let next = 0;
  const worker = async () => {
    for (let index = next++; index < asked.requests.length; index = next++) await openOne(index);
  };
  await Promise.all(Array.from({ length: Math.min(asked.requests.length, atOnce) }, worker));
}

process.on("message", async (message: OpenStreams | "report") => {
  if (message !== "report") await openAll(message);
  const state: IdleClients = { open, ended, bytes, heardFrom: heard.size, refusal };
  heard.clear();
  process.send?.(state);
});
