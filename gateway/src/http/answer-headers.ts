/** Accepts response headers, as a fastify reply does. */
export interface HeaderSink {
  header(name: string, value: string): unknown;
}

/**
 * Headers of every response, errors included: no content-type sniffing, nothing executed or framed when a browser opens
 * it, no referrer, no caching. Pages and cacheable files override them.
 */
export const answerHeaders: Readonly<Record<string, string>> = {
  "x-content-type-options": "nosniff",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
  "cache-control": "no-store",
};
