/**
 * Row S20: however many logins one address sends, a login from another address takes at most twice as long as when
 * alone. A time figure: for a machine with two processors and no other work. `node tests/security/long/login-flood.ts
 * --count 500`
 */
import { parseArgs } from "node:util";
import { median, report, withSystem } from "./stage.ts";

const { values } = parseArgs({ options: { count: { type: "string", default: "500" } } });
const count = Number(values.count);
const rounds = 4;
const loginsOfOther = 12;

const limits = { RATE_LIMIT_ENABLED: "false", SERVER_TRUST_PROXY: "127.0.0.0/8, ::ffff:127.0.0.0/104" };
await withSystem({ ...limits, LOG_LEVEL: "error" }, async (system) => {
  const post = (path: string, body: object, address: string) =>
    fetch(system.baseUrl + path, {
      method: "POST",
      headers: { "content-type": "application/json", "x-forwarded-for": address },
      body: JSON.stringify(body),
    });
  const login = async (email: string, address: string) => {
    const answer = await post("/v1/auth/login", { email, password: "SecurePass123" }, address);
    await answer.arrayBuffer();
    return answer.status;
  };
  const [flooder, other] = ["flooder@example.com", "other@example.com"];
  for (const email of [flooder, other])
    await post("/v1/auth/register", { email, password: "SecurePass123", name: "F" }, "192.0.2.1");

  const times: Record<"quiet" | "flooded", number[]> = { quiet: [], flooded: [] };
  const statuses = new Map<number, number>();
  const measure = async (when: keyof typeof times) => {
    for (let i = 0; i < loginsOfOther; i++) {
      const begin = performance.now();
      const status = await login(other, "192.0.2.2");
      times[when].push(performance.now() - begin);
      if (status !== 200) throw new Error(`a login of the other address, ${when}: ${status}`);
    }
  };
  for (let i = 0; i < 5; i++) await login(other, "192.0.2.2");
  for (let round = 0; round < rounds; round++) {
    await measure("quiet");
    // Passwords are right, so that no limit on failures ends the flood; each client asks again once answered.
    let isOver = false;
    const isUnderWay = Promise.withResolvers<void>();
    const flood = Array.from({ length: Math.ceil(count / 2) }, async () => {
      for (let sent = 0; sent < 2 || !isOver; sent++) {
        const status = await login(flooder, "192.0.2.3");
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        isUnderWay.resolve();
        // A refused client asks again as soon as Retry-After allows; otherwise this would measure how fast clients can
        // ask.
        if (status === 429 && !isOver) await new Promise((resolve) => setTimeout(resolve, 2_000));
      }
    });
    await isUnderWay.promise;
    await measure("flooded");
    isOver = true;
    await Promise.all(flood);
  }
  const [quiet, flooded] = [median(times.quiet), median(times.flooded)];
  const ratio = flooded / quiet;
  const answers = [...statuses].map(([status, times]) => `${times} × ${status}`).join(", ");
  const figure = `logins of another address: quiet ${quiet.toFixed(1)} ms, beside ${answers} of one address ${flooded.toFixed(1)} ms (median), ${ratio.toFixed(2)} x (≤ 2 x)`;
  report("S20", ratio <= 2, figure);
});
