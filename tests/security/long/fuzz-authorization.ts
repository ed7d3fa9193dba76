/** Row S9: whatever stands in the Authorization header, the answer is a 4xx. `node tests/security/long/fuzz-authorization.ts --count 10000 --seed 1` */
import { request } from "node:http";
import { parseArgs } from "node:util";
import { report, seeded, withSystem } from "./stage.ts";

const { values } = parseArgs({
  options: { count: { type: "string", default: "10000" }, seed: { type: "string", default: "1" } },
});
const count = Number(values.count);
const random = seeded(Number(values.seed));

const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;
const bytes = (length: number, from: number, to: number) =>
  Array.from({ length }, () => String.fromCharCode(from + Math.floor(random() * (to - from)))).join("");
const base64 = (length: number) => Buffer.from(bytes(length, 0, 256), "latin1").toString("base64url");
const part = () =>
  pick([
    () => base64(Math.floor(random() * 60)),
    () =>
      Buffer.from(
        JSON.stringify({ alg: pick(["EdDSA", "none", "HS256", "", null]), kid: bytes(5, 32, 127), typ: "at+jwt" }),
      ).toString("base64url"),
    () =>
      Buffer.from(
        JSON.stringify({
          sub: crypto.randomUUID(),
          sid: crypto.randomUUID(),
          exp: Math.floor(random() * 4e9),
          aud: "turnwright",
          iss: "turnwright",
        }),
      ).toString("base64url"),
    () => "",
    () => bytes(3, 33, 127),
  ])();
const scheme = () =>
  pick(["Bearer ", "bearer ", "BEARER ", "Basic ", "Digest ", "Bearer", "Bearer  ", " Bearer ", "", "Bearer\t"]);
const token = () =>
  pick([
    () => `${part()}.${part()}.${part()}`,
    () => Array.from({ length: Math.floor(random() * 7) }, part).join("."),
    () => `sk-${bytes(Math.floor(random() * 80), 33, 127)}`,
    () => `rt-${base64(32)}`,
    () => bytes(Math.floor(random() * 200), 32, 127),
    // Bytes beyond ASCII, as HTTP/1.1 allows them in a value.
    () => bytes(Math.floor(random() * 50), 128, 256),
    () => "a".repeat(Math.floor(random() * 12_000)),
    () =>
      pick([
        "null",
        "undefined",
        "{}",
        "[]",
        "0",
        "' or 1=1 --",
        "../../etc/passwd",
        "%00",
        "$" + "{7*7}",
        "eyJ",
        "…".normalize(),
      ]),
  ])();
const clean = (value: string) => value.replaceAll(/[^\t\x20-\x7e\x80-\xff]/g, "?");

await withSystem({ LOG_LEVEL: "fatal", RATE_LIMIT_ENABLED: "false" }, async (system) => {
  const statuses = new Map<number, number>();
  const wrong: string[] = [];
  const send = (authorization: string) =>
    new Promise<number>((resolve, reject) => {
      const call = request(
        { host: "127.0.0.1", port: system.port, path: "/v1/auth/me", headers: { authorization } },
        (response) => {
          response.resume();
          response.on("end", () => resolve(response.statusCode ?? 0));
        },
      );
      call.on("error", reject);
      call.end();
    });
  for (let i = 0; i < count; i += 50) {
    const batch = Array.from({ length: Math.min(50, count - i) }, () => clean(scheme() + token()));
    await Promise.all(
      batch.map(async (authorization) => {
        const status = await send(authorization).catch((error: Error) => {
          wrong.push(`${JSON.stringify(authorization.slice(0, 80))}: ${error.message}`);
          return 0;
        });
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        if (status < 400 || status >= 500) wrong.push(`${JSON.stringify(authorization.slice(0, 80))}: ${status}`);
      }),
    );
  }
  const alive = await fetch(`${system.baseUrl}/health`);
  const figure = `${count} Authorization values (seed ${values.seed}): ${[...statuses].map(([status, n]) => `${n} × ${status}`).join(", ")}`;
  report("S9", wrong.length === 0 && alive.status === 200, figure);
  for (const line of wrong.slice(0, 10)) console.log(`    ${line}`);
});
