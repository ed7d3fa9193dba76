import { PassThrough, type Transform } from "node:stream";
import {
  constants,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createInflateRaw,
  createZstdDecompress,
} from "node:zlib";
import { ArrivingBody } from "./arriving-body.ts";

/** Encodings of one body: two at most, so that a chain of them costs nothing. */
const maxEncodings = 2;

/** An answer is in an encoding that is not read. */
export class UnknownEncoding extends Error {
  override readonly name = "UnknownEncoding";
}

// A body without its trailer is read as far as it goes: its own end (JSON, `[DONE]`) tells whether it is whole.
const zlibOptions = { flush: constants.Z_SYNC_FLUSH, finishFlush: constants.Z_SYNC_FLUSH };
const brotliOptions = { flush: constants.BROTLI_OPERATION_FLUSH, finishFlush: constants.BROTLI_OPERATION_FLUSH };
const zstdOptions = { flush: constants.ZSTD_e_flush, finishFlush: constants.ZSTD_e_flush };

/** Whether bytes begin like zlib's format; endpoints also send the bare format under the name "deflate". */
function isZlib(first: Buffer): boolean {
  const [method = 0, flags = 0] = first;
  return (method & 0x0f) === 8 && (first.length < 2 || (method * 256 + flags) % 31 === 0);
}

type MakeDecoder = (first: Buffer) => Transform;

// Proxies forget to take the header away when they decode.
const gunzip: MakeDecoder = (first) => (first[0] === 0x1f ? createGunzip(zlibOptions) : new PassThrough());
const unzstd: MakeDecoder = (first) => (first[0] === 0x28 ? createZstdDecompress(zstdOptions) : new PassThrough());

const decoders: Readonly<Record<string, MakeDecoder>> = {
  gzip: gunzip,
  "x-gzip": gunzip,
  deflate: (first) => (isZlib(first) ? createInflate(zlibOptions) : createInflateRaw(zlibOptions)),
  br: () => createBrotliDecompress(brotliOptions),
  zstd: unzstd,
};

/** The decoders for a header `content-encoding`, in the order in which they are applied. Throws UnknownEncoding. */
export function decodersOf(header: string | string[] | undefined): MakeDecoder[] {
  const names = String(header ?? "")
    .toLowerCase()
    .split(",", 10)
    .map((name) => name.trim())
    .filter((name) => name !== "" && name !== "identity" && name !== "none");
  if (names.length > maxEncodings) throw new UnknownEncoding("in too many encodings");
  return names.reverse().map((name) => {
    const make = Object.hasOwn(decoders, name) ? decoders[name] : undefined;
    if (make === undefined) throw new UnknownEncoding(`in the encoding ${JSON.stringify(name.slice(0, 40))}`);
    return make;
  });
}

/** Passes an encoded body through a decoder. Everything before a fault or the end of the connection is decoded. */
async function feed(encoded: ArrivingBody, make: MakeDecoder, open: (decoder: Transform) => void): Promise<Error | undefined> {
  let decoder: Transform | undefined;
  let failure: Error | undefined;
  try {
    for (let piece = await encoded.take(); piece !== undefined; piece = await encoded.take()) {
      if (decoder === undefined) {
        decoder = make(piece);
        open(decoder);
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      // Called when the decoder has passed on what the piece holds, or has failed.
      decoder.write(piece, () => resolve());
      decoder.once("close", resolve);
      await promise;
      decoder.off("close", resolve);
      if (decoder.destroyed) break;
    }
  } catch (error) {
    failure = error as Error;
  }
  if (decoder !== undefined && !decoder.destroyed) {
    const { promise, resolve } = Promise.withResolvers<void>();
    decoder.once("close", resolve);
    decoder.end();
    await promise;
  }
  return failure;
}

/** A decoded body: read like the encoded one. Its size is not that of the encoded one: readers must bound it. */
export function decodedBody(encoded: ArrivingBody, make: MakeDecoder): ArrivingBody {
  let decoder: Transform | undefined;
  let isPaused = false;
  let fault: Error | undefined;
  const plain = new ArrivingBody({
    get paused() {
      return isPaused;
    },
    pause() {
      isPaused = true;
      decoder?.pause();
    },
    resume() {
      isPaused = false;
      decoder?.resume();
    },
    abort(reason) {
      encoded.discard();
      decoder?.destroy();
      plain.end(reason);
    },
  });
  const open = (opened: Transform) => {
    decoder = opened;
    opened.on("data", (piece: Buffer) => plain.push(piece));
    opened.on("error", (error) => {
      fault = error;
    });
  };
  void feed(encoded, make, open).then((failure) => {
    if (fault !== undefined) encoded.discard();
    plain.end(fault ?? failure);
  });
  return plain;
}
