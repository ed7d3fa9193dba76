import { type LookupAddress, type LookupOptions, lookup as systemLookup } from "node:dns";
import { isIP } from "node:net";
import { Agent, type Dispatcher, request } from "undici";
import { type ErrorReason, fail } from "../errors.ts";
import { isPublicAddress } from "./outbound-address.ts";

/** A response whose body was read to its end or to the limit. */
export interface OutboundResponse {
  /** Where it came from, after redirects. */
  readonly url: string;
  readonly status: number;
  /** Names in lower case; repeated headers are joined with a comma. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** The body goes on after what was read. */
  readonly truncated: boolean;
}

/** One request to an address that a model or a user chose. */
export interface OutboundRequest {
  readonly url: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  readonly signal: AbortSignal;
  /** Bytes of the body after which reading stops. */
  readonly maxBytes: number;
  /** Redirects that are followed, each checked like the first address; 0 unless given. */
  readonly maxRedirects?: number;
}

/** Requests to the public internet only. */
export interface Outbound {
  /**
   * Throws the reason `refused` for `url` where the address alone shows that `send` would refuse it; a name may still
   * be refused later.
   */
  check(url: string): void;
  /**
   * Throws the reason `refused` for `url` when the address as it is written is refused, `failed` when the host cannot
   * be reached, which a name of a private network is said to be as well.
   */
  send(request: OutboundRequest): Promise<OutboundResponse>;
  close(): Promise<void>;
}

type Lookup = (
  host: string,
  options: LookupOptions,
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[] | string, family?: number) => void,
) => void;

/** Says on the inside that a name was refused for what it stands for; nobody outside learns it. */
export class RefusedAddressError extends Error {}

const unknownName: ReadonlySet<unknown> = new Set(["ENOTFOUND", "ENODATA", "EAI_AGAIN", "EAI_NONAME", "EAI_NODATA", "EAI_FAIL"]);

/**
 * A name that is private and one that nobody knows are told apart by no word of ours: the difference is a map of the
 * inside.
 */
function isNoPublicName(error: unknown): boolean {
  if (error instanceof RefusedAddressError) return true;
  return error instanceof Error && "code" in error && unknownName.has(error.code);
}

/** How the guard speaks of what goes wrong. */
interface OutboundReasons {
  readonly refused: ErrorReason;
  readonly failed: ErrorReason;
}

/**
 * Makes the guard in front of requests to addresses that are not the operator's. Names are resolved by the connection
 * itself and refused there, so the address that is checked is the address that is connected to. `allowedHosts` (`host`
 * or `host:port`) are not checked.
 */
