import { maxFetchBytes, maxFetchesAtOnce } from "./messages.ts";

/** What the executor answers. */
interface Answer {
  readonly url: string;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** One hop. */
interface Hop {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | undefined;
}

const maxRedirects = 20;
const withoutBody: ReadonlySet<number> = new Set([101, 103, 204, 205, 304]);

/**
 * `fetch` of a process that has no network: each hop goes to the executor as a frame, which sends it if the tool's
 * hosts name it. Bodies are whole, there and back.
 */
export class TunnelledFetch {
  readonly #send: (message: object, body?: Buffer) => void;
  readonly #waiting = new Map<number, PromiseWithResolvers<Answer>>();
  #ids = 0;
  #active = 0;
  readonly #queue: (() => void)[] = [];

  constructor(send: (message: object, body?: Buffer) => void) {
    this.#send = send;
  }

  /** The executor's answer to a hop. */
  readonly settle = (id: number, answer: Answer): void => this.#waiting.get(id)?.resolve(answer);

  /** The executor's refusal, or the network's failure. */
  readonly refuse = (id: number, why: string): void => this.#waiting.get(id)?.reject(failed(why));

  /** The global `fetch` of the tool. */
  readonly fetch = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const request = new Request(input, init);
    const { signal, redirect } = request;
    signal.throwIfAborted();
    const body = request.body === null ? undefined : Buffer.from(await request.arrayBuffer());
    if (body !== undefined && body.byteLength > maxFetchBytes) throw failed(`the body is longer than ${maxFetchBytes} bytes`);
    let hop: Hop = { url: request.url, method: request.method, headers: Object.fromEntries(request.headers), body };
    for (let hops = 0; ; hops += 1) {
      const answer = await this.#exchange(hop, signal);
      const next = redirect === "manual" ? undefined : redirected(hop, answer);
      if (next === undefined) return responseOf(answer, hops > 0);
      if (redirect === "error") throw failed("there is a redirect");
      if (hops === maxRedirects) throw failed(`there are more than ${maxRedirects} redirects`);
      hop = next;
    }
  };

  async #exchange({ body, ...head }: Hop, signal: AbortSignal): Promise<Answer> {
    if (this.#active >= maxFetchesAtOnce) await new Promise<void>((resolve) => this.#queue.push(resolve));
    else this.#active += 1;
    if (signal.aborted) {
      this.#leave();
      throw signal.reason;
    }
    const id = ++this.#ids;
    const answer = Promise.withResolvers<Answer>();
    this.#waiting.set(id, answer);
    const aborted = Promise.withResolvers<never>();
    const onAbort = () => {
      this.#send({ type: "fetch-abort", id });
      aborted.reject(signal.reason);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    // The place is the executor's to give back: it answers an abort too.
    const settled = answer.promise.finally(() => {
      signal.removeEventListener("abort", onAbort);
      this.#waiting.delete(id);
      this.#leave();
    });
    this.#send({ type: "fetch", id, ...head }, body);
    return await Promise.race([settled, aborted.promise]);
  }

  #leave(): void {
    const next = this.#queue.shift();
    if (next === undefined) this.#active -= 1;
    else next();
  }
}

/** An error as `fetch` throws it. */
function failed(why: string): TypeError {
  return new TypeError(`fetch failed: ${why}`, { cause: new Error(why) });
}

/** Where a redirect leads, by the rules of the fetch standard; undefined for an answer that is none. */
function redirected(hop: Hop, { status, headers }: Answer): Hop | undefined {
  const { location } = headers;
  if (![301, 302, 303, 307, 308].includes(status) || location === undefined) return undefined;
  if (!URL.canParse(location, hop.url)) throw failed("a redirect leads to no URL");
  const to = new URL(location, hop.url);
  const from = new URL(hop.url);
  if (to.hash === "") to.hash = from.hash;
  const isRead = hop.method === "GET" || hop.method === "HEAD";
  const turnsToGet = (status === 303 && !isRead) || ((status === 301 || status === 302) && hop.method === "POST");
  const isAway = to.origin !== from.origin;
  const kept = Object.entries(hop.headers).filter(
    ([name]) => !(turnsToGet && name.startsWith("content-")) && !(isAway && (name === "authorization" || name === "cookie")),
  );
  return {
    url: to.href,
    method: turnsToGet ? "GET" : hop.method,
    headers: Object.fromEntries(kept),
    body: turnsToGet ? undefined : hop.body,
  };
}

function responseOf({ url, status, headers, body }: Answer, redirected: boolean): Response {
  if (status < 200 || status > 599) throw failed(`the answer has the status ${status}`);
  const response = new Response(withoutBody.has(status) ? null : decoded(headers["content-encoding"], body), { status, headers });
  Object.defineProperties(response, { url: { value: url }, redirected: { value: redirected } });
  return response;
}

/** What a server encoded although nobody asked for it. */
function decoded(encoding: string | undefined, body: Buffer): Buffer {
  if (encoding === undefined || encoding === "identity" || body.byteLength === 0) return body;
  const zlib = process.getBuiltinModule("node:zlib");
  const limit = { maxOutputLength: 16 * maxFetchBytes };
  if (encoding === "gzip" || encoding === "x-gzip") return zlib.gunzipSync(body, limit);
  if (encoding === "br") return zlib.brotliDecompressSync(body, limit);
  if (encoding === "deflate") return zlib.inflateSync(body, limit);
  throw failed(`the answer is encoded as ${encoding}`);
}
