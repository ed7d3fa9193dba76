import { experimental } from "@grpc/grpc-js";

const scheme = "static";

/** Resolves `static:host:port,host:port` to exactly these addresses; hosts may be names. */
class StaticResolver implements experimental.Resolver {
  readonly #target: { path: string };
  readonly #listener: experimental.ResolverListener;
  #answered = false;

  constructor(target: { path: string }, listener: experimental.ResolverListener) {
    this.#target = target;
    this.#listener = listener;
  }

  updateResolution(): void {
    if (this.#answered) return;
    this.#answered = true;
    const value = this.#target.path.split(",").map((address) => {
      const at = address.lastIndexOf(":");
      return { addresses: [{ host: address.slice(0, at).replace(/^\[|\]$/g, ""), port: Number(address.slice(at + 1)) }] };
    });
    process.nextTick(() => this.#listener({ ok: true, value }, {}, null, ""));
  }

  destroy(): void {
    this.#answered = false;
  }

  static getDefaultAuthority(target: { path: string }): string {
    return target.path.split(",")[0] ?? "";
  }
}

let registered = false;

/** The grpc-js target of a list of addresses: a single name is watched through DNS, several are a fixed list. */
export function targetOf(addresses: readonly string[]): string {
  const [first] = addresses;
  if (first === undefined) throw new Error("A gRPC transport needs at least one address.");
  if (addresses.length === 1) return /^[a-z0-9]+:(\/\/|[^0-9])/.test(first) ? first : `dns:///${first}`;
  if (!registered) experimental.registerResolver(scheme, StaticResolver);
  registered = true;
  return `${scheme}:${addresses.join(",")}`;
}
