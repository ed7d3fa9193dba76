import type { IncomingMessage, RequestListener, Server, ServerResponse } from "node:http";
import { constants, createServer as createHttp2Server, type Http2ServerRequest, type Http2Session } from "node:http2";
import { Server as NetServer, type Socket } from "node:net";
import { awaitContinue } from "../http/request-body.ts";
import type { ClientAccounts } from "./client-accounts.ts";
import { CountedHttp1Request, CountedHttp2Request } from "./counted-request.ts";
import { CountedHttp1Response, CountedHttp2Response } from "./counted-response.ts";
import { createServer } from "./node-http.ts";
import { PipelinedConnection } from "./pipelining.ts";
import { refuseRequest } from "./refused-requests.ts";
import { endUnreadStream, isEnding } from "./unread-bodies.ts";
import { refuse, refuseTunnel, unservedRequests } from "./unserved.ts";

const http2Preface = Buffer.from("PRI * HTTP/2.0");

/** An HTTP server of both protocols that can shut down in steps. */
export interface DualProtocolServer extends Server {
  /** Connections of HTTP/1.1, and those whose protocol is not known yet. */
  readonly keptConnections: ReadonlySet<Socket>;
  /**
   * Accepts no more connections, and no more requests over HTTP/2. Requests in flight continue; clients learn which of
   * their requests were not begun (GOAWAY), so that they can send them elsewhere.
   */
  stopListening(): void;
}

/** Time limits for clients, in milliseconds. */
export interface ConnectionTimeouts {
  /** To send a request, body included; also to send the first bytes of a connection. */
  readonly requestMs: number;
  /** Between two requests of a connection. */
  readonly idleMs: number;
}

/** Limits on what clients may hold, and a callback for refusals. */
export interface ClientLimits {
  readonly accounts: ClientAccounts;
  /** Concurrent streams of an HTTP/2 connection. */
  readonly streamsPerConnection: number;
  onRefused(what: "connection" | "request"): void;
}

/** Bytes buffered in a socket before its source is paused. */
const socketBytes = 16_384;
/** Maximum bytes of a request's headers over HTTP/2, the same as Node's limit for HTTP/1.1. */
const headerListBytes = 16_384;

type ConnectionAccount = NonNullable<ReturnType<ClientAccounts["open"]>>;

/** A connection with a known protocol. */
interface Client {
  readonly account: ConnectionAccount;
  /** Set for HTTP/1.1. */
  readonly connection: PipelinedConnection | undefined;
}

/** Whether bytes begin an HTTP/2 connection; undefined while there are too few to tell. */
function beginsHttp2(head: Buffer): boolean | undefined {
  const compared = Math.min(head.length, http2Preface.length);
  if (!head.subarray(0, compared).equals(http2Preface.subarray(0, compared))) return false;
  return compared === http2Preface.length ? true : undefined;
}

/**
 * Passes each connection to the server of the protocol that its first bytes show. Returns the connections that are
 * still undecided.
 */
function sniff(
  server: Server,
  firstBytesMs: number,
  serve: {
    /** The account of a connection; undefined when the connection was refused and ended. */
    open: (socket: Socket) => ConnectionAccount | undefined;
    http1: (socket: Socket, account: ConnectionAccount) => void;
    http2: (socket: Socket, account: ConnectionAccount) => void;
  },
): ReadonlySet<Socket> {
  const undecided = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    const account = serve.open(socket);
    if (account === undefined) return;
    let head: Buffer = Buffer.alloc(0);
    const cut = () => socket.destroy();
    const timer = setTimeout(cut, firstBytesMs);
    const decided = () => {
      clearTimeout(timer);
      undecided.delete(socket);
      socket.off("readable", onReadable);
      socket.off("error", cut);
      socket.off("end", cut);
      socket.off("close", decided);
    };
    const onReadable = () => {
      const chunk = socket.read() as Buffer | null;
      if (chunk === null) return;
      head = head.length === 0 ? chunk : Buffer.concat([head, chunk]);
      const isHttp2 = beginsHttp2(head);
      if (isHttp2 === undefined) return;
      decided();
      socket.unshift(head);
      if (isHttp2) serve.http2(socket, account);
      else serve.http1(socket, account);
    };
    undecided.add(socket);
    socket.on("error", cut);
    socket.on("end", cut);
    socket.on("close", decided);
    socket.on("readable", onReadable);
  });
  return undecided;
}

/** Limits the time of an HTTP/2 request, as Node itself does only for HTTP/1.1. */
function limitBody(request: Http2ServerRequest, requestMs: number): void {
  const { stream } = request;
  if (stream === undefined || stream.endAfterHeaders) return;
  const timer = setTimeout(() => stream.close(constants.NGHTTP2_CANCEL), requestMs);
  const clear = () => clearTimeout(timer);
  stream.once("end", clear);
  stream.once("close", clear);
}

/**
 * Creates an HTTP server that serves HTTP/1.1 and HTTP/2 without TLS (prior knowledge) on one port; the first bytes of
 * each connection decide. Both protocols reach the same listener. Slow clients are cut, and requests and connections
 * beyond the limits are refused.
 */
