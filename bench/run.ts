/**
 * Prints rows P1, P2, P3 and P6 of the performance goals, and the hop costs of the planes, in one interleaved run;
 * `journal` prints how many stored runs the journal takes. Rows that lack a requirement on this machine are left out.
 *
 *   npm run bench                      all rows
 *   npm run bench -- --rounds 7 --seconds 4 p1 p2
 *
 * The peers have their own lockfile: npm ci --prefix bench/peers
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import type { Job, Result } from "./load.ts";
import { leaveOutUnmet } from "./requirements.ts";
import {
  cpuSeconds,
  residentMegabytes,
  type StartedTurnwright,
  type Subject,
  startPortkey,
  startScript,
  startTurnwright,
  temporaryDataDir,
} from "./subjects.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: "string", default: "5" }, seconds: { type: "string", default: "3" } },
});
const rounds = Number(values.rounds);
const milliseconds = Number(values.seconds) * 1000;
const rows = new Set(positionals.length > 0 ? positionals : ["p1", "p2", "p3", "p6", "hops"]);

if (rows.delete("journal")) {
  const script = join(import.meta.dirname, "../services/conversation/bench/journal.ts");
  const [code] = await once(
    spawn(process.execPath, [script, values.rounds], { stdio: ["ignore", "inherit", "inherit"] }),
    "exit",
  );
  if (rows.size === 0) process.exit(code ?? 1);
}

const leftOut = leaveOutUnmet(rows);
for (const line of leftOut) console.error(line);
if (rows.size === 0) process.exit(1);

const plainBody = JSON.stringify({ model: "gpt-4o-mini", messages: [{ role: "user", content: "Say hello to the benchmark." }] });
const streamBody = JSON.stringify({ ...JSON.parse(plainBody), stream: true });

const median = (numbers: readonly number[]): number => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;
const ratio = (a: number, b: number) => (b === 0 ? "–" : `${(a / b).toFixed(2)}×`);

/** One load-generator process for the whole run. */
const loader = spawn(process.execPath, [join(import.meta.dirname, "load.ts")], { stdio: ["pipe", "pipe", "inherit"] });
const answers = createInterface({ input: loader.stdout })[Symbol.asyncIterator]();

interface Sample extends Result {
  rate: number;
  /** Microseconds of the subject's CPU per request. */
  cpu: number;
}

async function measure(subject: Subject, job: Omit<Job, "port" | "headers">): Promise<Sample> {
  const before = cpuSeconds(subject.pids());
  loader.stdin.write(`${JSON.stringify({ ...job, port: subject.port, headers: subject.headers })}\n`);
  const { value } = await answers.next();
  const result = JSON.parse(value ?? "{}") as Result;
  if (result.failures > 0) throw new Error(`${subject.name}: ${result.failures} of ${result.requests} requests failed.`);
  const cpu = ((cpuSeconds(subject.pids()) - before) * 1e6) / result.requests;
  return { ...result, rate: result.requests / result.seconds, cpu };
}

/** Runs a workload on all subjects, round by round, so that disturbances of the machine affect all of them. */
async function interleave(subjects: readonly Subject[], job: Omit<Job, "port" | "headers">): Promise<Map<string, Sample>> {
  const samples = new Map<string, Sample[]>(subjects.map((subject) => [subject.name, []]));
  for (const subject of subjects) await measure(subject, { ...job, milliseconds: 1000, requests: 0 });
  for (let round = 0; round < rounds; round++) {
    for (const subject of round % 2 === 0 ? subjects : [...subjects].reverse()) {
      samples.get(subject.name)?.push(await measure(subject, job));
    }
  }
  const of = (list: Sample[], key: keyof Sample) => median(list.map((sample) => sample[key]));
  return new Map(
    [...samples].map(([name, list]) => [
      name,
      {
        requests: of(list, "requests"),
        failures: 0,
        seconds: of(list, "seconds"),
        p50: of(list, "p50"),
        p99: of(list, "p99"),
        firstDeltaP50: of(list, "firstDeltaP50"),
        rate: of(list, "rate"),
        cpu: of(list, "cpu"),
      },
    ]),
  );
}

