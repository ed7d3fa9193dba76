import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type pg from "pg";
import { answerTo, type BurstModel } from "./burst-model.ts";
import { inversions, readRecord, recordFaults, uninterrupted } from "./burst-record.ts";

/** The policy for a message that arrives while another one of its conversation is being answered. */
export type Policy = "enqueue" | "reject" | "interrupt";

/** The system that receives the messages. */
export interface BurstStage {
  readonly gateways: readonly string[];
  readonly token: string;
  readonly model: BurstModel;
  readonly db: pg.Pool;
}

/** The results of bursts of messages. */
export interface BurstFigures {
  /** Messages that were sent. */
  readonly sent: number;
  readonly answered: number;
  /** Refused with 409 CONVERSATION_BUSY. */
  readonly rejected: number;
  readonly cancelled: number;
  /** Runs taken over from a process that died. */
  readonly takenOver: number;
  readonly faults: string[];
}

interface Reply {
  readonly text: string;
  readonly status: number;
  readonly code: string;
  readonly response: string;
}

const patienceMs = 240_000;
const passing: ReadonlySet<number> = new Set([500, 502, 503, 504]);

/** Sends a message under one key until it gets a response, trying the gateways in turn. */
async function send({ gateways, token }: BurstStage, path: string, body: { message: string }, at: number): Promise<Reply> {
  const key = randomUUID();
  const until = Date.now() + patienceMs;
  for (let attempt = at; ; attempt += 1) {
    try {
      const response = await fetch(`${gateways[attempt % gateways.length]}${path}`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json", "idempotency-key": key },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(patienceMs),
      });
      const { data, error } = (await response.json()) as { data?: { response?: string }; error?: { code?: string } };
      const reply = { text: body.message, status: response.status, code: error?.code ?? "", response: data?.response ?? "" };
      if (!passing.has(response.status) || Date.now() > until) return reply;
    } catch (error) {
      if (Date.now() > until) throw error;
    }
    await delay(100);
  }
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + patienceMs; Date.now() < end; await delay(50)) if (await condition()) return;
  throw new Error("the expected state was not reached");
}

const countSql = `select count(*)::integer as all, count(*) filter (where status = 'completed')::integer as completed,
  count(*) filter (where status in ('completed', 'failed', 'cancelled'))::integer as ended
from conversation.runs where conversation_id = $1`;

/**
 * Sends messages to one new conversation, all at once and over all gateways in turn. The first question to the model is
 * held until all are stored (`enqueue`) or refused (`reject`), so that the order of acceptance is known; under
 * `interrupt` every second message is sent slightly later, during the answers. `midway` is called when a third is
 * answered.
 */
export async function burst(
  stage: BurstStage,
  { name, policy, messages, midway }: { name: string; policy: Policy; messages: number; midway?: () => Promise<void> },
): Promise<BurstFigures> {
  const { model, db, gateways, token } = stage;
  const opening = `${name} opens`;
  const opened = await fetch(`${gateways[0]}/v1/conversations`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ message: opening }),
  });
  const { data } = (await opened.json()) as { data: { conversation_id: string } };
  const conversationId = data.conversation_id;
  const counts = async () =>
    (await db.query<{ all: number; completed: number; ended: number }>(countSql, [conversationId])).rows[0] ?? {
      all: 0,
      completed: 0,
      ended: 0,
    };
  const release = policy === "interrupt" ? undefined : model.hold(name);
  const texts = Array.from({ length: messages }, (_, index) => `${name} message ${index}`);
  let replied = 0;
  const replies = texts.map(async (message, index) => {
    if (policy === "interrupt" && index % 2 === 1) await delay(index * 20);
    const reply = await send(
      stage,
      `/v1/conversations/${conversationId}/messages`,
      { message, ...{ concurrency: policy } },
      index,
    );
    replied += 1;
    return reply;
  });
  if (policy === "enqueue") await until(async () => (await counts()).all === messages + 1);
  if (policy === "reject") await until(async () => replied === messages - 1);
  release?.();
  if (midway !== undefined) {
    await until(async () => (await counts()).completed > messages / 3);
    await midway();
  }
  const all = await Promise.all(replies);
  await until(async () => {
    const { all: known, ended } = await counts();
    return known === ended;
  });
  const record = await readRecord(db, conversationId);
  const faults = recordFaults(record, new Set([opening, ...texts]));
  const answers = all.filter(({ status }) => status < 300);
  for (const { text, response } of answers) if (response !== answerTo(text)) faults.push(`"${text}" was answered "${response}"`);
  const completed = record.runs.filter(({ status }) => status === "completed").length - 1;
  if (answers.length !== completed) faults.push(`${answers.length} messages were answered, ${completed} runs completed`);
  const rejected = all.filter(({ status, code }) => status === 409 && code === "CONVERSATION_BUSY").length;
  const cancelled = all.filter(({ code }) => code === "RUN_CANCELLED").length;
  const refused = { enqueue: 0, reject: rejected, interrupt: cancelled }[policy];
  if (answers.length + refused !== messages) {
    const odd = all.filter(({ status, code }) => status >= 300 && !["CONVERSATION_BUSY", "RUN_CANCELLED"].includes(code));
    faults.push(
      `${messages - answers.length - refused} messages were neither answered nor refused: ${odd.map(({ status, code }) => `${status} ${code}`)}`,
    );
  }
  if (policy === "reject" && record.runs.length !== answers.length + 1) faults.push("a refused message is stored");
  if (policy === "reject" && answers.length !== 1)
    faults.push(`${answers.length} messages were accepted while one was being answered`);
  if (policy === "enqueue" && inversions(record) > 0) faults.push(`${inversions(record)} messages were answered out of order`);
  if (policy === "interrupt") {
    if (record.runs.at(-1)?.status !== "completed") faults.push("the last message was not answered");
    if (cancelled === 0) faults.push("no run was interrupted");
    if (uninterrupted(record) > 0) faults.push(`${uninterrupted(record)} runs continued although a newer message had arrived`);
  }
  const takenOver = record.runs.filter(({ epoch }) => epoch > 1).length;
  return {
    sent: messages,
    answered: answers.length,
    rejected,
    cancelled,
    takenOver,
    faults: faults.map((fault) => `${name}: ${fault}`),
  };
}

/**
 * Bursts of several conversations at the same time. Questions open at the same time count as faults under policies that
 * let no run end early.
 */
export async function bursts(
  stage: BurstStage,
  options: { name: string; policy: Policy; conversations: number; messages: number; midway?: () => Promise<void> },
): Promise<BurstFigures> {
  const { name, policy, conversations, messages, midway } = options;
  const before = stage.model.overlaps.length;
  // Slow enough to be interrupted.
  stage.model.pace(policy === "interrupt" ? 80 : 10);
  const all = await Promise.all(
    Array.from({ length: conversations }, (_, index) =>
      burst(stage, { name: `${name}-${index}`, policy, messages, midway: index === 0 ? midway : undefined }),
    ),
  );
  const overlaps = policy === "interrupt" ? [] : stage.model.overlaps.slice(before);
  const sum = (figure: "sent" | "answered" | "rejected" | "cancelled" | "takenOver") =>
    all.reduce((total, figures) => total + figures[figure], 0);
  return {
    sent: sum("sent"),
    answered: sum("answered"),
    rejected: sum("rejected"),
    cancelled: sum("cancelled"),
    takenOver: sum("takenOver"),
    faults: [
      ...all.flatMap(({ faults }) => faults),
      ...overlaps.map((said) => `"${said}" was asked while another question was open`),
    ],
  };
}
