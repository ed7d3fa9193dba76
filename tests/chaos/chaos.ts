import { setTimeout as delay } from "node:timers/promises";
import type { BrokenFile } from "../breakages/broken-source.ts";
import { createClient, isUntold, type SentMessage } from "./client.ts";
import { type FaultPlan, type FaultReport, makeFaults } from "./faults.ts";
import { checkInvariants, type Invariant, unsettledRuns } from "./invariants.ts";
import { startChaosMesh } from "./mesh.ts";
import type { Losses } from "./postgres-proxy.ts";
import { seeded } from "./random.ts";
import { planMessages } from "./scenario.ts";

/** The result of one run of the driver. */
export interface ChaosReport {
  readonly sent: readonly SentMessage[];
  readonly invariants: readonly Invariant[];
  readonly statuses: Readonly<Record<string, number>>;
  /** Failed runs, counted by their error. */
  readonly failures: Readonly<Record<string, number>>;
  readonly faults: FaultReport;
  readonly losses: Losses;
  /** Milliseconds from the last fault to the end of the last run. */
  readonly settledMs: number;
  readonly seconds: number;
  /** The directory of the logs, kept when a promise was broken; else empty. */
  readonly logs: string;
}

/** Milliseconds after the last fault within which every run must have ended. */
export const settleMs = 60_000;

const progressMs = 30_000;

async function account(gateway: string, name: string): Promise<string> {
  const credentials = { email: `${name}@example.com`, password: "correct-horse-battery" };
  const post = async (path: string, body: object) => {
    const response = await fetch(gateway + path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    return (await response.json()) as { data?: { access_token: string } };
  };
  await post("/v1/auth/register", { ...credentials, name });
  const { data } = await post("/v1/auth/login", credentials);
  if (data === undefined) throw new Error(`${name} could not log in`);
  return data.access_token;
}

/**
 * Sends messages to a mesh while faults hit it, waits until all runs have ended, and checks the promises. The seed
 * determines the messages and the faults; their interleaving is up to the machine.
 */
export async function runChaos(options: {
  seed: number;
  /** Minimum number of messages. */
  messages: number;
  clients: number;
  plan: FaultPlan;
  /** A mechanism to remove. */
  broken?: BrokenFile;
  say?: (line: string) => void;
  /**
   * Called from time to time with the number of messages that have ended and of those whose client was told no outcome.
   */
  onProgress?: (messages: number, untold: number) => void;
  /** Ends the run early: no further messages are sent, and those sent so far are checked. */
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
    // Tools that are still running have also finished after this pause.
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
