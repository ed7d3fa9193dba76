import type { IncomingMessage, ServerResponse } from "node:http";
import { ErrorReason, fail } from "@turnwright/platform/errors";

/**
 * Number of small pieces a client may send before it counts as sending its body in crumbs: each piece costs as much as
 * a large one.
 */
const freePieces = 1_000;
const bytesPerPiece = 64;
const firstBytes = 16_384;
const noBytes = Buffer.alloc(0);

const waiting = new WeakMap<IncomingMessage, ServerResponse>();

/** Records that a client waits for `100 Continue` before it sends its body; it is sent when the body is read. */
export function awaitContinue(request: IncomingMessage, response: ServerResponse): void {
  waiting.set(request, response);
}

/** Whether a client still waits for `100 Continue`. */
export function awaitsContinue(request: IncomingMessage): boolean {
  return request.headers.expect !== undefined && waiting.has(request);
}

function sendContinue(request: IncomingMessage): void {
  if (request.headers.expect === undefined) return;
  waiting.get(request)?.writeContinue();
  waiting.delete(request);
}

function tooLarge(): Error {
  return fail(ErrorReason.TOO_LARGE, "The body is larger than this server accepts.");
}

/** Collects the pieces of a body. Memory grows with the received bytes, never with the announced length. */
class Collector {
  readonly #limit: number;
  #held: Buffer = noBytes;
  #size = 0;
  #pieces = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(piece: Buffer): void {
    const size = this.#size + piece.length;
    if (size > this.#limit) throw tooLarge();
    this.#pieces += 1;
    if (this.#pieces > freePieces + size / bytesPerPiece) {
      throw fail(ErrorReason.INVALID_REQUEST, "body: arrives in too many small pieces", { param: "body" });
    }
    // Nearly every body is one piece; copied, so that it does not keep the connection's read buffer alive.
    if (this.#size === 0) this.#held = Buffer.from(piece);
    else {
      if (size > this.#held.length) {
        const grown = Buffer.allocUnsafe(Math.min(Math.max(firstBytes, size, this.#held.length * 2), this.#limit));
        this.#held.copy(grown, 0, 0, this.#size);
        this.#held = grown;
      }
      piece.copy(this.#held, this.#size);
    }
    this.#size = size;
  }

  get bytes(): Buffer {
    return this.#held.subarray(0, this.#size);
  }
}

/**
 * Reads a request's body to its end. Throws TOO_LARGE for more than `limit` bytes, before reading if the client
 * announces more. The rest of a refused body is left to the connection.
 */
export function readBody(request: IncomingMessage, limit: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    if (Number(request.headers["content-length"]) > limit) return reject(tooLarge());
    const collector = new Collector(limit);
    const stop = () => {
      request.off("data", onData);
      request.off("end", onEnd);
      request.off("error", onGone);
      request.off("close", onGone);
    };
    const onData = (piece: Buffer) => {
      try {
        collector.add(piece);
      } catch (error) {
        stop();
        // Further data is discarded until the connection closes or can be reused.
        request.on("error", () => {});
        request.resume();
        reject(error);
      }
    };
    const onEnd = () => {
      // All listeners: the request lives until its response has ended, and one that is left would hold the body.
      stop();
      resolve(collector.bytes);
    };
    const onGone = () => {
      stop();
      reject(fail(ErrorReason.CANCELLED, "The client disconnected before its request was complete."));
    };
    request.on("data", onData);
    request.once("end", onEnd);
    request.once("error", onGone);
    request.once("close", onGone);
    sendContinue(request);
  });
}
