import pg from "pg";
import { isUntold, type SentMessage } from "./client.ts";
import type { Effects } from "./effects.ts";
import { scriptOf } from "./scenario.ts";

/** A promise and its breaches. */
export interface Invariant {
  readonly name: string;
  /** Number of items checked. */
  readonly checked: number;
  readonly breaches: readonly string[];
}

interface RunRow {
  readonly run_id: string;
  readonly conversation_id: string;
  readonly status: string;
  readonly error: string;
  readonly idempotency_key: string;
  /** The user's message of a run that has not begun. */
  readonly input: string | null;
}

interface MessageRow {
  readonly conversation_id: string;
  readonly sequence_number: number;
  readonly role: string;
  readonly content: string;
  readonly calls: number;
}

const settled: ReadonlySet<string> = new Set(["completed", "failed", "cancelled", "needs_review", "waiting", "behind a person"]);

/** Whether a client was told the state of its message: answered, or waiting for a person. */
function wasTold(end: string): boolean {
  return end === "finish" || end === "needs_review" || end.includes("a person must look");
}

/** All runs; `behind a person`: queued behind a run that waits for a person. */
const runsSql = `
select r.run_id, r.conversation_id, r.error, r.idempotency_key, r.input,
  case when r.status = 'queued' and a.run_id <> r.run_id and a.status in ('needs_review', 'waiting') then 'behind a person'
    else r.status end as status
from conversation.runs r join conversation.conversations c on c.id = r.conversation_id
left join conversation.runs a on a.run_id = c.active_run_id`;

/** Number of runs that need no person and have not ended. */
export async function unsettledRuns(url: string): Promise<number> {
  return await withDatabase(url, async (db) => {
    const { rows } = await db.query<RunRow>(runsSql);
    return rows.filter(({ status }) => !settled.has(status)).length;
  });
}

async function withDatabase<T>(url: string, work: (db: pg.Client) => Promise<T>): Promise<T> {
  const db = new pg.Client({ connectionString: url });
  await db.connect();
  try {
    return await work(db);
  } finally {
    await db.end();
  }
}

/** Checks every promise against the system's data and the outside effects. */
export async function checkInvariants(url: string, sent: readonly SentMessage[], effects: Effects) {
  return await withDatabase(url, async (db) => {
    const { rows: runs } = await db.query<RunRow>(runsSql);
    const { rows: messages } = await db.query<MessageRow>(
      `select conversation_id, sequence_number, role, content, coalesce(json_array_length(tool_calls), 0)::int as calls
       from conversation.messages order by conversation_id, sequence_number`,
    );
    const { rows: ledger } = await db.query<{ key: string; status: string; tool: string }>(
      "select run_id || ':' || tool_call_id as key, status, tool_name as tool from tool.tool_executions",
    );
    const byKey = new Map<string, RunRow[]>();
    for (const run of runs) byKey.set(run.idempotency_key, [...(byKey.get(run.idempotency_key) ?? []), run]);
    const runOf = (message: SentMessage) => byKey.get(`chaos-${message.number}`)?.[0];
    const said = new Map<string, number>();
    const userSaid = messages.filter(({ role }) => role === "user").map(({ content }) => content);
    const waiting = runs.flatMap(({ status, input }) => (status === "behind a person" && input !== null ? [input] : []));
    for (const content of [...userSaid, ...waiting]) said.set(content, (said.get(content) ?? 0) + 1);
    const acknowledged = sent.filter((message) => message.isAcknowledged);
    const completed = sent.filter((message) => runOf(message)?.status === "completed");
    const statuses: Record<string, number> = {};
    for (const { status } of runs) statuses[status] = (statuses[status] ?? 0) + 1;
    const failures: Record<string, number> = {};
    for (const { error } of runs) if (error !== "") failures[error] = (failures[error] ?? 0) + 1;

    const invariants: Invariant[] = [
      {
        name: "acknowledged messages lost or doubled",
        checked: acknowledged.length,
        breaches: acknowledged
          .filter((message) => byKey.get(`chaos-${message.number}`)?.length !== 1 || said.get(message.text) !== 1)
          .map(
            ({ number, text }) =>
              `message ${number}: ${byKey.get(`chaos-${number}`)?.length ?? 0} runs, stored ${said.get(text)} times`,
          ),
      },
      {
        name: "runs that did not end",
        checked: runs.length,
        breaches: runs.filter(({ status }) => !settled.has(status)).map(({ run_id: id, status }) => `run ${id}: ${status}`),
      },
      onceInvariant(effects, ledger),
      {
        name: "stored answers that differ from the model's, or are misplaced",
        checked: completed.length,
        breaches: conversationFaults(messages, new Map(completed.map((message) => [message.text, message]))),
      },
      {
        name: "answers assembled by clients that differ from the stored ones",
        checked: sent.filter(({ seen }) => seen !== undefined).length,
        breaches: sent
          .filter(({ seen, answer }) => seen !== undefined && seen !== answer)
          .map(({ number, how, seen }) => `message ${number} (${how}): ${JSON.stringify(seen)}`),
      },
      {
        name: "clients that were never told the outcome of their message",
        checked: sent.length,
        breaches: sent
          .filter((message) => isUntold(message) || (!wasTold(message.end) && runOf(message)?.status === "completed"))
          .map(({ number, how, end }) => `message ${number} (${how}): ${end}`),
      },
    ];
    return { invariants, statuses, failures };
  });
}

