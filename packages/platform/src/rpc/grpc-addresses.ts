import { lookup as systemLookup } from "node:dns/promises";
import { isIP } from "node:net";

/** Resolves a host name to all its addresses; rejects when it has none. */
export type Lookup = (host: string) => Promise<readonly { address: string; family: number }[]>;

const lookupAll: Lookup = (host) => systemLookup(host, { all: true });

/** Instances found by their addresses. */
export interface FoundInstances {
  /** A grpc-js target of each instance. */
  readonly targets: readonly string[];
  /** Whether each is an instance for certain; several addresses of one name may be of the same host. */
  readonly areListed: boolean;
}

function splitAddress(address: string): { host: string; port: string } {
  const at = address.lastIndexOf(":");
  return { host: address.slice(0, at).replace(/^\[|\]$/g, ""), port: address.slice(at + 1) };
}

/** The host name and port behind which all instances are, or undefined when the addresses are the instances. */
function nameOf(addresses: readonly string[]): { host: string; port: string } | undefined {
  const [first, ...others] = addresses;
  if (first === undefined) throw new Error("A gRPC transport needs at least one address.");
  const name = first.replace(/^dns:\/\/\//, "");
  const { host, port } = splitAddress(name);
  const areInstances = others.length > 0 || !/^\d+$/.test(port) || name.includes("/") || isIP(host) !== 0 || host === "localhost";
  return areInstances ? undefined : { host, port };
}

/** The instances at the addresses if these need no resolution, else undefined. */
export function listedInstances(addresses: readonly string[]): FoundInstances | undefined {
  if (nameOf(addresses) !== undefined) return undefined;
  return { targets: addresses.map((address) => address.replace(/^dns:\/\/\//, "")), areListed: true };
}

/** Finds the instances at `addresses`, in the form that a transport takes. Rejects when a name has no address. */
export async function findInstances(addresses: readonly string[], lookup: Lookup = lookupAll): Promise<FoundInstances> {
  const name = nameOf(addresses);
  if (name === undefined) return listedInstances(addresses) as FoundInstances;
  const found = await lookup(name.host);
  const targets = new Set(found.map(({ address, family }) => `${family === 6 ? `[${address}]` : address}:${name.port}`));
  return { targets: [...targets], areListed: targets.size === 1 };
}
