import { isIPv6 } from "node:net";

/** The eight groups of an IPv6 address; accepts a zone and the dotted form of an IPv4 tail. */
function groupsOf(address: string): number[] {
  const [withoutZone = ""] = address.split("%", 1);
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(withoutZone);
  const [, head = "", a = 0, b = 0, c = 0, d = 0] = dotted ?? [];
  const hex = (high: unknown, low: unknown) => (Number(high) * 256 + Number(low)).toString(16);
  const text = dotted === null ? withoutZone : `${head}${hex(a, b)}:${hex(c, d)}`;
  const parse = (part: string) => (part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16)));
  const [left = "", right] = text.split("::");
  const [front, back] = [parse(left), parse(right ?? "")];
  return [...front, ...Array.from({ length: Math.max(0, 8 - front.length - back.length) }, () => 0), ...back];
}

/**
 * The block of addresses that counts as one client: a single IPv4 address, also in its IPv6 form, or the IPv6 /64 that
 * a subscriber is assigned.
 */
export function addressBlock(address: string): string {
  if (!isIPv6(address)) return address;
  const groups = groupsOf(address);
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    const [high = 0, low = 0] = groups.slice(6);
    return [high >> 8, high & 255, low >> 8, low & 255].join(".");
  }
  return `${groups
    .slice(0, 4)
    .map((group) => group.toString(16))
    .join(":")}::/64`;
}
