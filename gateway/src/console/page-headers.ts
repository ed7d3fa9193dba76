import type { FastifyRequest } from "fastify";

/** The policy of the console's pages: their own files, no inline script or style, no string that becomes code. */
export const pagePolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data: blob:",
  "connect-src 'self'",
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join("; ");

const always: Readonly<Record<string, string>> = {
  "content-security-policy": pagePolicy,
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), microphone=(), geolocation=()",
};
const inSecureContexts = { ...always, "cross-origin-opener-policy": "same-origin" };

const loopback = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\]|[\w-]+\.localhost)$/i;

/** The headers of each answer below `/console/`. Browsers warn of an opener policy outside of secure contexts. */
export function pageHeaders(request: FastifyRequest): Readonly<Record<string, string>> {
  return request.protocol === "https" || loopback.test(request.hostname) ? inSecureContexts : always;
}
