import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { FastifyRequest } from "fastify";

const refusal = (message: string, param: string) => fail(ErrorReason.PERMISSION_DENIED, message, { param });

/**
 * Checks that a request comes from a page of this very origin, by script: another site can make a browser send the
 * cookie, but neither this header nor this content type without asking first, and nobody answers its question. Pages on
 * other ports of the same host are another origin, though the same site. Throws PERMISSION_DENIED.
 */
export function checkSameOrigin(request: FastifyRequest): void {
  const { headers } = request;
  const site = headers["sec-fetch-site"];
  if (site !== undefined) {
    if (site !== "same-origin") throw refusal("This is served to the console's own pages alone.", "Sec-Fetch-Site");
  } else if (headers.origin !== `${request.protocol}://${request.host}`) {
    // Browsers leave Sec-Fetch-Site out over plain HTTP, and send Origin with each of these methods.
    throw refusal("This is served to the console's own pages alone.", "Origin");
  }
  if (headers["x-turnwright-console"] !== "1") {
    throw refusal("Send X-Turnwright-Console: 1.", "X-Turnwright-Console");
  }
  const type = headers["content-type"]?.split(";", 1)[0]?.trim().toLowerCase();
  if (type !== "application/json") {
    throw fail(ErrorReason.UNSUPPORTED_MEDIA_TYPE, "Send the body as application/json.", { param: "Content-Type" });
  }
}
