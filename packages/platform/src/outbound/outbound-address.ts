import { BlockList, isIP } from "node:net";

const refusedV4 = new BlockList();
for (const [network, prefix] of [
  ["0.0.0.0", 8], // this network
  ["10.0.0.0", 8], // private
  ["100.64.0.0", 10], // carrier-grade NAT
  ["127.0.0.0", 8], // loopback
  ["169.254.0.0", 16], // link-local, where clouds serve their metadata
  ["172.16.0.0", 12], // private
  ["192.0.0.0", 24], // protocol assignments
  ["192.0.2.0", 24], // documentation
  ["192.88.99.0", 24], // 6to4 relays
  ["192.168.0.0", 16], // private
  ["198.18.0.0", 15], // benchmarking
  ["198.51.100.0", 24], // documentation
  ["203.0.113.0", 24], // documentation
  ["224.0.0.0", 4], // multicast
  ["240.0.0.0", 4], // reserved, broadcast
] as const) {
  refusedV4.addSubnet(network, prefix, "ipv4");
}

// Ranges outside global unicast need no entry: unspecified, loopback, IPv4-mapped and -compatible, NAT64, unique-local,
// link-local, multicast.
const globalV6 = new BlockList();
globalV6.addSubnet("2000::", 3, "ipv6");

const refusedV6 = new BlockList();
for (const [network, prefix] of [
  ["2001::", 23], // protocol assignments; Teredo carries an IPv4 address
  ["2001:db8::", 32], // documentation
  ["2002::", 16], // 6to4 carries an IPv4 address
  ["3fff::", 20], // documentation
] as const) {
  refusedV6.addSubnet(network, prefix, "ipv6");
}

/**
 * Whether an IP address belongs to the public internet. False for text that is not an IP address or that has a zone.
 */
export function isPublicAddress(address: string): boolean {
  switch (isIP(address)) {
    case 4:
      return !refusedV4.check(address, "ipv4");
    case 6:
      return !address.includes("%") && globalV6.check(address, "ipv6") && !refusedV6.check(address, "ipv6");
    default:
      return false;
  }
}
