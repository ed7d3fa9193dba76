import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { readBody } from "./request-body.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** Largest body of the route, in bytes. */
    bodyBytes?: number;
  }
}

function unsupported({ headers }: FastifyRequest): Error | undefined {
  const encoding = headers["content-encoding"];
  if (encoding === undefined || encoding === "" || encoding === "identity") return undefined;
  return fail(ErrorReason.UNSUPPORTED_MEDIA_TYPE, `Send the body uncompressed: the encoding ${encoding} is not supported here.`, {
    param: "Content-Encoding",
  });
}

/**
 * Makes the routes of a plugin accept JSON bodies of these content types, as bytes, and no others. Compressed bodies
 * are refused: clients of these surfaces send none, and decompression would cost memory.
 */
export function takeJsonBodies(app: FastifyInstance, contentTypes: RegExp): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(contentTypes, async (request: FastifyRequest) => {
    const refusal = unsupported(request);
    if (refusal !== undefined) throw refusal;
    return readBody(request.raw, request.routeOptions.config.bodyBytes ?? 0);
  });
  app.addContentTypeParser("*", async ({ headers }: FastifyRequest) => {
    // fetch and curl send a content type even with an empty body; only an actual body must be JSON.
    if (headers["content-length"] === "0") return undefined;
    throw fail(ErrorReason.UNSUPPORTED_MEDIA_TYPE, "Send the body as application/json.");
  });
}
