import { constants, Http2ServerResponse } from "node:http2";
import type { Exchange } from "./client-accounts.ts";
import { SettlingResponse } from "./unread-bodies.ts";

type Done = () => void;

/** A response whose waiting bytes are counted, whoever writes it. */
export interface CountedResponse {
  /** Undefined until the request was taken in. */
  exchange: Exchange | undefined;
}

/** A response over HTTP/1.1; one that is too much for its client resets the connection. */
export class CountedHttp1Response extends SettlingResponse implements CountedResponse {
  exchange: Exchange | undefined = undefined;

  #count(): void {
    const { exchange } = this;
    if (exchange === undefined || this.writableLength === 0) return;
    exchange.count();
    if (exchange.isTooMuch()) this.socket?.resetAndDestroy();
  }

  override write(chunk: unknown, encoding?: unknown, done?: unknown): boolean {
    const takesMore = super.write(chunk, encoding as BufferEncoding, done as Done);
    this.#count();
    return takesMore;
  }

  override end(chunk?: unknown, encoding?: unknown, done?: unknown): this {
    super.end(chunk, encoding as BufferEncoding, done as Done);
    this.#count();
    return this;
  }
}

/** A response over HTTP/2; one that is too much for its client resets its stream. */
export class CountedHttp2Response extends Http2ServerResponse implements CountedResponse {
  exchange: Exchange | undefined = undefined;

  /** `end` writes by this as well. */
  override write(chunk: unknown, encoding?: unknown, done?: unknown): boolean {
    const takesMore = super.write(chunk as string, encoding as BufferEncoding, done as Done);
    const { exchange } = this;
    if (exchange !== undefined && this.writableLength > 0) {
      exchange.count();
      if (exchange.isTooMuch()) {
        this.stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
        this.stream.destroy();
      }
    }
    return takesMore;
  }
}