function verdict(row: string, text: string, reached: boolean): void {
  console.log(`${row}  ${reached ? "reached    " : "NOT reached"}  ${text}`);
}

const get = (samples: Map<string, Sample>, name: string): Sample => {
  const sample = samples.get(name);
  if (sample === undefined) throw new Error(`No sample of ${name}.`);
  return sample;
};

function printTable(title: string, samples: Map<string, Sample>, streamed: boolean): void {
  console.log(`\n${title}`);
  console.table(
    Object.fromEntries(
      [...samples].map(([name, s]) => [
        name,
        {
          "req/s": Math.round(s.rate),
          "CPU µs/req": Math.round(s.cpu),
          "p50 ms": s.p50.toFixed(2),
          "p99 ms": s.p99.toFixed(2),
          ...(streamed ? { "first delta p50 ms": s.firstDeltaP50.toFixed(2) } : {}),
        },
      ]),
    ),
  );
}

const fast = await startScript("model", "bench/mock-model.ts", ["0"]);
const paced = await startScript("paced model", "bench/mock-model.ts", ["10"]);
const modelUrl = `http://127.0.0.1:${fast.port}`;
const pacedUrl = `http://127.0.0.1:${paced.port}`;
const data = temporaryDataDir();
const meshData = temporaryDataDir();
const started: Subject[] = [fast, paced, { ...fast, stop: async () => void loader.kill() }];
const start = async <S extends Subject>(starting: Promise<S>): Promise<S> => {
  const subject = await starting;
  started.push(subject);
  return subject;
};

