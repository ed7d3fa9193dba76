import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { ConnectionError } from "fastify";
import { answerHeaders } from "./answer-headers.ts";
import { restError } from "./error-body.ts";

const commonHeaders = Object.entries(answerHeaders)
  .map(([name, value]) => `${name}: ${value}\r\n`)
  .join("");

function answerOf(code: string): { status: string; error: Error } {
  switch (code) {
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return {
        status: "408 Request Timeout",
        error: fail(ErrorReason.DEADLINE_EXCEEDED, "The request took too long to arrive."),
      };
    case "HPE_HEADER_OVERFLOW":
      return { status: "431 Request Header Fields Too Large", error: fail(ErrorReason.TOO_LARGE, "The headers are too large.") };
    default:
      return { status: "400 Bad Request", error: fail(ErrorReason.INVALID_REQUEST, "This is not an HTTP request.") };
  }
}

/** Answers bytes on a connection that are no request, or one that came too slowly, in the common error body; then cuts it. */
export function answerUnparsable(error: ConnectionError, socket: Socket): void {
  // A response that has begun must not be mixed with another.
  const { _httpMessage: current } = socket as Socket & { _httpMessage?: ServerResponse };
  if (error.code !== "ECONNRESET" && socket.writable && current?.headersSent !== true) {
    const answer = answerOf(error.code);
    const body = JSON.stringify(restError(answer.error).body);
    socket.write(
      `HTTP/1.1 ${answer.status}\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(body)}\r\n` +
        `${commonHeaders}connection: close\r\n\r\n${body}`,
    );
  }
  socket.destroy(error);
}
