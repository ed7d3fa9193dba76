import { isIP } from "node:net";

/** A network under which an address is counted. */
export interface ClientNetwork {
  /** An IPv4 address, or an IPv6 network such as `2001:db8::/64`; `unknown` for text that is not an address. */
  readonly name: string;
  /** The network's limit, as a multiple of the limit of a single address. */
  readonly factor: number;
}

/**
 * A holder of one IPv6 address has at least the /64 around it. Providers assign a /56 to a home and a /48 to a site.
 * Such a network can be one client, but many clients may share it, so it gets 4 and 16 times the limit.
 */
const ipv6Networks = [
  { bits: 64, factor: 1 },
  { bits: 56, factor: 4 },
  { bits: 48, factor: 16 },
] as const;

const nothingKnown: readonly ClientNetwork[] = [{ name: "unknown", factor: 1 }];

/** The eight groups of an IPv6 address that `isIP` has accepted. */
function groupsOf(address: string): number[] {
  // The last four bytes may be written as an IPv4 address.
  const text = address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_all, ...bytes: string[]) => {
    const [a = 0, b = 0, c = 0, d = 0] = bytes.map(Number);
    return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
  });
  const [head = "", tail] = text.split("::");
  const parse = (part: string) => (part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16)));
  const [first, last] = [parse(head), parse(tail ?? "")];
  return [...first, ...new Array<number>(8 - first.length - last.length).fill(0), ...last];
}

/** The prefixes that embed an IPv4 address in an IPv6 address: mapped (::ffff:0:0/96) and translated (64:ff9b::/96). */
function isIpv4Inside(groups: readonly number[]): boolean {
  const prefix = groups
    .slice(0, 6)
    .map((group) => group.toString(16))
    .join(":");
  return prefix === "0:0:0:0:0:ffff" || prefix === "64:ff9b:0:0:0:0";
}

function networkOf(groups: readonly number[], bits: number): string {
  const kept = groups.slice(0, 4).map((group, i) => {
    const inGroup = Math.max(0, Math.min(16, bits - 16 * i));
    return group & ((0xffff << (16 - inGroup)) & 0xffff);
  });
  return `${kept.map((group) => group.toString(16)).join(":")}::/${bits}`;
}

/**
 * The networks under which a client's address is counted, smallest first, wherever addresses are limited. An IPv4
 * address counts for itself in any notation, an IPv6 address by its /64, /56 and /48. Zones and ports are ignored.
 */
export function clientNetworks(address: string): readonly ClientNetwork[] {
  // Some proxies send the port with the address.
  const bare = /^\[([^\]]*)\](?::\d+)?$/.exec(address)?.[1] ?? /^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(address)?.[1] ?? address;
  const [text = ""] = bare.split("%", 1);
  switch (isIP(text)) {
    case 4:
      return [{ name: text, factor: 1 }];
    case 6: {
      const groups = groupsOf(text);
      if (isIpv4Inside(groups)) {
        const [high = 0, low = 0] = groups.slice(6);
        return [{ name: [high >> 8, high & 255, low >> 8, low & 255].join("."), factor: 1 }];
      }
      return ipv6Networks.map(({ bits, factor }) => ({ name: networkOf(groups, bits), factor }));
    }
    default:
      return nothingKnown;
  }
}

/** The smallest network under which an address is counted. */
export function clientNetwork(address: string): string {
  return (clientNetworks(address)[0] as ClientNetwork).name;
}
