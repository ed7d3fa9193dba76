import type { Dispatcher, Pool } from "undici";

/** What is sent. */
export interface ExchangeRequest {
  readonly path: string;
  readonly method: "GET" | "POST";
  readonly headers: Record<string, string>;
  readonly body?: Uint8Array;
}

/** A response whose head is here and whose body comes. Read it by `bytes` or `pieces`, once. */
export interface ExchangeResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** The whole body; rejects when it breaks off or grows beyond `limit` bytes. */
  bytes(limit?: number): Promise<Buffer>;
  /**
   * The body as it comes. A reader that does not read holds the connection back; one that stops closes it. An error is thrown as
   * `explain` puts it.
   */
  pieces(explain: (error: Error) => unknown): AsyncIterable<Buffer>;
  /** Gives the body up. */
  discard(): void;
}

/** What may wait for the reader, beside the one piece that is larger: a connection gives up to 64 KiB at once. */
const highWaterBytes = 16_384;
/** The most that is handed on at once. */
const maxPieceBytes = 16_384;

function noop(): void {}

/** Holds what has come of a body until somebody asks for it. */
class Body {
  #pieces: Buffer[] = [];
  #held = 0;
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
    if (this.#held > highWaterBytes) this.#controller.pause();
    this.#wake();
  }

  end(error?: Error): void {
    this.#ended = true;
    this.#error = error;
    this.#wake();
  }

  /** All that has come since the last time; undefined at the end. Only who comes for more lets the connection go on. */
  async take(): Promise<Buffer | undefined> {
    while (this.#pieces.length === 0) {
      if (this.#error !== undefined) throw this.#error;
      if (this.#ended) return undefined;
      this.#held = 0;
      if (this.#controller.paused) this.#controller.resume();
      // The connection may have had something at once.
      if (this.#pieces.length > 0 || this.#ended) continue;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const [first, ...others] = this.#pieces;
    this.#pieces = [];
    const taken = others.length === 0 ? (first as Buffer) : Buffer.concat([first as Buffer, ...others]);
    // Until he comes for more, it is still ours to hold.
    this.#held = taken.length;
    return taken;
  }

  async bytes(limit: number): Promise<Buffer> {
    const all: Buffer[] = [];
    let length = 0;
    for (let taken = await this.take(); taken !== undefined; taken = await this.take()) {
      all.push(taken);
      length += taken.length;
      if (length > limit) this.discard();
      if (length > limit) throw new Error("The body is larger than expected.");
    }
    return all.length === 1 ? (all[0] as Buffer) : Buffer.concat(all);
  }

  async *pieces(explain: (error: Error) => unknown): AsyncGenerator<Buffer> {
    try {
      // What came in one go leaves in one go, unless it is so much that what is made of it would weigh on who waits for a slow reader.
      for (let taken = await this.take(); taken !== undefined; taken = await this.take()) {
        for (let from = 0; from < taken.length; from += maxPieceBytes) yield taken.subarray(from, from + maxPieceBytes);
      }
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
 * Sends a request on a pool and resolves with the head of its response. Works on undici's dispatch, without a stream object for each
 * body: a completion costs little more than its bytes. The signal closes the connection, before the head and after.
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
        },
        onResponseStart(opened, status, headers) {
          if (status < 200) return;
          const arriving = new Body(opened);
          body = arriving;
          resolve({
            status,
            headers,
            bytes: (limit = maxBodyBytes) => arriving.bytes(limit),
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