/** A call takes effect at most once; a completed call in the ledger took effect, an unstarted one did not. */
function onceInvariant(effects: Effects, ledger: readonly { key: string; status: string; tool: string }[]): Invariant {
  const counts = effects.counts("effect_once");
  const once = ledger.filter(({ tool }) => tool === "effect_once");
  const twice = [...counts].filter(([, count]) => count > 1).map(([key, count]) => `${key} took effect ${count} times`);
  const untrue = once.flatMap(({ key, status }) => {
    const count = counts.get(key) ?? 0;
    return status === "success" && count !== 1 ? [`${key} is ${status} and took effect ${count} times`] : [];
  });
  const known = new Set(once.map(({ key }) => key));
  const unknown = [...counts.keys()].filter((key) => !known.has(key)).map((key) => `${key} took effect and is in no ledger`);
  return {
    name: "once tools done twice, or otherwise than the ledger says",
    checked: counts.size,
    breaches: [...twice, ...untrue, ...unknown],
  };
}

/** Sequence numbers have no gaps, and each message is followed by its own rounds and answer before the next message. */
function conversationFaults(rows: readonly MessageRow[], completed: ReadonlyMap<string, SentMessage>): string[] {
  const faults: string[] = [];
  const byConversation = new Map<string, MessageRow[]>();
  for (const row of rows) byConversation.set(row.conversation_id, [...(byConversation.get(row.conversation_id) ?? []), row]);
  for (const [id, messages] of byConversation) {
    for (const [index, { sequence_number: number }] of messages.entries()) {
      if (number !== index + 1) faults.push(`conversation ${id}: number ${number} in place ${index + 1}`);
    }
    for (const [index, message] of messages.entries()) {
      const sent = message.role === "user" ? completed.get(message.content) : undefined;
      if (sent === undefined) continue;
      const next = messages.findIndex((other, at) => at > index && other.role === "user");
      const turn = messages.slice(index + 1, next < 0 ? undefined : next);
      const answer = turn.at(-1);
      const rounds = scriptOf(message.content)?.rounds ?? [];
      const expected = [...rounds.flatMap((round) => ["assistant", ...round.map(() => "tool")]), "assistant"];
      if (answer?.content !== sent.answer) faults.push(`message ${sent.number}: answered ${JSON.stringify(answer?.content)}`);
      else if (turn.map(({ role }) => role).join() !== expected.join()) {
        faults.push(`message ${sent.number}: ${turn.map(({ role }) => role).join()} instead of ${expected.join()}`);
      }
    }
  }
  return faults;
}
