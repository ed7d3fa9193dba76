import { Code } from "@connectrpc/connect";
import type { FastifyReply, FastifyRequest } from "fastify";
import { answerHeaders } from "./answer-headers.ts";

/** Whether a client speaks gRPC or gRPC-Web, whatever serves its path. */
function speaksGrpc({ headers }: FastifyRequest): boolean {
  return /^application\/grpc(?:-web|-web-text)?(?:$|[+;\s])/i.test(headers["content-type"] ?? "");
}

/** Encodes a status message as gRPC does: printable ASCII stays, but for the percent sign. */
export function percentEncoded(message: string): string {
  return message.toWellFormed().replaceAll(/[^\x20-\x24\x26-\x7e]/gu, encodeURIComponent);
}

/**
 * Refuses a gRPC or gRPC-Web request on a path that serves no RPC, for whatever reason it fails there: with a response
 * of trailers alone and UNIMPLEMENTED, since such clients read neither the HTTP status nor a body. Returns whether the
 * request was one.
 */
export function refuseGrpc(request: FastifyRequest, reply: FastifyReply): boolean {
  if (!speaksGrpc(request)) return false;
  reply.hijack();
  const { raw } = reply;
  raw.statusCode = 200;
  for (const [name, value] of Object.entries({ ...answerHeaders, ...reply.getHeaders() })) {
    if (value !== undefined && name !== "connection") raw.setHeader(name, value);
  }
  raw.setHeader("content-type", request.headers["content-type"] ?? "application/grpc");
  raw.setHeader("grpc-status", String(Code.Unimplemented));
  raw.setHeader("grpc-message", percentEncoded(`No RPC is served at ${request.url.split("?", 1)[0]}.`));
  // Headers and end in one frame: gRPC knows trailers by it.
  raw.end();
  return true;
}
