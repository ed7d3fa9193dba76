import { type IncomingMessage, type OutgoingHttpHeader, type OutgoingHttpHeaders, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { constants } from "node:http2";
import { Socket } from "node:net";
import { awaitsContinue } from "../http/request-body.ts";
import { discard } from "./discarding.ts";

/** Maximum bytes read after a response so that its connection can be reused. */
const drainBytes = 65_536;
/** Time limit for reading such a rest, in milliseconds. */
const drainMs = 2_000;

/** Connections being closed, on which nothing is served any more. */
const closing = new WeakSet<Socket>();
/** Connections whose request has been answered but not fully received. */
const answered = new WeakSet<Socket>();

/** Whether a connection is being closed after a response; anything the client still sends is ignored. */
export function isClosing(socket: Socket): boolean {
  return closing.has(socket);
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

/** HTTP/1.1 responses that leave no unread body before the next request. */
export class SettlingResponse extends ServerResponse {
  override writeHead(
    status: number,
    reason?: string | OutgoingHttpHeaders | OutgoingHttpHeader[],
    headers?: OutgoingHttpHeaders | OutgoingHttpHeader[],
  ): this {
    if (!this.req.complete) settleUnread(this);
    return typeof reason === "string" ? super.writeHead(status, reason, headers) : super.writeHead(status, reason);
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
