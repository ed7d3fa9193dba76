/**
 * Sends made-up values of the Authorization header, byte for byte, to a running system and prints the statuses of the
 * responses. Fails when a value gets another status than 4xx, or no response.
 *
 *   node tests/security/fuzz-authorization.ts --count 10000 [--seed 1]
 */
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startSystem } from "../e2e/system.ts";
import { authorizationValues, type Genuine } from "./authorization-values.ts";
import { send } from "./requests.ts";

/** The results of a run. */
export interface FuzzReport {
  /** Number of values per status. */
  readonly statuses: ReadonlyMap<number, number>;
  /** The values that did not get 4xx, as JSON text, with the response. */
  readonly failures: readonly string[];
}

const answerMs = 10_000;

/** The status of the first response to a request with this header; 0 if there is none. */
function statusOf(baseUrl: string, target: string, value: Buffer): Promise<number> {
  const { hostname, port } = new URL(baseUrl);
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const socket = connect(Number(port), hostname);
    const finish = () => {
      socket.destroy();
      resolve(Number(/^HTTP\/1\.1 (\d{3})/.exec(Buffer.concat(chunks).toString("latin1"))?.[1] ?? 0));
    };
    socket.setTimeout(answerMs, finish);
    socket.on("data", (chunk) => {
      chunks.push(chunk);
      if (Buffer.concat(chunks).includes("\r\n")) finish();
    });
    socket.on("error", finish);
    socket.on("close", finish);
    socket.write(
      Buffer.concat([
        Buffer.from(`${target} HTTP/1.1\r\nHost: fuzz\r\nConnection: close\r\nAuthorization: `),
        value,
        Buffer.from("\r\n\r\n"),
      ]),
    );
  });
}

/** Sends `count` values, 32 at a time. */
export async function fuzzAuthorization(options: {
  baseUrl: string;
  genuine: Genuine;
  count: number;
  seed: number;
}): Promise<FuzzReport> {
  const values = authorizationValues(options.genuine, options.seed);
  const statuses = new Map<number, number>();
  const failures: string[] = [];
  let left = options.count;
  const worker = async () => {
    while (left > 0) {
      left -= 1;
      const { value } = values.next();
      if (value === undefined) return;
      const target = left % 4 === 0 ? "GET /v1/models" : "GET /v1/auth/me";
      const status = await statusOf(options.baseUrl, target, value);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      if (status < 400 || status > 499) failures.push(`${status || "no answer"} to ${JSON.stringify(value.toString("latin1"))}`);
    }
  };
  await Promise.all(Array.from({ length: 32 }, worker));
  return { statuses, failures };
}

/** The credentials of a new account. */
export async function genuineCredentials(baseUrl: string): Promise<Genuine> {
  const account = { email: `${randomUUID()}@example.com`, password: "correct-horse-battery" };
  const post = async (path: string, body: object, headers: Record<string, string> = {}) => {
    const answer = await send(baseUrl, { method: "POST", path, headers, body: JSON.stringify(body) });
    if (answer.status >= 300) throw new Error(`${path}: ${answer.status} ${answer.body}`);
    return JSON.parse(answer.body).data as Record<string, string>;
  };
  await post("/v1/auth/register", { ...account, name: "Fuzz" });
  const accessToken = (await post("/v1/auth/login", account)).access_token ?? "";
  const apiKey = (await post("/v1/api-keys", { name: "fuzz" }, { authorization: `Bearer ${accessToken}` })).key ?? "";
  return { accessToken, apiKey };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { count: { type: "string", default: "10000" }, seed: { type: "string", default: "1" } },
  });
  const dataDir = mkdtempSync(join(tmpdir(), "turnwright-fuzz-"));
  const system = await startSystem({
    shape: "all-in-one",
    env: { TURNWRIGHT_DATA_DIR: dataDir, LOG_LEVEL: "error", RATE_LIMIT_PER_DAY: "10000000" },
  });
  try {
    const genuine = await genuineCredentials(system.baseUrl);
    const began = performance.now();
    const count = Number(values.count);
    const { statuses, failures } = await fuzzAuthorization({
      baseUrl: system.baseUrl,
      genuine,
      count,
      seed: Number(values.seed),
    });
    const answers = [...statuses].sort(([a], [b]) => a - b).map(([status, times]) => `${times} × ${status || "no answer"}`);
    console.log(
      `${count} values in ${((performance.now() - began) / 1000).toFixed(1)} s, seed ${values.seed}: ${answers.join(", ")}`,
    );
    for (const failure of failures.slice(0, 20)) console.error(failure);
    const alive = await send(system.baseUrl, { method: "GET", path: "/ready" });
    const isWhole = failures.length === 0 && alive.status === 200;
    console.log(
      isWhole ? "only 4xx, and the system still serves" : `${failures.length} failures; /ready answers ${alive.status}`,
    );
    process.exitCode = isWhole ? 0 : 1;
  } finally {
    await system.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

if (import.meta.main) await main();
