/**
 * Row S3: a login takes the same time whether the account exists (with a wrong password) or not: `node
 * tests/security/long/login-timing.ts --count 2000`.
 */
import { parseArgs } from "node:util";
import { median, report, withSystem } from "./stage.ts";

const { values } = parseArgs({ options: { count: { type: "string", default: "2000" } } });
const count = Number(values.count);

const limits = { RATE_LIMIT_ENABLED: "false", SERVER_TRUST_PROXY: "127.0.0.0/8, ::ffff:127.0.0.0/104" };
await withSystem({ ...limits, LOG_LEVEL: "error" }, async (system) => {
  const post = (path: string, body: object, address: string) =>
    fetch(system.baseUrl + path, {
      method: "POST",
      headers: { "content-type": "application/json", "x-forwarded-for": address },
      body: JSON.stringify(body),
    });
  const accounts = Array.from({ length: Math.ceil(count / 50) }, (_, i) => `known-${i}@example.com`);
  for (const email of accounts) await post("/v1/auth/register", { email, password: "SecurePass123", name: "K" }, "192.0.2.1");
  const times: Record<"known" | "unknown", number[]> = { known: [], unknown: [] };
  for (let i = 0; i < count; i++) {
    // One after another, alternating, each from its own address, so that neither limits nor machine load favour one
    // kind.
    const address = `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`;
    const kinds = i % 2 === 0 ? (["known", "unknown"] as const) : (["unknown", "known"] as const);
    for (const kind of kinds) {
      const account = accounts[i % accounts.length] ?? "";
      const email = kind === "known" ? account : account.replace("known", "nobody");
      const begin = performance.now();
      const response = await post("/v1/auth/login", { email, password: "not this password" }, address);
      await response.arrayBuffer();
      times[kind].push(performance.now() - begin);
      if (response.status !== 401) throw new Error(`login of ${kind}: ${response.status}`);
    }
  }
  const [known, unknown] = [median(times.known), median(times.unknown)];
  const apart = (Math.abs(known - unknown) / Math.max(known, unknown)) * 100;
  const figure = `${count} logins each: known ${known.toFixed(2)} ms, unknown ${unknown.toFixed(2)} ms (median), ${apart.toFixed(1)} % apart (≤ 5 %)`;
  report("S3", apart <= 5, figure);
});
