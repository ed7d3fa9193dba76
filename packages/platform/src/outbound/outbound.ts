import { type LookupAddress, type LookupOptions, lookup as systemLookup } from "node:dns";
import { isIP } from "node:net";
import type { Agent, Dispatcher } from "undici";
import { type ErrorReason, fail } from "../errors.ts";
import { isPublicAddress } from "./outbound-address.ts";

/** A response whose body was read to its end or to the limit. */
export interface OutboundResponse {
  /** Final URL, after redirects. */
  readonly url: string;
  readonly status: number;
  /** Names in lower case; repeated headers are joined with a comma. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** Whether the body continues beyond the part that was read. */
  readonly truncated: boolean;
}

/** A request to an address chosen by a model or a user. */
export interface OutboundRequest {
  readonly url: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  readonly signal: AbortSignal;
  /** Number of body bytes after which reading stops. */
  readonly maxBytes: number;
  /** Maximum number of redirects, each checked like the first address; 0 unless given. */
  readonly maxRedirects?: number;
}

/** Sends requests to the public internet only. */
export interface Outbound {
  /**
   * Throws the reason `refused` for `url` when the address alone shows that `send` would refuse it; `send` may still
   * refuse a name.
   */
  check(url: string): void;
  /**
   * Throws the reason `refused` for `url` when the address as written is refused, and `failed` when the host cannot be
   * reached. A name of a private network also gives `failed`.
   */
  send(request: OutboundRequest): Promise<OutboundResponse>;
  close(): Promise<void>;
}

type Lookup = (
  host: string,
  options: LookupOptions,
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[] | string, family?: number) => void,
) => void;

/** Internal mark of a name that was refused because of its address; it never leaves this module. */
export class RefusedAddressError extends Error {
  override readonly name = "RefusedAddressError";
}

const unknownName: ReadonlySet<unknown> = new Set(["ENOTFOUND", "ENODATA", "EAI_AGAIN", "EAI_NONAME", "EAI_NODATA", "EAI_FAIL"]);

/** The error does not distinguish a private name from an unknown one: the difference would map the internal network. */
function isNoPublicName(error: unknown): boolean {
  if (error instanceof RefusedAddressError) return true;
  return error instanceof Error && "code" in error && unknownName.has(error.code);
}

/** The reasons with which the guard refuses or fails. */
interface OutboundReasons {
  readonly refused: ErrorReason;
  readonly failed: ErrorReason;
}

/** undici is loaded with the first request: most processes send none. */
interface Dispatchers {
  readonly request: typeof import("undici").request;
  /** Connects to public addresses only. */
  readonly guarded: Agent;
  readonly open: Agent;
}

/**
 * Creates the guard for requests to addresses that the operator did not choose. The connection itself resolves names
 * and refuses them, so the checked address is the one connected to. `allowedHosts` (`host` or `host:port`) are exempt
 * from the check.
 */
export function createOutbound(options: {
  allowedHosts: readonly string[];
  reasons: OutboundReasons;
  /** Refuses plain HTTP except to allowed hosts. */
  httpsOnly?: boolean;
  lookup?: typeof systemLookup;
}): Outbound {
  const { reasons, httpsOnly = false } = options;
  const refuse = (what: string) => fail(reasons.refused, `url: ${what}`, { param: "url" });
  const parse = (url: string, base?: URL): URL => {
    if (!URL.canParse(url, base?.href)) throw refuse("is not a URL");
    return new URL(url, base);
  };
  /** Describes a failure without what the resolver or the socket reveal about the internal network. */
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
  const lookup = publicOnly(options.lookup ?? systemLookup);
  let loading: Promise<Dispatchers> | undefined;
  const load = async (): Promise<Dispatchers> => {
    const { Agent, request } = await import("undici");
    return {
      request,
      guarded: new Agent({ ...limits, connect: { timeout: 10_000, lookup } }),
      open: new Agent({ ...limits, connect: { timeout: 10_000 } }),
    };
  };

  const dispatcherFor = (url: URL): "guarded" | "open" => {
    if (url.protocol !== "http:" && url.protocol !== "https:") throw refuse("only http and https addresses can be fetched");
    if (url.username !== "" || url.password !== "") throw refuse("must not carry credentials");
    const port = url.port || (url.protocol === "https:" ? "443" : "80");
    if (allowed.has(url.hostname) || allowed.has(`${url.hostname}:${port}`)) return "open";
    if (httpsOnly && url.protocol !== "https:") throw refuse("must be an https address");
    const literal = url.hostname.replace(/^\[(.*)\]$/, "$1");
    const isPrivate = isIP(literal) === 0 ? localName.test(literal) : !isPublicAddress(literal);
    if (isPrivate) throw refuse(privateAddress);
    return "guarded";
  };

  return {
    check(url) {
      dispatcherFor(parse(url));
    },
    async send({ url, method = "GET", headers = {}, body, signal, maxBytes, maxRedirects = 0 }) {
      let target = parse(url);
      for (let followed = 0; ; followed += 1) {
        const kind = dispatcherFor(target);
        loading ??= load();
        const { request, [kind]: dispatcher } = await loading;
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
      const opened = await loading;
      await Promise.all([opened?.guarded.destroy(), opened?.open.destroy()]);
    },
  };
}

/** Names that mean this machine by definition (RFC 6761). */
const localName = /^(?:.+\.)?localhost\.?$/i;

const privateAddress = "addresses in private networks are not open to requests";

function isRedirect(status: number): boolean {
  return [301, 302, 303, 307, 308].includes(status);
}

/** A lookup that fails when any address of a name is not public. */
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
