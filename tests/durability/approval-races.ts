import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { restApi } from "../e2e/api.ts";
import { type EffectCounter, startEffectCounter } from "../e2e/effect-counter.ts";
import { startSystem } from "../e2e/system.ts";
import { type JsonCall, jsonCaller } from "../json-call.ts";

/** The results of racing decisions. */
export interface RaceFigures {
  readonly runs: number;
  /** Decisions sent, including those after the end of a run. */
  readonly decisions: number;
  /** Runs won by an approval; below: by a rejection. */
  readonly approved: number;
  readonly rejected: number;
  /** Runs without exactly one winning decision. */
  readonly withoutOneWinner: number;
  /** Requests that reached the effect counter. */
  readonly effects: number;
  /** Runs whose number of effects does not match their decision. */
  readonly wrongEffects: number;
  /** Runs that have not ended, or whose record does not match the winning decision. */
  readonly wrongRecords: number;
  /** Decisions that won after the run had been decided. */
  readonly lateWinners: number;
  /** Responses that are neither a win nor a 409. */
  readonly oddAnswers: readonly string[];
}

const account = { email: "racer@example.com", password: "SecurePass123" };
const atOnce = 8;
const racedAtOnce = 2;

interface WaitingRun {
  readonly conversationId: string;
  readonly approvalId: string;
  readonly body: string;
}

interface RacedRun extends WaitingRun {
  /** For each winning decision, whether it approves. */
  readonly winners: readonly boolean[];
}

async function inTurns<T, R>(items: readonly T[], width: number, work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const queue = [...items.entries()];
  const worker = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) results[next[0]] = await work(next[1]);
  };
  await Promise.all(Array.from({ length: width }, worker));
  return results;
}

async function park(call: JsonCall, effects: EffectCounter): Promise<WaitingRun> {
  const body = `race ${randomUUID()}`;
  const { body: answer } = await call("POST", "/v1/conversations", {
    message: `Send an HTTP request to ${effects.url} saying ${body}`,
  });
  if (answer.data?.response !== "pending_approval") throw new Error(`the run did not park: ${JSON.stringify(answer)}`);
  const conversationId: string = answer.data.conversation_id;
  const { body: record } = await call("GET", `/v1/conversations/${conversationId}`);
  return { conversationId, approvalId: record.data.pending_approvals[0].id, body };
}

/**
 * Sends many decisions on one run at once: three of four approve; every second one goes by the approval, the others by
 * the conversation.
 */
async function race(call: JsonCall, run: WaitingRun, decisions: number, odd: string[]): Promise<RacedRun> {
  // No two decisions are the same: the same one again would succeed without an effect.
  const one = randomUUID();
  const answers = await Promise.all(
    Array.from({ length: decisions }, async (_, index) => {
      const approved = index % 4 !== 3;
      const path = index % 2 === 0 ? `approvals/${run.approvalId}/decision` : `conversations/${run.conversationId}/approve`;
      const { status, body } = await call("POST", `/v1/${path}`, { approved, reason: `decision ${index} of ${one}` });
      if (status !== 200 && status !== 409) odd.push(`${status} ${body.error?.message ?? ""}`);
      return { won: status === 200, approved };
    }),
  );
  return { ...run, winners: answers.filter(({ won }) => won).map(({ approved }) => approved) };
}

/** Whether the run has ended and its record matches the decision. */
async function tellsOf(call: JsonCall, { conversationId, winners }: RacedRun): Promise<boolean> {
  const { body } = await call("GET", `/v1/conversations/${conversationId}`);
  const { messages, conversation, pending_approvals: pending } = body.data;
  const roles = messages.map(({ role }: { role: string }) => role).join(" ");
  const isRejected = /rejected this call/.test(messages[2]?.content ?? "");
  const hasEnded = roles === "user assistant tool assistant" && conversation.status === "active" && pending.length === 0;
  return hasEnded && isRejected === !winners[0];
}

/**
 * Parks runs, races decisions on half of them, kills every process with -9 and restarts all; races decisions on the
 * other half, kills and restarts again, then sends two more decisions to each run. Effects are counted outside the
 * system. Uses its own processes and its own PostgreSQL, which is killed as well.
 */
export async function raceApprovals(options: {
  shape: "all-in-one" | "mesh";
  runs: number;
  /** Decisions on each run. */
  decisions: number;
}): Promise<RaceFigures> {
  const { shape, runs, decisions } = options;
  const dataDir = mkdtempSync(join(tmpdir(), "turnwright-races-"));
  const effects = await startEffectCounter();
  const env = {
    TURNWRIGHT_DATA_DIR: dataDir,
    TOOLS_ALLOWED_HOSTS: effects.host,
    RATE_LIMIT_ENABLED: "false",
    LOG_LEVEL: "warn",
  };
  let system = await startSystem({ shape, env });
  const restart = async (): Promise<JsonCall> => {
    await system.killAll();
    system = await startSystem({ shape, env });
    return login();
  };
  const login = async () => {
    const { accessToken } = await restApi(system.baseUrl).login(account.email, account.password);
    return jsonCaller(
      () => system.baseUrl,
      () => accessToken,
    );
  };
  const odd: string[] = [];
  try {
    await restApi(system.baseUrl).register(account.email, account.password);
    let call = await login();
    const parkOne = () => park(call, effects);
    const waiting = await inTurns(Array.from({ length: runs }), atOnce, parkOne);
    const half = Math.floor(runs / 2);
    const raceAll = (some: readonly WaitingRun[]) => inTurns(some, racedAtOnce, (run) => race(call, run, decisions, odd));
    const raced = await raceAll(waiting.slice(0, half));
    call = await restart();
    raced.push(...(await raceAll(waiting.slice(half))));
    call = await restart();
    const late = await inTurns(raced, atOnce, (run) => race(call, run, 2, odd));
    const records = await inTurns(raced, atOnce, (run) => tellsOf(call, run));
    const effectsOf = ({ body }: RacedRun) => effects.bodies.filter((one) => one === body).length;
    return {
      runs,
      decisions: runs * (decisions + 2),
      approved: raced.filter(({ winners: [first] }) => first === true).length,
      rejected: raced.filter(({ winners: [first] }) => first === false).length,
      withoutOneWinner: raced.filter(({ winners }) => winners.length !== 1).length,
      effects: effects.bodies.length,
      wrongEffects: raced.filter((run) => effectsOf(run) !== (run.winners[0] ? 1 : 0)).length,
      wrongRecords: records.filter((tells) => !tells).length,
      lateWinners: late.reduce((count, { winners }) => count + winners.length, 0),
      oddAnswers: odd,
    };
  } finally {
    await system.stop();
    await effects.close();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

/** Whether every run had one winner and the matching number of effects. */
export function isFair(figures: RaceFigures): boolean {
  const { runs, approved, rejected, withoutOneWinner, effects, wrongEffects, wrongRecords, lateWinners, oddAnswers } = figures;
  const faults = withoutOneWinner + wrongEffects + wrongRecords + lateWinners + oddAnswers.length;
  return faults === 0 && approved + rejected === runs && effects === approved;
}
