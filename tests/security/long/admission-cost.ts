/**
 * Row S14: the cost of a refused request. Without a credential it takes at most 5 ms of CPU and holds at most 64 KiB,
 * on every protocol; and 100 small bodies that expand when decompressed, with or without a credential, add at most
 * 100 ms to the p99 of an unrelated request.
 *
 *   node tests/security/long/admission-cost.ts --count 200
 */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { connect, type Socket } from "node:net";
import { parseArgs } from "node:util";
import { send } from "../requests.ts";
import { type Attack, attacks, bombs, bytesOf, json, plain, protectedUnary, publicUnary } from "./admission-attacks.ts";
import { report, withSystem } from "./stage.ts";

const { values } = parseArgs({ options: { count: { type: "string", default: "200" } } });
const count = Math.max(20, Number(values.count));
const cpuBoundMs = 5;
/** Node parses all that it has read at once, up to 64 KiB, before the gateway can stop it. */
const crumbsBoundMs = 25;
const heldBound = 65_536;
const addedBoundMs = 100;

function dial(port: number): Socket {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  socket.on("error", () => {});
  return socket;
}

/** Sends over HTTP/1.1 on a new connection; returns the status. */
async function sendOne(port: number, bytes: Buffer): Promise<number> {
  const socket = dial(port);
  let status = 0;
  const answered = new Promise<void>((resolve) => {
    socket.once("data", (chunk) => {
      status = Number(chunk.toString("latin1").slice(9, 12));
      resolve();
    });
    socket.once("close", () => resolve());
  });
  socket.write(bytes);
  await answered;
  socket.destroy();
  return status;
}

/** Sends over HTTP/2; returns the gRPC status. */
async function sendOver(
  session: ReturnType<typeof connectHttp2>,
  { path, headers, body }: Attack,
  token?: string,
): Promise<number> {
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const stream = session.request({ ":method": "POST", ":path": path, ...headers, ...authorization });
  stream.on("error", () => {});
  let status = 0;
  const note = (given: Record<string, unknown>) => {
    if (given["grpc-status"] !== undefined) status = Number(given["grpc-status"]);
  };
  stream.on("response", note).on("trailers", note).resume();
  stream.end(body);
  if (!stream.closed) await once(stream, "close");
  return status;
}

