import { type IncomingMessage, type OutgoingHttpHeader, type OutgoingHttpHeaders, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { constants } from "node:http2";
import { Socket } from "node:net";
import { awaitsContinue } from "../http/request-body.ts";

/** The most that is read behind an answer so that its connection can be used again, in bytes. */
const drainBytes = 65_536;
/** How long the rest of such a body may take, in milliseconds. */
const drainMs = 2_000;
/**
 * What is read behind a last answer, so that a client that sends all of its body first still comes to read it, in
 * bytes; each costs a little. What comes after it waits with the system, which tells the client to wait as well.
 */
const lingerBytes = 524_288;
/** How long a connection is kept for its client to read the last answer, in milliseconds. */
const lingerMs = 5_000;

/** Connections that we close, on which nothing is served any more. */
const closing = new WeakSet<Socket>();
/** Connections whose request has its answer, and not yet its end. */
const answered = new WeakSet<Socket>();

/** Whether a connection is being closed behind an answer: what a client sends on it now is not served. */
export function isClosing(socket: Socket): boolean {
  return closing.has(socket);
}

/** Whether the request that a connection is busy with has its answer already. */
export function hasAnswer(socket: Socket): boolean {
  return answered.has(socket) || closing.has(socket);
}

/**
 * Closes a connection whose client may still be sending: says that we send no more, then reads on without parsing.
 * Closed at once, the system would answer what still comes with a reset, and a reset takes the answer from a client
 * that has not read it.
 */
export function linger(socket: Socket): void {
  if (socket.destroyed) return;
  closing.add(socket);
  let left = lingerBytes;
  const cut = () => socket.destroy();
  const timer = setTimeout(cut, lingerMs).unref();
  socket.once("close", () => clearTimeout(timer));
  // Not the parser any more: a piece of a body costs it as much as a request.
  for (const event of ["data", "end", "timeout", "pause", "resume"]) socket.removeAllListeners(event);
  socket.on("data", (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) socket.pause();
  });
  socket.once("end", cut);
  socket.end();
  socket.resume();
}

/** Reads the rest of a short body behind its answer, for so long. */
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

/** Decides, when an answer begins before the end of its request, what becomes of the connection. */
function settleUnread(response: ServerResponse): void {
  const { req: request } = response;
  const { headers, socket } = request;
  const length = headers["content-length"];
  const isChunked = headers["transfer-encoding"] !== undefined;
  if (!isChunked && (length === undefined || length === "0")) return;
  const isShort = !isChunked && Number(length) <= drainBytes && !awaitsContinue(request);
  // What Node calls behind the last response of a connection; a response may be that for other reasons too.
  socket.destroySoon = () => linger(socket);
  if (isShort) response.once("finish", () => drainBehind(request, socket));
  else response.shouldKeepAlive = false;
}

/** Responses of HTTP/1.1 that leave no unread body in front of the next request. */
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
 * Ends a stream of HTTP/2 behind its answer when its body was not read: RST_STREAM with NO_ERROR, as RFC 9113 8.1 has
 * it.
 */
export function endUnreadStream(request: Http2ServerRequest, response: Http2ServerResponse): void {
  response.once("finish", () => {
    // After the frames of the answer.
    setImmediate(() => {
      if (!request.complete && !request.stream.destroyed) request.stream.close(constants.NGHTTP2_NO_ERROR);
    });
  });
}