export function createOutbound(options: {
  allowedHosts: readonly string[];
  reasons: OutboundReasons;
  /** Refuses plain http, but to allowed hosts. */
  httpsOnly?: boolean;
  lookup?: typeof systemLookup;
}): Outbound {
  const { reasons, httpsOnly = false } = options;
  const refuse = (what: string) => fail(reasons.refused, `url: ${what}`, { param: "url" });
  const parse = (url: string, base?: URL): URL => {
    if (!URL.canParse(url, base?.href)) throw refuse("is not a URL");
    return new URL(url, base);
  };
  /** Says what went wrong without what the resolver or the socket knows of the inside. */
  const explain = (error: unknown, url: URL): unknown => {
    if (isNoPublicName(error)) {
      return fail(reasons.failed, `${url.host} cannot be reached: it is not a name of the public internet.`, { cause: error });
    }
    if (!(error instanceof Error) || error.name === "AbortError" || error.name === "TimeoutError") return error;
    const code = "code" in error && typeof error.code === "string" ? ` (${error.code})` : "";
    return fail(reasons.failed, `${url.host} cannot be reached${code}.`, { cause: error });
  };
  const allowed = new Set(options.allowedHosts.map((host) => host.toLowerCase()));
  const limits = { headersTimeout: 30_000, bodyTimeout: 30_000, maxResponseSize: -1 };
  const guarded = new Agent({ ...limits, connect: { timeout: 10_000, lookup: publicOnly(options.lookup ?? systemLookup) } });
  const open = new Agent({ ...limits, connect: { timeout: 10_000 } });

  const dispatcherFor = (url: URL): Dispatcher => {
    if (url.protocol !== "http:" && url.protocol !== "https:") throw refuse("only http and https addresses can be fetched");
    if (url.username !== "" || url.password !== "") throw refuse("must not carry credentials");
    const port = url.port || (url.protocol === "https:" ? "443" : "80");
    if (allowed.has(url.hostname) || allowed.has(`${url.hostname}:${port}`)) return open;
    if (httpsOnly && url.protocol !== "https:") throw refuse("must be an https address");
    const literal = url.hostname.replace(/^\[(.*)\]$/, "$1");
    const isPrivate = isIP(literal) === 0 ? localName.test(literal) : !isPublicAddress(literal);
    if (isPrivate) throw refuse(privateAddress);
    return guarded;
  };

  return {
    check(url) {
      dispatcherFor(parse(url));
    },
    async send({ url, method = "GET", headers = {}, body, signal, maxBytes, maxRedirects = 0 }) {
      let target = parse(url);
      for (let followed = 0; ; followed += 1) {
        const dispatcher = dispatcherFor(target);
        const response = await request(target, {
          dispatcher,
          method: method as Dispatcher.HttpMethod,
          headers: { "accept-encoding": "identity", "user-agent": "turnwright", ...headers },
          body,
          signal,
        }).catch((error: unknown) => {
          throw explain(error, target);
        });
        const location = response.headers.location;
        if (maxRedirects > 0 && isRedirect(response.statusCode) && typeof location === "string") {
          await discard(response.body);
          if (followed === maxRedirects) throw fail(reasons.failed, `More than ${maxRedirects} redirects.`);
          target = parse(location, target);
          continue;
        }
        return {
          url: target.href,
          status: response.statusCode,
          headers: flatten(response.headers),
          ...(await read(response.body, maxBytes).catch((error: unknown) => {
            throw explain(error, target);
          })),
        };
      }
    },
    async close() {
      await Promise.all([guarded.destroy(), open.destroy()]);
    },
  };
}

/** Names that stand for this machine by definition (RFC 6761). */
const localName = /^(?:.+\.)?localhost\.?$/i;

const privateAddress = "addresses inside of private networks are not open to requests";

function isRedirect(status: number): boolean {
  return [301, 302, 303, 307, 308].includes(status);
}

/** A lookup that fails when any of a name's addresses is not public. */
function publicOnly(resolve: typeof systemLookup): Lookup {
  return (host, options, callback) => {
    resolve(host, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return callback(error, []);
      const first = addresses[0];
      if (first === undefined || !addresses.every(({ address }) => isPublicAddress(address))) {
        return callback(new RefusedAddressError(), []);
      }
      if (options.all === true) return callback(null, addresses);
      return callback(null, first.address, first.family);
    });
  };
}

function flatten(headers: Record<string, string | string[] | undefined>): Record<string, string> {
  const flat: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) flat[name] = Array.isArray(value) ? value.join(", ") : value;
  }
  return flat;
}

type Body = Dispatcher.ResponseData["body"];

async function discard(body: Body): Promise<void> {
  await body.dump({ limit: 65_536 }).catch(() => {});
}

async function read(body: Body, maxBytes: number): Promise<{ body: Uint8Array; truncated: boolean }> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  let truncated = false;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    const rest = maxBytes - size;
    if (chunk.byteLength > rest) {
      chunks.push(chunk.subarray(0, rest));
      truncated = true;
      break;
    }
    chunks.push(chunk);
    size += chunk.byteLength;
  }
  return { body: Buffer.concat(chunks), truncated };
}
