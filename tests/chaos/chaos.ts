import { setTimeout as delay } from "node:timers/promises";
import type { BrokenFile } from "../breakages/broken-source.ts";
import { createClient, isUntold, type SentMessage } from "./client.ts";
import { type FaultPlan, type FaultReport, makeFaults } from "./faults.ts";
import { checkInvariants, type Invariant, unsettledRuns } from "./invariants.ts";
import { startChaosMesh } from "./mesh.ts";
import type { Losses } from "./postgres-proxy.ts";
import { seeded } from "./random.ts";
import { planMessages } from "./scenario.ts";

/** What a run of the driver came to. */
export interface ChaosReport {
  readonly sent: readonly SentMessage[];
  readonly invariants: readonly Invariant[];
  readonly statuses: Readonly<Record<string, number>>;
  /** Why runs failed, and how many. */
  readonly failures: Readonly<Record<string, number>>;
  readonly faults: FaultReport;
  readonly losses: Losses;
  /** From the last fault to the end of the last run, in milliseconds. */
  readonly settledMs: number;
  readonly seconds: number;
  /** Where the logs are, when a promise was broken. */
  readonly logs: string;
}

/** How long after the last fault all runs must have ended, in milliseconds. */
export const settleMs = 60_000;

const progressMs = 30_000;

async function account(gateway: string, name: string): Promise<string> {
  const body = { email: `${name}@example.com`, password: "correct-horse-battery", name };
  const post = async (path: string) => {
    const response = await fetch(gateway + path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    return (await response.json()) as { data?: { access_token: string } };
  };
  await post("/v1/auth/register");
  const { data } = await post("/v1/auth/login");
  if (data === undefined) throw new Error(`${name} could not log in`);
  return data.access_token;
}

/**
 * Sends messages to a mesh while it is being broken, waits until all runs have ended, and looks at what became of each.
 * The seed determines the messages and the faults; what meets what is the machine's.
 */
export async function runChaos(options: {
  seed: number;
  /** At the least. */
  messages: number;
  clients: number;
  plan: FaultPlan;
  /** The name of a mechanism that is taken out. */
  broken?: BrokenFile;
  say?: (line: string) => void;
  /**
   * Is told now and then how many messages have come to their end, and of how many of them their client was told
   * nothing.
   */
  onProgress?: (messages: number, untold: number) => void;
  /** Ends it early: nothing more is sent, and what was sent is looked at. */
  signal?: AbortSignal;
}): Promise<ChaosReport> {
  const { seed, plan, say = () => {}, signal } = options;
  const random = seeded(seed);
  const began = Date.now();
  const mesh = await startChaosMesh({ random: random.fork(), broken: options.broken });
  const sent: SentMessage[] = [];
  const progress = setInterval(() => options.onProgress?.(sent.length, sent.filter(isUntold).length), progressMs);
  let isKept = false;
  try {
    const [gateway = ""] = mesh.gateways;
    const tokens = await Promise.all(Array.from({ length: options.clients }, (_, index) => account(gateway, `client-${index}`)));
    const perClient = Math.ceil(options.messages / options.clients);
    const plans = tokens.map((_, index) => planMessages(random.fork(), { first: index, step: tokens.length }));
    let isEnough = false;
    const oddAnswers: string[] = [];
    const tookEffect = (key: string) => mesh.effects.counts("effect_once").has(key);
    const faults = makeFaults(mesh, plan, { random: random.fork(), token: tokens[0] ?? "", say });
    const stopped = new Promise<void>((resolve) => signal?.addEventListener("abort", () => resolve(), { once: true }));
    const enough = Promise.race([faults.enough, stopped]).then(() => {
      isEnough = true;
    });
    await Promise.all(
      tokens.map(async (token, index) => {
        const client = createClient({ gateways: mesh.gateways, token, random: random.fork(), tookEffect, oddAnswers });
        const plan = plans[index];
        for (let count = 0; plan !== undefined && (count < perClient || !isEnough) && !signal?.aborted; count += 1) {
          sent.push(await client.send(plan.next().value));
        }
      }),
    );
    await enough;
    const report = await faults.end();
    const url = mesh.databaseUrl();
    while ((await unsettledRuns(url)) > 0 && Date.now() - report.lastAt < settleMs) await delay(100);
    const settledMs = Date.now() - report.lastAt;
    // What tools still do is over as well.
    await delay(200);
    const checked = await checkInvariants(url, sent, mesh.effects);
    checked.invariants.push({ name: "answers that no fault excuses", checked: sent.length, breaches: oddAnswers });
    isKept = checked.invariants.every(({ breaches }) => breaches.length === 0);
    return {
      sent,
      ...checked,
      faults: report,
      losses: mesh.proxy.losses,
      settledMs,
      seconds: Math.round((Date.now() - began) / 1_000),
      logs: isKept ? "" : mesh.dir,
    };
  } finally {
    clearInterval(progress);
    await mesh.stop(!isKept);
  }
}
