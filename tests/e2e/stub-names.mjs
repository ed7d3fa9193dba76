/**
 * Preloaded into a process of a test: the file named by STUB_NAMES has the addresses of names, as JSON, and is read at
 * each resolution. Other names are resolved as ever.
 */
import dns from "node:dns/promises";
import { readFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";

const { lookup } = dns;
dns.lookup = async (host, options) => {
  const addresses = JSON.parse(readFileSync(process.env.STUB_NAMES, "utf8"))[host];
  if (addresses === undefined) return lookup(host, options);
  return addresses.map((address) => ({ address, family: 4 }));
};
syncBuiltinESMExports();
