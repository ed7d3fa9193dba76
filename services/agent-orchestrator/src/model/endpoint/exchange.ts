import type { Dispatcher, Pool } from "undici";

/** A request to the model's endpoint. */
export interface ExchangeRequest {
  readonly path: string;
  readonly method: "GET" | "POST";
  readonly headers: Record<string, string>;
  readonly body?: Uint8Array;
  /** Called when a connection takes the request. */
  readonly onSent?: () => void;
}

/** A response whose head has arrived and whose body follows. Read it once, by `bytes` or by `pieces`. */
export interface ExchangeResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /**
   * The whole body; `onBytes` is told the size of each piece. Rejects when the body breaks off or grows beyond `limit`
   * bytes.
   */
  bytes(limit?: number, onBytes?: (bytes: number) => void): Promise<Buffer>;
  /**
   * The body as it arrives. A reader that pauses holds the connection back; one that stops closes it. An error is
   * thrown as `explain` returns it.
   */
  pieces(explain: (error: Error) => unknown): AsyncIterable<Buffer>;
  /** Drops the body and closes the connection. */
  discard(): void;
}

/** Bytes that may wait for the reader before the connection is paused, besides the data of one read: some 64 KiB. */
const highWaterBytes = 16_384;
/**
 * Bytes after which the connection is paused in the middle of parsing: more than it reads at a time, so that it does
 * not fall behind.
 */
const mostBytes = 65_536;
/** The largest piece, in bytes. */
const maxPieceBytes = 8_192;

function noop(): void {}

/** Holds the arrived part of a body until the reader takes it. */
class Body {
  #pieces: Buffer[] = [];
  #held = 0;
  #isPausing = false;
  #ended = false;
  #error: Error | undefined;
  #wake: () => void = noop;
  readonly #controller: Dispatcher.DispatchController;

  constructor(controller: Dispatcher.DispatchController) {
    this.#controller = controller;
  }

  push(piece: Buffer): void {
    this.#pieces.push(piece);
    this.#held += piece.length;
    if (this.#held > mostBytes) this.#controller.pause();
    else if (this.#held > highWaterBytes && !this.#isPausing) {
      this.#isPausing = true;
      queueMicrotask(this.#pause);
    }
    this.#wake();
  }

  /**
   * Runs when everything that was read is parsed. Paused in the middle, undici puts the rest back in front of the
   * socket's next read, and takes all of it out again at the next piece; the socket's buffer then grows with each read.
   */
  readonly #pause = () => {
    this.#isPausing = false;
    if (this.#held > highWaterBytes) this.#controller.pause();
  };

  end(error?: Error): void {
    this.#ended = true;
    this.#error = error;
    this.#wake();
  }

  /**
   * The data that has arrived since the last call, up to `maxPieceBytes`; undefined at the end. The connection goes on
   * only when everything was taken.
   */
  async take(): Promise<Buffer | undefined> {
    while (this.#pieces.length === 0) {
      if (this.#error !== undefined) throw this.#error;
      if (this.#ended) return undefined;
      this.#held = 0;
      if (this.#controller.paused) this.#controller.resume();
      // Resuming may have delivered data at once.
      if (this.#pieces.length > 0 || this.#ended) continue;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#shift();
  }

  /**
   * Pieces that arrived together are passed on together, up to `maxPieceBytes`: larger ones would take too much memory
   * while a slow reader is served.
   */
  #shift(): Buffer {
    const [first] = this.#pieces as [Buffer];
    if (first.length > maxPieceBytes) {
      this.#pieces[0] = first.subarray(maxPieceBytes);
      return first.subarray(0, maxPieceBytes);
    }
    let length = first.length;
    let count = 1;
    for (; count < this.#pieces.length; count++) {
      const more = (this.#pieces[count] as Buffer).length;
      if (length + more > maxPieceBytes) break;
      length += more;
    }
    const taken = this.#pieces.splice(0, count);
    return count === 1 ? first : Buffer.concat(taken, length);
  }

  async bytes(limit: number, onBytes?: (bytes: number) => void): Promise<Buffer> {
    const all: Buffer[] = [];
    let length = 0;
    for (let taken = await this.take(); taken !== undefined; taken = await this.take()) {
      all.push(taken);
      length += taken.length;
      onBytes?.(taken.length);
      if (length > limit) this.discard();
      if (length > limit) throw new Error("The body is larger than expected.");
    }
    return all.length === 1 ? (all[0] as Buffer) : Buffer.concat(all);
  }

  async *pieces(explain: (error: Error) => unknown): AsyncGenerator<Buffer> {
    try {
      for (let taken = await this.take(); taken !== undefined; taken = await this.take()) yield taken;
    } catch (error) {
      throw explain(error as Error);
    } finally {
      this.discard();
    }
  }

  discard(): void {
    if (!this.#ended) this.#controller.abort(new Error("The reader stopped."));
  }
}

const maxBodyBytes = 64 * 1024 * 1024;

/**
 * Sends a request on a pool and resolves with the head of its response. Built on undici's dispatch, without a stream
 * object for each body: a completion costs little more than its bytes. The signal closes the connection, before the
 * head and after it.
 */
export function exchange(pool: Pool, request: ExchangeRequest, signal: AbortSignal): Promise<ExchangeResponse> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    let controller: Dispatcher.DispatchController | undefined;
    let body: Body | undefined;
    const onAbort = () => {
      controller?.abort(signal.reason);
      reject(signal.reason);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    const settled = (error?: Error) => {
      signal.removeEventListener("abort", onAbort);
      body?.end(error);
    };
    pool.dispatch(
      { path: request.path, method: request.method, headers: request.headers, body: (request.body ?? null) as Buffer | null },
      {
        onRequestStart(opened) {
          controller = opened;
          if (signal.aborted) opened.abort(signal.reason);
          else request.onSent?.();
        },
        onResponseStart(opened, status, headers) {
          if (status < 200) return;
          const arriving = new Body(opened);
          body = arriving;
          resolve({
            status,
            headers,
            bytes: (limit = maxBodyBytes, onBytes) => arriving.bytes(limit, onBytes),
            pieces: (explain) => arriving.pieces(explain),
            discard: () => arriving.discard(),
          });
        },
        onResponseData: (_opened, piece) => body?.push(piece),
        onResponseEnd: () => settled(),
        onResponseError(_opened, error) {
          settled(error);
          reject(error);
        },
      },
    );
  });
}
