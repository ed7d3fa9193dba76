import type { ServerResponse } from "node:http";
import { constants, type Http2ServerResponse } from "node:http2";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Logger } from "@turnwright/platform/logger";
import { answerHeaders } from "../http/answer-headers.ts";
import { restError } from "../http/error-body.ts";

/** Interval at which refusals are logged, in milliseconds. */
const tellMs = 1_000;

/** Refuses a request that was not begun, so that its client may repeat it: 429, or REFUSED_STREAM over HTTP/2. */
export function refuseRequest(response: ServerResponse): void {
  const stream = (response as unknown as Partial<Http2ServerResponse>).stream;
  if (stream !== undefined) {
    stream.close(constants.NGHTTP2_REFUSED_STREAM);
    return;
  }
  const error = fail(ErrorReason.RATE_LIMITED, "This address has too many requests and unread responses in flight.", {
    retryAfterSeconds: 1,
  });
  const { status, headers, body } = restError(error);
  // The body stays unread.
  response.writeHead(status, {
    ...answerHeaders,
    ...headers,
    "content-type": "application/json; charset=utf-8",
    connection: "close",
  });
  response.end(JSON.stringify(body));
}

/** Logs clients that exceed their limits, at most once a second regardless of the number of refusals. */
export function refusalLog(logger: Logger): (what: "connection" | "request") => void {
  let [connections, requests] = [0, 0];
  const tell = () => {
    logger.warn({ connections, requests }, "connections and requests over the limits of an address refused");
    [connections, requests] = [0, 0];
  };
  return (what) => {
    if (connections + requests === 0) setTimeout(tell, tellMs).unref();
    if (what === "connection") connections += 1;
    else requests += 1;
  };
}
