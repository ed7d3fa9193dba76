import { setTimeout as delay } from "node:timers/promises";
import { draftOf } from "@turnwright/testing/mock-model/draft";
import { planOf } from "@turnwright/testing/mock-model/modes";
import { eventually, newUser, type Outcome, type Surface, type User } from "../endpoints/user.ts";
import type { FaultStage } from "./fault-stage.ts";

/** A fault of the model's endpoint, and the right reaction. */
export interface Fault {
  readonly name: string;
  /** Modes of the mock model. */
  readonly modes: string;
  /** The whole answer; undefined: there is none, so that no answer may claim to be whole. */
  readonly text: string | undefined;
  /** The fault comes after the first byte of a body: nothing is tried again. */
  readonly isLate: boolean;
  /** Least milliseconds between two tries. */
  readonly retryAfterMs?: number;
  /** Model calls of a good answer; default 1. */
  readonly calls?: number;
}

const words = Array.from({ length: 12 }, (_, index) => `word${index}`).join(" ");

/** The faults of row R5. */
export const faults: readonly Fault[] = [
  { name: "429 with Retry-After", modes: "status-429-retry-after-1", text: undefined, isLate: false, retryAfterMs: 1_000 },
  { name: "500", modes: "status-500", text: undefined, isLate: false },
  { name: "hang", modes: "hang", text: undefined, isLate: false },
  { name: "cut stream", modes: "words-12-cut-after-5", text: undefined, isLate: true },
  { name: "garbage", modes: "garbage", text: undefined, isLate: true },
  { name: "bad tool JSON", modes: "bad-tool-json", text: "The tools said:", isLate: false, calls: 3 },
  { name: "slow drip", modes: "words-12-drip-30ms", text: words, isLate: false },
  { name: "wrong content type", modes: "html", text: undefined, isLate: true },
];

/** The text of the endpoint that takes over. */
export const fallbackText = words;

/** One request of a cell. */
export interface Sent {
  readonly message: string;
  /** Undefined: the connection to Turnwright broke. */
  readonly outcome: Outcome | undefined;
}

/** The runs of a user, by status, and the answers of those that completed. */
export interface Runs {
  readonly byStatus: Readonly<Record<string, number>>;
  readonly answers: readonly string[];
}

/** A cell: one fault on one surface. */
export interface Cell {
  readonly fault: Fault;
  readonly surface: Surface;
  readonly sent: readonly Sent[];
  readonly usage: Awaited<ReturnType<User["usage"]>>;
  readonly runs: Runs;
  /** Tokens that the endpoint has told in whole answers. */
  readonly toldTokens: number;
  readonly isServing: boolean;
}

/** Runs `work` for 0 to count - 1, at most `atOnce` at a time. */
export async function inParallel<T>(count: number, atOnce: number, work: (index: number) => Promise<T>): Promise<T[]> {
  const results = new Array<T>(count);
  let next = 0;
  const one = async () => {
    for (let index = next++; index < count; index = next++) results[index] = await work(index);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, one));
  return results;
}

async function runsOf(user: User): Promise<Runs> {
  const byStatus: Record<string, number> = {};
  const answers: string[] = [];
  let cursor = "";
  for (let page = 0; page < 1_000; page++) {
    const { json } = await user.call("GET", `/v1/runs?limit=100${cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`}`);
    for (const run of json.data.runs) {
      byStatus[run.status] = (byStatus[run.status] ?? 0) + 1;
      if (run.status === "completed") answers.push(run.response);
    }
    cursor = json.data.next_cursor ?? "";
    if (cursor === "") break;
  }
  return { byStatus, answers };
}

const isEnded = ({ byStatus }: Runs) => !byStatus.running && !byStatus.queued;

/**
 * Sends the requests of a cell with a user of its own, and waits until its runs have ended and its tokens are counted.
 */
export async function runCell(
  stage: FaultStage,
  fault: Fault,
  surface: Surface,
  options: { count: number; atOnce: number; modelOf: (index: number) => string; settleMs: number },
): Promise<Cell> {
  const user = await newUser(stage.system.baseUrl);
  const sent = await inParallel(options.count, options.atOnce, async (index) => {
    const message = `${fault.name}, ${surface} ${index}`;
    const outcome = await user.ask(surface, message, options.modelOf(index), { timeoutMs: 60_000 }).catch(() => undefined);
    return { message, outcome };
  });
  const isServing = await stage.isServing();
  if (!isServing)
    return {
      fault,
      surface,
      sent,
      usage: { requests: 0, prompt_tokens: 0, completion_tokens: 0, estimated_tokens: 0 },
      runs: { byStatus: {}, answers: [] },
      toldTokens: 0,
      isServing,
    };
  const runs = surface === "stored" ? await eventually(() => runsOf(user), isEnded, 30_000) : { byStatus: {}, answers: [] };
  const answers =
    fault.text === undefined ? [] : sent.flatMap(({ message }) => stage.requests.about(message).slice(0, fault.calls ?? 1));
  const told = answers.map(({ body }) => draftOf(body, planOf(body.model) ?? {}).usage.total_tokens);
  const toldTokens = told.reduce((sum, tokens) => sum + tokens, 0);
  // An answer that broke off has cost something.
  const leastTokens = fault.isLate ? 1 : toldTokens;
  const isCounted = (usage: Cell["usage"]) => usage.prompt_tokens + usage.completion_tokens >= leastTokens;
  // Usage is recorded in batches, also of calls that failed.
  await delay(options.settleMs);
  const usage = await eventually(() => user.usage(), isCounted, 8_000);
  return { fault, surface, sent, usage, runs, toldTokens, isServing };
}
