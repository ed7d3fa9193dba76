import { IncomingMessage } from "node:http";
import { constants, Http2ServerRequest } from "node:http2";
import type { Exchange } from "./client-accounts.ts";

/** A request whose body is counted as it comes, whoever reads it. */
export interface CountedRequest {
  /** Undefined until the request was taken in. */
  exchange: Exchange | undefined;
}

/** A request over HTTP/1.1; a body that is too much for its client resets the connection. */
export class CountedHttp1Request extends IncomingMessage implements CountedRequest {
  exchange: Exchange | undefined = undefined;

  /** The parser hands over pieces of the body, and null behind the last. */
  override push(chunk: unknown, encoding?: BufferEncoding): boolean {
    if (chunk !== null && this.exchange?.receive((chunk as Uint8Array).length)) this.socket.resetAndDestroy();
    return super.push(chunk, encoding);
  }
}

/** A request over HTTP/2; a body that is too much for its client resets its stream. */
export class CountedHttp2Request extends Http2ServerRequest implements CountedRequest {
  exchange: Exchange | undefined = undefined;

  override push(chunk: unknown, encoding?: BufferEncoding): boolean {
    if (chunk !== null && this.exchange?.receive((chunk as Uint8Array).length)) {
      this.stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
      this.stream.destroy();
    }
    return super.push(chunk, encoding);
  }
}