/** CPU time of a process in milliseconds, which Linux counts in steps of 10. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

function residentBytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

function quantile(numbers: readonly number[], share: number): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

const limits = { RATE_LIMIT_ENABLED: "false", LOG_LEVEL: "error" };
await withSystem(limits, async ({ baseUrl, port, pid }) => {
  // Node's client counts data that a closed stream could not send against its session.
  const session = connectHttp2(baseUrl, { maxSessionMemory: 10_000 });
  const launch = (attack: Attack, bytes: Buffer, token?: string) =>
    attack.isHttp2 ? sendOver(session, attack, token) : sendOne(port, bytes);

  // Memory while many wait: the most that each protocol lets a client send without a credential.
  const waiting: readonly (readonly [string, string, Record<string, string>, number])[] = [
    ["Connect, a login that stops before its last byte", publicUnary, { "content-type": "application/proto" }, 16_383],
    ["gRPC-web, a login that stops before its last byte", publicUnary, { "content-type": "application/grpc-web" }, 16_383],
    ["REST, a login that stops before its last byte", "/v1/auth/login", json, 16_383],
    ["REST, 3 MB to a path that wants a credential, of which half is sent", "/v1/conversations", json, 1_500_000],
    ["gRPC-web, the same", protectedUnary, { "content-type": "application/grpc-web" }, 1_500_000],
  ];
  const holders = count * 2;
  for (const [name, path, headers, sent] of waiting) {
    const declared = sent > 100_000 ? 3_000_000 : sent + 1;
    const open = async () => {
      const sockets = await Promise.all(
        Array.from({ length: holders }, async () => {
          const socket = dial(port);
          const bytes = bytesOf({ name, path, headers: { ...headers }, body: Buffer.alloc(declared, 0x20) });
          await new Promise((resolve) => socket.write(bytes.subarray(0, bytes.length - declared + sent), resolve));
          return socket;
        }),
      );
      // The server gives no sign of having read an incomplete request; a measured row may take its time.
      await pause(1_000);
      return sockets;
    };
    // The first connections fill the memory that the process keeps anyway, such as garbage awaiting collection; the
    // growth with the next ones is held for them.
    const sockets = await open();
    const before = residentBytes(pid);
    sockets.push(...(await open()));
    const held = (residentBytes(pid) - before) / holders;
    for (const socket of sockets) socket.destroy();
    const figure = `${(held / 1_024).toFixed(1)} KiB held for each of ${holders} (≤ ${heldBound / 1_024}): ${name}`;
    report("S14", held <= heldBound, figure);
    await pause(500);
  }

  // CPU, one kind after another; first the cost of any request on a new connection.
  const idleFrom = cpuMs(pid);
  await pause(2_000);
  const idlePerMs = (cpuMs(pid) - idleFrom) / 2_000;
  let worst = { name: "", ms: 0 };
  let crumbs = { name: "", ms: 0 };
  for (const attack of [plain, ...attacks]) {
    const bytes = bytesOf(attack);
    for (let i = 0; i < 10; i++) await launch(attack, bytes);
    const statuses = new Set<number>();
    const [begun, cpu] = [performance.now(), cpuMs(pid)];
    for (let i = 0; i < count; i++) statuses.add(await launch(attack, bytes));
    const ms = (cpuMs(pid) - cpu - idlePerMs * (performance.now() - begun)) / count;
    console.log(`     ${ms.toFixed(2).padStart(6)} ms of CPU  ${attack.name} (${[...statuses].join(", ")})`);
    if (ms > worst.ms && !attack.isChunked) worst = { name: attack.name, ms };
    if (ms > crumbs.ms && attack.isChunked) crumbs = { name: attack.name, ms };
    if ([...statuses].some((status) => status >= 500)) report("S14", false, `${attack.name} was answered with ${[...statuses]}`);
  }
  report(
    "S14",
    worst.ms <= cpuBoundMs,
    `at most ${worst.ms.toFixed(2)} ms of CPU without a credential (≤ ${cpuBoundMs}): ${worst.name}`,
  );

  const chunks = `at most ${crumbs.ms.toFixed(2)} ms of CPU for 98 KB of chunks of one byte (≤ ${crumbsBoundMs}): ${crumbs.name}`;
  report("S14", crumbs.ms <= crumbsBoundMs, chunks);

  // An unrelated request beside 100 of them at once.
  const credentials = { email: "s14@example.com", password: "correct-horse-battery" };
  await send(baseUrl, { method: "POST", path: "/v1/auth/register", body: JSON.stringify({ ...credentials, name: "S" }) });
  const login = await send(baseUrl, { method: "POST", path: "/v1/auth/login", body: JSON.stringify(credentials) });
  const token = (JSON.parse(login.body) as { data: { access_token: string } }).data.access_token;
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  /** Milliseconds until /health has answered on an open connection. */
  const probe = (): Promise<number> => {
    const begun = performance.now();
    return new Promise((resolve, reject) => {
      const outgoing = request({ host: "127.0.0.1", port, path: "/health", agent }, (incoming) => {
        incoming.resume().once("end", () => resolve(performance.now() - begun));
      });
      outgoing.once("error", reject).end();
    });
  };
  const rounds = Math.max(5, Math.round(count / 10));
  const small = bombs(protectedUnary).map((attack) => ({ ...attack, body: attack.body.subarray(0, 5) }));
  for (const withToken of [false, true]) {
    const kinds = bombs(protectedUnary);
    const quiet: number[] = [];
    const besideOrdinary: number[] = [];
    const besideBombs: number[] = [];
    const flood = async (kinds: readonly Attack[], times: number[]) => {
      const sent = kinds.map((attack) => bytesOf(attack, withToken ? token : undefined));
      let isOver = false;
      const all = Array.from({ length: 100 }, (_, index) => {
        const kind = index % kinds.length;
        return launch(kinds[kind] as Attack, sent[kind] as Buffer, withToken ? token : undefined);
      });
      const over = Promise.all(all).finally(() => {
        isOver = true;
      });
      while (!isOver) times.push(await probe());
      await over;
    };
    for (let round = 0; round < rounds; round++) {
      for (let i = 0; i < 50; i++) quiet.push(await probe());
      // As many ordinary refused requests: the difference is the cost of decompressing and decoding.
      await flood(small, besideOrdinary);
      await flood(kinds, besideBombs);
    }
    const [alone, ordinary, after] = [quiet, besideOrdinary, besideBombs].map((times) => quantile(times, 0.99)) as [
      number,
      number,
      number,
    ];
    const who = withToken ? "with a credential" : "without a credential";
    const figure = `100 at once ${who}, ${rounds} rounds: p99 of /health ${after.toFixed(1)} ms, beside 100 small requests ${ordinary.toFixed(1)}, alone ${alone.toFixed(1)} (adds ≤ ${addedBoundMs})`;
    report("S14", after - Math.max(alone, ordinary) <= addedBoundMs, figure);
  }
  agent.destroy();
  session.destroy();
});
