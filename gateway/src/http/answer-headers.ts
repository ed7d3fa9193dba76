/** Something that takes response headers, as a fastify reply does. */
export interface HeaderSink {
  header(name: string, value: string): unknown;
}

/**
 * Headers of every answer, errors too: nobody guesses at its type, nothing in it is run or framed should a browser open
 * it, its address does not travel on, and no cache keeps it. A page, or what may be kept, says otherwise for itself.
 */
export const answerHeaders: Readonly<Record<string, string>> = {
  "x-content-type-options": "nosniff",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
  "cache-control": "no-store",
};
