import { createHash } from "node:crypto";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { FastifyInstance } from "fastify";

const compress = promisify(gzip);
/** What is smaller gains nothing by compression, in bytes. */
const compressedFrom = 1_024;

/** A file that every client gets as it is. */
export interface StaticFile {
  readonly path: string;
  readonly type: string;
  readonly bytes: Buffer;
  /** Beside those of every answer. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** How long a client may use its copy before it asks whether there is another, in seconds. */
const freshSeconds = 60;

function takesGzip(accepted: string | undefined): boolean {
  return accepted !== undefined && /(?:^|,)\s*gzip\s*(?:;\s*q=(?:1|0?\.\d*[1-9]\d*)[\d.]*\s*)?(?:,|$)/i.test(accepted);
}

/** Whether a client has the file already: If-None-Match, weak comparison. */
function has(tags: string | undefined, tag: string): boolean {
  return tags?.split(",").some((one) => one.trim().replace(/^W\//, "") === tag) ?? false;
}

/**
 * Serves a file from memory: the same bytes for all, compressed once, so that neither descriptors nor memory grow with
 * those who ask, whether they read or not.
 */
export function serveFile(app: FastifyInstance, { path, type, bytes, headers = {} }: StaticFile): void {
  const hash = createHash("sha256").update(bytes).digest("base64url").slice(0, 22);
  let compressed: Promise<Buffer> | undefined;
  const common = {
    "content-type": type,
    "cache-control": `public, max-age=${freshSeconds}`,
    vary: "accept-encoding",
    ...headers,
  };
  app.get(path, async (request, reply) => {
    const isZipped = bytes.length >= compressedFrom && takesGzip(request.headers["accept-encoding"]);
    const tag = `"${hash}${isZipped ? "-gzip" : ""}"`;
    reply.headers(common).header("etag", tag);
    if (has(request.headers["if-none-match"], tag)) return reply.code(304).send();
    if (!isZipped) return reply.send(bytes);
    compressed ??= compress(bytes);
    return reply.header("content-encoding", "gzip").send(await compressed);
  });
}