try {
  const subjects: Subject[] = [];
  const one = await start<StartedTurnwright>(startTurnwright("all-in-one", { modelUrl, dataDir: data.path }));
  if (rows.has("p1") || rows.has("p2") || rows.has("p3")) {
    const floor = await start(startScript("floor", "bench/floor-proxy.ts", [modelUrl]));
    subjects.push(floor, one, await start(startPortkey(modelUrl)));
  }
  const mesh = rows.has("p3") ? await start(startTurnwright("mesh", { modelUrl, dataDir: meshData.path })) : undefined;
  if (mesh !== undefined) subjects.push(mesh);

  if (rows.has("p1") || rows.has("p3")) {
    const c32 = await interleave(subjects, { body: plainBody, connections: 32, milliseconds, requests: 0 });
    const c1 = await interleave([{ ...fast, name: "model" }, ...subjects], {
      body: plainBody,
      connections: 1,
      milliseconds,
      requests: 0,
    });
    printTable("P1  stateless completion, c32", c32, false);
    printTable("P1  stateless completion, c1", c1, false);
    const [f, t, p] = [get(c32, "floor"), get(c32, "all-in-one"), get(c32, "portkey")];
    const added = (name: string, key: "p50" | "p99") => get(c1, name)[key] - get(c1, "model")[key];
    verdict("P1", `${ratio(t.rate, f.rate)} floor (goal ≥ 0.5×)`, t.rate >= 0.5 * f.rate);
    verdict("P1", `${ratio(t.rate, p.rate)} Portkey (goal ≥ 6×)`, t.rate >= 6 * p.rate);
    for (const key of ["p50", "p99"] as const) {
      const [mine, theirs] = [added("all-in-one", key), added("portkey", key)];
      verdict(
        "P1",
        `added ${key} at c1: ${mine.toFixed(2)} ms, ${ratio(mine, theirs)} Portkey (goal ≤ 0.5×)`,
        mine <= 0.5 * theirs,
      );
    }
    if (mesh !== undefined) {
      const m = get(c32, "mesh");
      verdict("P3", `completion per CPU: ${ratio(p.cpu, m.cpu)} Portkey (goal ≥ 1.5×)`, p.cpu >= 1.5 * m.cpu);
      console.log(
        `P3  completion, cost over all-in-one: ${Math.round(m.cpu - t.cpu)} µs (compare with the gRPC hop below; goal ≤ 1.3 ×)`,
      );
    }
  }

  if (rows.has("p2") || rows.has("p3")) {
    const c32 = await interleave(subjects, { body: streamBody, connections: 32, milliseconds, requests: 0 });
    printTable("P2  completion stream of 50 deltas, c32", c32, true);
    const [f, t, p] = [get(c32, "floor"), get(c32, "all-in-one"), get(c32, "portkey")];
    verdict("P2", `${ratio(t.rate, f.rate)} floor (goal ≥ 0.6×)`, t.rate >= 0.6 * f.rate);
    verdict("P2", `${ratio(t.rate, p.rate)} Portkey (goal ≥ 2×)`, t.rate >= 2 * p.rate);
    if (mesh !== undefined) {
      const m = get(c32, "mesh");
      verdict("P3", `stream per CPU: ${ratio(p.cpu, m.cpu)} Portkey (goal ≥ 1.5×)`, p.cpu >= 1.5 * m.cpu);
    }
  }

  if (rows.has("p2")) {
    const pacedData = temporaryDataDir();
    const pacedSubjects = [
      { ...paced, name: "model" },
      await start(startScript("floor", "bench/floor-proxy.ts", [pacedUrl])),
      await start(startTurnwright("all-in-one", { modelUrl: pacedUrl, dataDir: pacedData.path })),
      await start(startPortkey(pacedUrl)),
      await start(startScript("openai-agents", "bench/peers/openai-agents.js", [pacedUrl])),
    ];
    const samples = await interleave(pacedSubjects, { body: streamBody, connections: 32, milliseconds: 0, requests: 128 });
    pacedData.remove();
    printTable("P2  32 streams at 10 ms per delta", samples, true);
    const [t, p] = [get(samples, "all-in-one"), get(samples, "portkey")];
    const added = (name: string) => get(samples, name).firstDeltaP50 - get(samples, "model").firstDeltaP50;
    console.log(`CPU per delta: all-in-one ${(t.cpu / 50).toFixed(1)} µs, Portkey ${(p.cpu / 50).toFixed(1)} µs`);
    verdict("P2", `CPU per delta ${ratio(t.cpu, p.cpu)} Portkey (goal ≤ 0.6×)`, t.cpu <= 0.6 * p.cpu);
    const [mine, theirs] = [added("all-in-one"), added("openai-agents")];
    verdict(
      "P2",
      `added first delta ${mine.toFixed(2)} ms, ${ratio(mine, theirs)} @openai/agents (goal ≤ 0.3×)`,
      mine <= 0.3 * theirs,
    );
  }

  if (rows.has("p6")) {
    const readies: number[] = [];
    await one.stop();
    for (let round = 0; round < rounds; round++) {
      const isLast = round === rounds - 1;
      const again = await startTurnwright("all-in-one", { modelUrl, dataDir: data.path, idleMs: isLast ? 3_000 : 0 });
      readies.push(again.readySeconds);
      if (isLast) {
        const memory = again.idleMegabytes;
        const afterLogin = residentMegabytes(again.pid);
        verdict("P6", `start to ready ${median(readies).toFixed(2)} s (goal ≤ 1.5 s)`, median(readies) <= 1.5);
        verdict("P6", `idle memory ${Math.round(memory)} MB without PostgreSQL (goal ≤ 160 MB)`, memory <= 160);
        console.log(`P6  after one login ${Math.round(afterLogin)} MB: its hash takes 19 MB, which the allocator keeps`);
      }
      await again.stop();
    }
  }

  if (rows.has("hops")) {
    console.log("\nHop costs");
    const hop = spawn(process.execPath, [join(import.meta.dirname, "hop.ts")], { stdio: ["ignore", "inherit", "inherit"] });
    await once(hop, "exit");
  }
} finally {
  for (const subject of started.reverse()) await subject.stop();
  data.remove();
  meshData.remove();
}
// Repeated at the end, below the figures.
for (const line of leftOut) console.error(line);
