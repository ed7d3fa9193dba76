import { maxFetchBytes, maxFetchesAtOnce } from "./messages.ts";

/** The executor's response to one request. */
interface HopResponse {
  readonly url: string;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** One request, or one hop of its redirects. */
interface Hop {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | undefined;
}

const maxRedirects = 20;
const withoutBody: ReadonlySet<number> = new Set([101, 103, 204, 205, 304]);

/**
 * `fetch` for a process without a network. Each hop goes as a frame to the executor, which sends it if the tool
 * declares its host. Bodies travel whole, in both directions.
 */
export class TunnelledFetch {
  readonly #send: (message: object, body?: Buffer) => void;
  readonly #waiting = new Map<number, PromiseWithResolvers<HopResponse>>();
  #ids = 0;
  #active = 0;
  readonly #queue: (() => void)[] = [];

  constructor(send: (message: object, body?: Buffer) => void) {
    this.#send = send;
  }

  /** Takes the executor's response to a hop. */
  readonly settle = (id: number, response: HopResponse): void => this.#waiting.get(id)?.resolve(response);

  /** Takes the executor's refusal, or a failure of the network. */
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
      const response = await this.#exchange(hop, signal);
      const next = redirect === "manual" ? undefined : redirected(hop, response);
      if (next === undefined) return responseOf(response, hops > 0);
      if (redirect === "error") throw failed("the response is a redirect");
      if (hops === maxRedirects) throw failed(`more than ${maxRedirects} redirects`);
      hop = next;
    }
  };

  async #exchange({ body, ...head }: Hop, signal: AbortSignal): Promise<HopResponse> {
    if (this.#active >= maxFetchesAtOnce) await new Promise<void>((resolve) => this.#queue.push(resolve));
    else this.#active += 1;
    if (signal.aborted) {
      this.#leave();
      throw signal.reason;
    }
    const id = ++this.#ids;
    const response = Promise.withResolvers<HopResponse>();
    this.#waiting.set(id, response);
    const aborted = Promise.withResolvers<never>();
    const onAbort = () => {
      this.#send({ type: "fetch-abort", id });
      aborted.reject(signal.reason);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    // The place is free only once the executor has responded, which it does to an aborted request too.
    const settled = response.promise.finally(() => {
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

/** An error like those that `fetch` throws. */
function failed(why: string): TypeError {
  return new TypeError(`fetch failed: ${why}`, { cause: new Error(why) });
}

/** The next hop, by the rules of the fetch standard; undefined when the response is no redirect. */
function redirected(hop: Hop, { status, headers }: HopResponse): Hop | undefined {
  const { location } = headers;
  if (![301, 302, 303, 307, 308].includes(status) || location === undefined) return undefined;
  if (!URL.canParse(location, hop.url)) throw failed("a redirect has no valid URL");
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

function responseOf({ url, status, headers, body }: HopResponse, redirected: boolean): Response {
  if (status < 200 || status > 599) throw failed(`the response has the status ${status}`);
  const response = new Response(withoutBody.has(status) ? null : decoded(headers["content-encoding"], body), { status, headers });
  Object.defineProperties(response, { url: { value: url }, redirected: { value: redirected } });
  return response;
}

/** Decodes a body that a server encoded without being asked. */
function decoded(encoding: string | undefined, body: Buffer): Buffer {
  if (encoding === undefined || encoding === "identity" || body.byteLength === 0) return body;
  const zlib = process.getBuiltinModule("node:zlib");
  const limit = { maxOutputLength: 16 * maxFetchBytes };
  if (encoding === "gzip" || encoding === "x-gzip") return zlib.gunzipSync(body, limit);
  if (encoding === "br") return zlib.brotliDecompressSync(body, limit);
  if (encoding === "deflate") return zlib.inflateSync(body, limit);
  throw failed(`the response has the unknown encoding ${encoding}`);
}