export function createDualProtocolServer(
  listener: RequestListener,
  timeouts: ConnectionTimeouts,
  limits: ClientLimits,
): DualProtocolServer {
  const { requestMs, idleMs } = timeouts;
  const { accounts } = limits;
  const serve = ({ account, connection }: Client, request: CountedHttp1Request, response: CountedHttp1Response) => {
    const exchange = accounts.begin(account, request, response);
    request.exchange = exchange;
    response.exchange = exchange;
    // Emitted once; `once` would keep a function more for each response.
    response.on("close", () => {
      exchange?.end();
      connection?.end(response);
    });
    if (exchange !== undefined) {
      listener(request, response);
      return;
    }
    limits.onRefused("request");
    refuseRequest(response);
  };
  // Node checks its connections at intervals; a slow one is cut at the last check before its time is over.
  const connectionsCheckingInterval = Math.min(1_000, requestMs / 4);
  const withinMs = requestMs - connectionsCheckingInterval;
  const server = createServer(
    {
      headersTimeout: withinMs,
      requestTimeout: withinMs,
      keepAliveTimeout: idleMs,
      connectionsCheckingInterval,
      // A missing Host header is answered in the common error body instead.
      requireHostHeader: false,
      // Buffer of a socket, in either direction.
      highWaterMark: socketBytes,
      IncomingMessage: CountedHttp1Request as typeof IncomingMessage,
      ServerResponse: CountedHttp1Response as typeof ServerResponse,
    },
    (request, response) => {
      if (isEnding(request.socket)) return;
      if (request.headers.host === undefined && request.httpVersion === "1.1") {
        refuse(response, unservedRequests.host);
        return;
      }
      const client = http1Clients.get(request.socket) as Client;
      client.connection?.begin(request, response);
      serve(client, request as CountedHttp1Request, response as CountedHttp1Response);
    },
  );
  server.on("checkExpectation", (_request, response) => refuse(response, unservedRequests.expectation));
  server.on("connect", refuseTunnel);
  server.on("checkContinue", (request, response) => {
    awaitContinue(request, response);
    server.emit("request", request, response);
  });
  const http1Clients = new WeakMap<Socket, Client>();
  const http2Clients = new WeakMap<Http2Session, Client>();
  /** Account of the connection that is just becoming an HTTP/2 session. */
  let connecting: ConnectionAccount | undefined;
  const http2 = createHttp2Server(
    {
      settings: { maxConcurrentStreams: limits.streamsPerConnection, maxHeaderListSize: headerListBytes },
      Http2ServerRequest: CountedHttp2Request as typeof Http2ServerRequest,
      Http2ServerResponse: CountedHttp2Response,
    },
    (request, response) => {
      limitBody(request, requestMs);
      const { session } = request.stream;
      const client = session === undefined ? undefined : http2Clients.get(session);
      // A destroyed session leaves requests behind that have no reader.
      if (client === undefined) return;
      if (!request.stream.endAfterHeaders) endUnreadStream(request, response);
      // The compatibility classes, which the listener accepts as well.
      serve(client, request as unknown as CountedHttp1Request, response as unknown as CountedHttp1Response);
    },
  );
  http2.on("checkContinue", (request, response) => {
    awaitContinue(request as never, response as never);
    http2.emit("request", request, response);
  });
  http2.on("sessionError", () => {});
  const sessions = new Set<{ close(): void; destroy(): void }>();
  http2.on("session", (session) => {
    http2Clients.set(session, { account: connecting as ConnectionAccount, connection: undefined });
    sessions.add(session);
    const timer = setTimeout(() => session.destroy(), requestMs);
    session.once("remoteSettings", () => clearTimeout(timer));
    session.once("close", () => {
      clearTimeout(timer);
      sessions.delete(session);
    });
    // Graceful: requests in flight continue.
    session.setTimeout(idleMs, () => session.close());
  });

  const [serveHttp1] = server.listeners("connection") as ((socket: Socket) => void)[];
  server.removeAllListeners("connection");
  const keptConnections = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    keptConnections.add(socket);
    socket.on("close", () => keptConnections.delete(socket));
  });
  const undecided = sniff(server, requestMs, {
    open: (socket) => {
      const account = accounts.open(socket);
      if (account !== undefined) return account;
      limits.onRefused("connection");
      socket.on("error", () => {});
      socket.resetAndDestroy();
      return undefined;
    },
    http1: (socket, account) => {
      serveHttp1?.call(server, socket);
      http1Clients.set(socket, { account, connection: new PipelinedConnection(socket) });
    },
    http2: (socket, account) => {
      keptConnections.delete(socket);
      // As on an HTTP/2-only server: a client that closed its side has gone, and its calls end.
      socket.allowHalfOpen = false;
      connecting = account;
      http2.emit("connection", socket);
    },
  });

  // HTTP/2 sessions close like keep-alive connections: requests in flight may finish.
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
  return Object.assign(server, {
    keptConnections,
    stopListening() {
      // Bypasses the HTTP server's close, which would close idle connections that may have requests on their way.
      NetServer.prototype.close.call(server);
      for (const session of sessions) session.close();
    },
  });
}
