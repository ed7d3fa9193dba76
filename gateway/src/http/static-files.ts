import { createHash } from "node:crypto";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { FastifyInstance } from "fastify";

const compress = promisify(gzip);
/** Smallest file worth compressing, in bytes. */
const compressedFrom = 1_024;

/** A file served unchanged to every client. */
export interface StaticFile {
  readonly path: string;
  readonly type: string;
  /** A function is called at the first request: a file that nobody asks for costs no time and no memory. */
  readonly bytes: Buffer | (() => Buffer);
  /** In addition to those of every response. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Seconds for which a client may use its copy before it revalidates. */
const freshSeconds = 60;

/** Whether a client takes gzip, by its Accept-Encoding header. */
export function takesGzip(accepted: string | undefined): boolean {
  return accepted !== undefined && /(?:^|,)\s*gzip\s*(?:;\s*q=(?:1|0?\.\d*[1-9]\d*)[\d.]*\s*)?(?:,|$)/i.test(accepted);
}

/** Whether the client already has the file: If-None-Match, weak comparison. */
function has(tags: string | undefined, tag: string): boolean {
  return tags?.split(",").some((one) => one.trim().replace(/^W\//, "") === tag) ?? false;
}

/**
 * Serves a file from memory: the same bytes for all clients, compressed once, so that neither descriptors nor memory
 * grow with the number of clients, whether they read or not.
 */
export function serveFile(app: FastifyInstance, { path, type, bytes: given, headers = {} }: StaticFile): void {
  let file: { readonly bytes: Buffer; readonly hash: string } | undefined;
  const read = () => {
    const bytes = typeof given === "function" ? given() : given;
    return { bytes, hash: createHash("sha256").update(bytes).digest("base64url").slice(0, 22) };
  };
  let compressed: Promise<Buffer> | undefined;
  const common = {
    "content-type": type,
    "cache-control": `public, max-age=${freshSeconds}`,
    vary: "accept-encoding",
    ...headers,
  };
  app.get(path, async (request, reply) => {
    file ??= read();
    const { bytes, hash } = file;
    const isZipped = bytes.length >= compressedFrom && takesGzip(request.headers["accept-encoding"]);
    const tag = `"${hash}${isZipped ? "-gzip" : ""}"`;
    reply.headers(common).header("etag", tag);
    if (has(request.headers["if-none-match"], tag)) return reply.code(304).send();
    if (!isZipped) return reply.send(bytes);
    compressed ??= compress(bytes);
    return reply.header("content-encoding", "gzip").send(await compressed);
  });
}
