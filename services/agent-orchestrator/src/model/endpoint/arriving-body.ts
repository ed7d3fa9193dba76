/** The side from which a body arrives. */
export interface BodySource {
  readonly paused: boolean;
  pause(): void;
  resume(): void;
  abort(reason: Error): void;
}

/** A body is larger than allowed. */
export class TooLarge extends Error {
  override readonly name = "TooLarge";
  /** The most bytes. */
  readonly limit: number;

  constructor(limit: number) {
    super(`The body is larger than ${limit} bytes.`);
    this.limit = limit;
  }
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

function nothing(): void {}

/** Holds the arrived part of a body until the reader takes it. */
export class ArrivingBody {
  #pieces: Buffer[] = [];
  #held = 0;
  #isPausing = false;
  #ended = false;
  #error: Error | undefined;
  #wake: () => void = nothing;
  #leaving: NodeJS.Timeout | undefined;
  readonly #controller: BodySource;

  constructor(controller: BodySource) {
    this.#controller = controller;
  }

  /** Adds a piece. */
  push(piece: Buffer): void {
    if (this.#leaving !== undefined) return;
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

  /** Ends the body; an error is thrown to the reader after everything that has arrived. */
  end(error?: Error): void {
    if (this.#ended) return;
    clearTimeout(this.#leaving);
    this.#ended = true;
    this.#error = error;
    this.#wake();
  }

  /**
   * Resolves with whether the body has a byte, once that is known. Rejects when it breaks off before its first byte.
   */
  async begins(): Promise<boolean> {
    while (this.#pieces.length === 0 && !this.#ended) await this.#more();
    if (this.#pieces.length === 0 && this.#error !== undefined) throw this.#error;
    return this.#pieces.length > 0;
  }

  /** Resolves when data has arrived or the body has ended. */
  async #more(): Promise<void> {
    this.#held = 0;
    if (this.#controller.paused) this.#controller.resume();
    // Resuming may have delivered data at once.
    if (this.#pieces.length > 0 || this.#ended) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }

  /**
   * The data that has arrived since the last call, up to `maxPieceBytes`; undefined at the end. The connection goes on
   * only when everything was taken.
   */
  async take(): Promise<Buffer | undefined> {
    while (this.#pieces.length === 0) {
      if (this.#error !== undefined) throw this.#error;
      if (this.#ended) return undefined;
      await this.#more();
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

  /** The whole body; `onBytes` is told the size of each piece. Rejects with a TooLarge beyond `limit` bytes. */
  async bytes(limit: number, onBytes?: (bytes: number) => void): Promise<Buffer> {
    const all: Buffer[] = [];
    let length = 0;
    for (let taken = await this.take(); taken !== undefined; taken = await this.take()) {
      all.push(taken);
      length += taken.length;
      onBytes?.(taken.length);
      if (length > limit) this.discard();
      if (length > limit) throw new TooLarge(limit);
    }
    return all.length === 1 ? (all[0] as Buffer) : Buffer.concat(all);
  }

  /** The start of the body, up to `limit` bytes; what broke off or is too long counts as ended. */
  async start(limit: number): Promise<Buffer> {
    const all: Buffer[] = [];
    try {
      for (let length = 0; length < limit; ) {
        const taken = await this.take();
        if (taken === undefined) break;
        all.push(taken);
        length += taken.length;
      }
    } catch {
      // The part that arrived is read.
    }
    this.discard();
    return Buffer.concat(all).subarray(0, limit);
  }

  /** Drops the rest. The connection can be used again when the body ends within so many milliseconds. */
  leave(ms: number): void {
    if (this.#ended || this.#leaving !== undefined) return;
    this.#leaving = setTimeout(() => this.discard(), ms);
    this.#pieces = [];
    if (this.#controller.paused) this.#controller.resume();
  }

  /** Drops the rest and closes the connection. */
  discard(): void {
    if (!this.#ended) this.#controller.abort(new Error("The reader stopped."));
  }
}
