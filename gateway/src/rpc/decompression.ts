import { promisify } from "node:util";
import { brotliCompress, brotliDecompress, gunzip, gzip } from "node:zlib";
import type { Compression } from "@connectrpc/connect/protocol";
import { ErrorReason, fail } from "@turnwright/platform/errors";

/** Maximum number of concurrent decompressions: more than Node's threads would only hold memory. */
const maxAtOnce = 4;

type Pack = (plain: Uint8Array) => Promise<Buffer>;

/** An encoding for Connect, which only compresses: incoming messages are plain before Connect sees them. */
const encoding = (name: string, pack: Pack): Compression => ({
  name,
  compress: async (bytes) => new Uint8Array(await pack(bytes)),
  decompress: async (bytes, limit) => new Uint8Array(await decompress(name, bytes, limit)),
});

/** The supported message encodings, without connect-node's, which would load its clients. */
export const compressions: Compression[] = [
  encoding("gzip", promisify<Uint8Array, Buffer>(gzip)),
  encoding("br", promisify<Uint8Array, Buffer>(brotliCompress)),
];

type Unpack = (packed: Uint8Array, options: { maxOutputLength: number }) => Promise<Buffer>;

const unpackers: Readonly<Record<string, Unpack>> = { gzip: promisify(gunzip), br: promisify(brotliDecompress) };

/** Whether messages may use this encoding. Chains of encodings are not supported. */
export function isKnownEncoding(name: string): boolean {
  return Object.hasOwn(unpackers, name);
}

let running = 0;
const queue: (() => void)[] = [];

async function takeSlot(): Promise<void> {
  if (running < maxAtOnce) running += 1;
  else await new Promise<void>((resolve) => queue.push(resolve));
}

function releaseSlot(): void {
  const next = queue.shift();
  if (next === undefined) running -= 1;
  else next();
}

/**
 * Decompresses a message. Throws TOO_LARGE when the result exceeds `limit` bytes, INVALID_REQUEST when the data is not
 * in this encoding.
 */
export async function decompress(name: string, packed: Uint8Array, limit: number): Promise<Uint8Array> {
  if (packed.byteLength === 0) return packed;
  const unpack = unpackers[name];
  if (unpack === undefined) throw fail(ErrorReason.INVALID_REQUEST, `body: unknown encoding ${name}`, { param: "body" });
  await takeSlot();
  try {
    return await unpack(packed, { maxOutputLength: limit });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") {
      throw fail(ErrorReason.TOO_LARGE, "The decompressed body is larger than this server accepts.");
    }
    throw fail(ErrorReason.INVALID_REQUEST, `body: not valid ${name}`, { param: "body", cause: error });
  } finally {
    releaseSlot();
  }
}
