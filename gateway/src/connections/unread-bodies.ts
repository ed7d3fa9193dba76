import type { IncomingMessage, OutgoingHttpHeader, OutgoingHttpHeaders, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { constants } from "node:http2";
import { Socket } from "node:net";
import { awaitsContinue } from "../http/request-body.ts";
import { discard } from "./discarding.ts";
import { ServerResponse as Http1Response } from "./node-http.ts";

/** Maximum bytes read after a response so that its connection can be reused. */
const drainBytes = 65_536;
/** Time limit for reading such a rest, in milliseconds. */
const drainMs = 2_000;

/** Connections being closed, on which nothing is served any more. */
const closing = new WeakSet<Socket>();
/** Connections whose request has been answered but not fully received. */
const answered = new WeakSet<Socket>();

/** Connections whose last response has begun: it says that it is the last. */
const ending = new WeakSet<Socket>();

/**
 * Whether a connection serves no further request, since its client has been told that the response now sent is the
 * last: one that was begun nevertheless would take effect without a response. Anything the client still sends is
 * ignored.
 */
export function isEnding(socket: Socket): boolean {
  return ending.has(socket) || closing.has(socket);
}

/** Whether the connection's current request has been answered. */
export function hasAnswer(socket: Socket): boolean {
  return answered.has(socket) || closing.has(socket);
}

/**
 * Closes a connection whose client may still be sending: ends the sending side, then reads on without parsing. After an
 * immediate close, the system would answer further data with a reset, and a reset discards a response that the client
 * has not read.
 */
export function linger(socket: Socket): void {
  if (socket.destroyed || closing.has(socket)) return;
  closing.add(socket);
  // Bypasses the parser: a piece of a body costs it as much as a request.
  for (const event of ["data", "end", "timeout", "pause", "resume"]) socket.removeAllListeners(event);
  socket.end();
  discard(socket);
}

/** Reads the rest of a short body after its response, within `drainMs`. */
function drainBehind(request: IncomingMessage, socket: Socket): void {
  if (closing.has(socket) || socket.destroyed) return;
  if (request.complete) {
    socket.destroySoon = Socket.prototype.destroySoon;
    return;
  }
  if (request.destroyed) {
    linger(socket);
    return;
  }
  answered.add(socket);
  const timer = setTimeout(() => socket.destroy(), drainMs).unref();
  const done = () => {
    clearTimeout(timer);
    answered.delete(socket);
    socket.destroySoon = Socket.prototype.destroySoon;
  };
  request.once("close", done);
  request.resume();
}

/** Decides about the connection when a response begins before its request has ended. */
function settleUnread(response: ServerResponse): void {
  const { req: request } = response;
  const { headers, socket } = request;
  const length = headers["content-length"];
  const isChunked = headers["transfer-encoding"] !== undefined;
  if (!isChunked && (length === undefined || length === "0")) return;
  const isShort = !isChunked && Number(length) <= drainBytes && !awaitsContinue(request);
  // Node calls this after the last response of a connection, which may be the last for other reasons too.
  socket.destroySoon = () => linger(socket);
  if (isShort) response.once("finish", () => drainBehind(request, socket));
  else response.shouldKeepAlive = false;
}

type Fields = OutgoingHttpHeaders | OutgoingHttpHeader[] | undefined;

/** The fields without `connection`. */
function withoutConnection(fields: Fields): Fields {
  if (fields === undefined || Array.isArray(fields)) return fields;
  const { connection: _dropped, Connection: _alsoDropped, ...rest } = fields;
  return rest;
}

/** HTTP/1.1 responses that leave no unread body before the next request, and no request without its response. */
export class SettlingResponse extends Http1Response {
  /** A later request of the connection has been begun. */
  hasFollower = false;

  override writeHead(status: number, reason?: string | Fields, fields?: Fields): this {
    if (!this.req.complete) settleUnread(this);
    let given = typeof reason === "string" ? fields : reason;
    if (this.hasFollower) {
      // Its response is still to come, and closes the connection if that is due.
      this.shouldKeepAlive = true;
      this.removeHeader("connection");
      given = withoutConnection(given);
    }
    if (typeof reason === "string") super.writeHead(status, reason, given);
    else super.writeHead(status, given);
    // Node has found by now whether a header or the client asks for it.
    if ((this as ServerResponse & { _last?: boolean })._last) ending.add(this.req.socket);
    return this;
  }
}

/**
 * Ends an HTTP/2 stream after its response when the body was not read: RST_STREAM with NO_ERROR, as in RFC 9113 section
 * 8.1.
 */
export function endUnreadStream(request: Http2ServerRequest, response: Http2ServerResponse): void {
  response.once("finish", () => {
    // After the frames of the response.
    setImmediate(() => {
      if (!request.complete && !request.stream.destroyed) request.stream.close(constants.NGHTTP2_NO_ERROR);
    });
  });
}
