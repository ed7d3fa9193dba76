import { constants, Http2ServerResponse } from "node:http2";
import type { Exchange } from "./client-accounts.ts";
import { SettlingResponse } from "./unread-bodies.ts";

type Done = () => void;

/** A response whose waiting bytes are counted, whichever code writes it. */
export interface CountedResponse {
  /** Undefined until the request is admitted. */
  exchange: Exchange | undefined;
}

/** An HTTP/1.1 response; one beyond its client's limit resets the connection. */
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

/** An HTTP/2 response; one beyond its client's limit resets its stream. */
export class CountedHttp2Response extends Http2ServerResponse implements CountedResponse {
  exchange: Exchange | undefined = undefined;

  /** `end` also writes through this method. */
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
