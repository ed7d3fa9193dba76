import { createServer, type RequestListener, type Server, type ServerOptions } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import type { Socket } from "node:net";

const http2Preface = Buffer.from("PRI * HTTP/2.0");

/**
 * An HTTP server that speaks HTTP/1.1 and HTTP/2 without TLS (prior knowledge) on one port: the first bytes of each connection
 * decide. Both protocols reach the same listener. A connection that sends nothing within `firstByteMs` is cut.
 */
export function createDualProtocolServer(listener: RequestListener, options: ServerOptions & { firstByteMs: number }): Server {
  const server = createServer(options, listener);
  const http2 = createHttp2Server({ settings: { maxConcurrentStreams: 1000 } }, listener as never);
  http2.on("sessionError", () => {});
  const sessions = new Set<{ close(): void; destroy(): void }>();
  http2.on("session", (session) => {
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
  });

  /** Connections that have not said yet what they speak. */
  const undecided = new Set<Socket>();

  const [serveHttp1] = server.listeners("connection") as ((socket: Socket) => void)[];
  server.removeAllListeners("connection");
  server.on("connection", (socket: Socket) => {
    let head: Buffer = Buffer.alloc(0);
    const cut = () => socket.destroy();
    socket.setTimeout(options.firstByteMs, cut);
    socket.on("error", cut);
    socket.on("end", cut);
    undecided.add(socket);
    const decided = () => undecided.delete(socket);
    socket.once("close", decided);
    const onReadable = () => {
      const chunk = socket.read() as Buffer | null;
      if (chunk === null) return;
      head = head.length === 0 ? chunk : Buffer.concat([head, chunk]);
      const compared = Math.min(head.length, http2Preface.length);
      const couldBeHttp2 = head.subarray(0, compared).equals(http2Preface.subarray(0, compared));
      if (couldBeHttp2 && head.length < http2Preface.length) return;
      socket.off("readable", onReadable);
      socket.off("error", cut);
      socket.off("end", cut);
      socket.off("close", decided);
      decided();
      socket.setTimeout(0);
      socket.removeListener("timeout", cut);
      socket.unshift(head);
      if (couldBeHttp2) http2.emit("connection", socket);
      else serveHttp1?.call(server, socket);
    };
    socket.on("readable", onReadable);
  });
  // Streams of HTTP/2 end like keep-alive connections: what is under way may finish.
  const close = server.close.bind(server);
  server.close = (callback) => {
    for (const session of sessions) session.close();
    for (const socket of undecided) socket.destroy();
    return close(callback);
  };
  const closeAll = server.closeAllConnections.bind(server);
  server.closeAllConnections = () => {
    for (const session of sessions) session.destroy();
    closeAll();
  };
  return server;
}
