import { promisify } from "node:util";
import { brotliDecompress, gunzip } from "node:zlib";
import type { Compression } from "@connectrpc/connect/protocol";
import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";
import { ErrorReason, fail } from "@turnwright/platform/errors";

/** What is unpacked at the same time: more than Node has threads for would only hold memory. */
const maxAtOnce = 4;

/**
 * The encodings of messages that are taken and given. What comes in is unpacked by `decompress`, before Connect sees
 * it.
 */
export const compressions: Compression[] = [compressionGzip, compressionBrotli];

type Unpack = (packed: Uint8Array, options: { maxOutputLength: number }) => Promise<Buffer>;

const unpackers: Readonly<Record<string, Unpack>> = { gzip: promisify(gunzip), br: promisify(brotliDecompress) };

/** Whether messages may come in this encoding. A chain of encodings is none. */
export function isKnownEncoding(name: string): boolean {
  return Object.hasOwn(unpackers, name);
}

let running = 0;
const queue: (() => void)[] = [];

async function turn(): Promise<void> {
  if (running < maxAtOnce) running += 1;
  else await new Promise<void>((resolve) => queue.push(resolve));
}

function pass(): void {
  const next = queue.shift();
  if (next === undefined) running -= 1;
  else next();
}

/**
 * Unpacks a message. Throws TOO_LARGE when it is larger than `limit` bytes then, INVALID_REQUEST when it is not in this
 * encoding.
 */
export async function decompress(name: string, packed: Uint8Array, limit: number): Promise<Uint8Array> {
  if (packed.byteLength === 0) return packed;
  const unpack = unpackers[name];
  if (unpack === undefined) throw fail(ErrorReason.INVALID_REQUEST, `body: the encoding ${name} is not known`, { param: "body" });
  await turn();
  try {
    return await unpack(packed, { maxOutputLength: limit });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") {
      throw fail(ErrorReason.TOO_LARGE, "The body is larger than this server accepts when it is unpacked.");
    }
    throw fail(ErrorReason.INVALID_REQUEST, `body: not valid ${name}`, { param: "body", cause: error });
  } finally {
    pass();
  }
}
