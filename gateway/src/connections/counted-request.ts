import { constants, Http2ServerRequest } from "node:http2";
import type { Exchange } from "./client-accounts.ts";
import { IncomingMessage } from "./node-http.ts";

/** A request whose body is counted as it arrives, whichever code reads it. */
export interface CountedRequest {
  /** Undefined until the request is admitted. */
  exchange: Exchange | undefined;
}

/** An HTTP/1.1 request; a body beyond its client's limit resets the connection. */
export class CountedHttp1Request extends IncomingMessage implements CountedRequest {
  exchange: Exchange | undefined = undefined;

  /** The parser passes the pieces of the body, and null after the last one. */
  override push(chunk: unknown, encoding?: BufferEncoding): boolean {
    if (chunk !== null && this.exchange?.receive((chunk as Uint8Array).length)) this.socket.resetAndDestroy();
    return super.push(chunk, encoding);
  }
}

/** An HTTP/2 request; a body beyond its client's limit resets its stream. */
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
