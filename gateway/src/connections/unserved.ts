import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { ConnectionError } from "fastify";
import { answerHeaders } from "../http/answer-headers.ts";
import { restError } from "../http/error-body.ts";
import { hasAnswer, linger } from "./unread-bodies.ts";

const commonHeaders = Object.entries(answerHeaders)
  .map(([name, value]) => `${name}: ${value}\r\n`)
  .join("");

const servedMethods = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT";
const noRequest = { status: "400 Bad Request", error: fail(ErrorReason.INVALID_REQUEST, "This is not an HTTP request.") };
/** The start of a request line whose method Node's parser does not know. */
const methodShape = /^[A-Za-z][\w!#$%&'*+.^`|~-]{0,31}(?: |$)/;

/** Whether the bytes at which the parser stopped begin a request, if of an unknown method. */
function isRequestLine({ rawPacket, bytesParsed }: ConnectionError): boolean {
  const packet = rawPacket as unknown as Buffer | undefined;
  if (packet === undefined) return false;
  const lineStart = bytesParsed === 0 ? 0 : packet.lastIndexOf(10, bytesParsed - 1) + 1;
  return methodShape.test(packet.toString("latin1", lineStart, lineStart + 40));
}

function answerOf(failure: ConnectionError): { status: string; error: Error; allow?: string } {
  switch (failure.code) {
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return {
        status: "408 Request Timeout",
        error: fail(ErrorReason.DEADLINE_EXCEEDED, "The request took too long to arrive."),
      };
    case "HPE_HEADER_OVERFLOW":
      return { status: "431 Request Header Fields Too Large", error: fail(ErrorReason.TOO_LARGE, "The headers are too large.") };
    case "HPE_INVALID_METHOD":
      if (!isRequestLine(failure)) return noRequest;
      return {
        status: "405 Method Not Allowed",
        error: fail(ErrorReason.METHOD_NOT_ALLOWED, "No path serves this method."),
        allow: servedMethods,
      };
    default:
      return noRequest;
  }
}

/** Requests whose demands on the connection are not supported: status, and the error for the common body. */
export const unservedRequests = {
  expectation: [417, fail(ErrorReason.INVALID_REQUEST, "The only supported expectation is 100-continue.")],
  host: [400, fail(ErrorReason.INVALID_REQUEST, "The Host header is missing.")],
} as const;

/** Refuses an HTTP/1.1 request before it reaches a route, and closes its connection. */
export function refuse(response: ServerResponse, [status, error]: readonly [number, Error]): void {
  const body = JSON.stringify(restError(error).body);
  const { socket } = response.req;
  response.shouldKeepAlive = false;
  socket.destroySoon = () => linger(socket);
  const headers = { "content-type": "application/json; charset=utf-8", "content-length": Buffer.byteLength(body) };
  response.writeHead(status, { ...answerHeaders, ...headers });
  response.end(body);
}

/** Refuses a CONNECT request, with which Node hands over the connection. */
export function refuseTunnel(_request: unknown, stream: Duplex): void {
  const socket = stream as Socket;
  const body = JSON.stringify(restError(fail(ErrorReason.METHOD_NOT_ALLOWED, "CONNECT is not served here.")).body);
  socket.on("error", () => {});
  socket.write(rawAnswer("405 Method Not Allowed", body, servedMethods));
  linger(socket);
}

function rawAnswer(status: string, body: string, allow?: string): string {
  return (
    `HTTP/1.1 ${status}\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(body)}\r\n` +
    `${commonHeaders}${allow === undefined ? "" : `allow: ${allow}\r\n`}connection: close\r\n\r\n${body}`
  );
}

/**
 * Answers bytes that are not a request, or a request that arrived too slowly, in the common error body; then closes the
 * connection.
 */
export function answerUnparsable(error: ConnectionError, socket: Socket): void {
  const { _httpMessage: current } = socket as Socket & { _httpMessage?: ServerResponse };
  const isBegun = current?.headersSent === true;
  // A response in progress must not be mixed with another; one that is complete is still delivered.
  if (error.code === "ECONNRESET" || !socket.writable || (isBegun && !current.writableEnded)) {
    socket.destroy(error);
    return;
  }
  if (!isBegun && !hasAnswer(socket)) {
    const { status, error: refusal, allow } = answerOf(error);
    socket.write(rawAnswer(status, JSON.stringify(restError(refusal).body), allow));
  }
  linger(socket);
}
