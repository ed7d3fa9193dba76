import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { clientNetwork, clientNetworks } from "./client-network.ts";

describe("the networks of a client", () => {
  test("are a single IPv4 address, in any notation", () => {
    const forms = ["192.0.2.7", "::ffff:192.0.2.7", "::FFFF:c000:207", "0:0:0:0:0:ffff:c000:0207", "64:ff9b::192.0.2.7"];
    const withMore = [
      "::ffff:192.0.2.7%eth0",
      "[::ffff:192.0.2.7]:443",
      "192.0.2.7:5123",
      "64:ff9b::c000:207",
      "[64:ff9b::c000:207]",
    ];
    for (const form of [...forms, ...withMore]) expect(clientNetworks(form)).toEqual([{ name: "192.0.2.7", factor: 1 }]);
    expect(clientNetwork("192.0.2.8")).not.toBe(clientNetwork("192.0.2.7"));
  });

  test("are the /64, /56 and /48 of an IPv6 address, the larger ones with larger limits", () => {
    const expected = [
      { name: "2001:db8:1:abcd::/64", factor: 1 },
      { name: "2001:db8:1:ab00::/56", factor: 4 },
      { name: "2001:db8:1:0::/48", factor: 16 },
    ];
    for (const form of ["2001:db8:1:abcd::1", "2001:DB8:1:ABCD:1:2:3:4", "2001:db8:1:abcd::1%en0", "[2001:db8:1:abcd::9]:80"]) {
      expect(clientNetworks(form)).toEqual(expected);
    }
    expect(clientNetwork("::1")).toBe("0:0:0:0::/64");
    expect(clientNetwork("fe80::1%eth0")).toBe(clientNetwork("fe80::2%eth1"));
    expect(clientNetwork("2001:db8:1:abce::1")).not.toBe("2001:db8:1:abcd::/64");
    // An address whose lower half looks like a mapped one is not one.
    expect(clientNetwork("2001:db8::ffff:192.0.2.7")).toBe("2001:db8:0:0::/64");
  });

  test("are a common one for text that is not an address", () => {
    for (const text of [
      "",
      "unknown",
      "192.0.2",
      "192.0.2.7.8",
      "010.0.0.1",
      "::g",
      "[::1",
      "a".repeat(10_000),
      "192.0.2.7, 192.0.2.8",
    ]) {
      expect(clientNetworks(text)).toEqual([{ name: "unknown", factor: 1 }]);
    }
  });

  test("do not change with the lower half of an IPv6 address, and do with any bit above it", () => {
    const group = fc.integer({ min: 0, max: 0xffff });
    const groups = fc.array(group, { minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(groups, fc.array(group, { minLength: 4, maxLength: 4 }), fc.integer({ min: 0, max: 63 }), (all, other, bit) => {
        const write = (parts: readonly number[]) => parts.map((part) => part.toString(16)).join(":");
        const upper = [0x2a00, ...all.slice(1, 4)];
        const own = clientNetworks(write([...upper, ...all.slice(4)]));
        expect(clientNetworks(write([...upper, ...other]))).toEqual(own);
        const flipped = upper.map((part, i) => (Math.floor(bit / 16) === i ? part ^ (0x8000 >> (bit % 16)) : part));
        const networks = clientNetworks(write([...flipped, ...all.slice(4)]));
        const isSame = networks.map(({ name }, i) => name === own[i]?.name);
        expect(isSame).toEqual([false, bit >= 56, bit >= 48]);
      }),
    );
  });
});
