/**
 * Prints the stored turns per second of the journal: a begin and a commit per turn, through the store, on ten
 * connections to its own PostgreSQL. For comparison, two bare inserts per turn, each by itself or batched. Rounds are
 * interleaved; medians are printed.
 *
 *   npm run bench -- journal
 *   node services/conversation/bench/journal.ts [rounds] [seconds]
 */
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { BeginRunRequestSchema, CommitRunRequestSchema } from "@turnwright/contract/conversation/v1/journal_service";
import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import { Batch } from "@turnwright/platform/async/batch";
import { startEmbeddedPostgres } from "@turnwright/platform/embedded-postgres/embedded-postgres";
import { createLogger } from "@turnwright/platform/logger";
import { migrate } from "@turnwright/platform/postgres/migrations";
import { openServiceDatabase } from "@turnwright/platform/postgres/service-database";
import { uuidv7 } from "@turnwright/platform/uuid";
import pg from "pg";
import { createBeginRun } from "../src/store/begin-run/begin-run.ts";
import { createCommitRun } from "../src/store/commit-run/commit-run.ts";
import { connectionSettings } from "../src/store/connection-settings.ts";
import type { GroupLimits } from "../src/store/group-commit.ts";

const rounds = Number(process.argv[2] ?? 5);
const milliseconds = Number(process.argv[3] ?? 1.5) * 1_000;
const concurrencies = [1, 8, 32, 64];
/** Turns after which a client changes to a new conversation. */
const turnsOfConversation = 10;
const question = "What is the capital of France, and how many people live there? ".repeat(2);
const answer = "An answer of some length. ".repeat(10);

const dataDir = mkdtempSync(join(tmpdir(), "turnwright-journal-"));
const logger = createLogger({ service: "bench", level: "silent" });
const postgres = await startEmbeddedPostgres({ dataDir, logger });
await migrate({ url: postgres.url, service: "conversation", direction: "up" });
const owner = new pg.Client({ connectionString: postgres.url });
await owner.connect();
await owner.query(`
  create table conversation.bare (conversation_id uuid, n integer, content text, primary key (conversation_id, n));
  grant insert on conversation.bare to turnwright_conversation`);
const database = openServiceDatabase({ url: postgres.url, schema: "conversation", max: 10, logger });
const { pool } = database.withSettings(connectionSettings({ approvalExpiryMs: 0 }));

/** One client's next turn. */
type Turn = () => Promise<void>;

function journal(limits: GroupLimits): () => Turn {
  const [beginRun, commitRun] = [createBeginRun(pool, limits), createCommitRun(pool, limits)];
  return () => {
    const userId = randomUUID();
    let conversationId = "";
    let turns = 0;
    return async () => {
      if (turns % turnsOfConversation === 0) conversationId = "";
      turns += 1;
      const request = create(BeginRunRequestSchema, { runId: uuidv7(), conversationId, message: question, workerId: userId });
      const { context } = await beginRun({ request, userId, tokenId: "", familyId: "", owner: userId });
      if (context === undefined) throw new Error("a conversation of one client is always free");
      conversationId = context.conversation?.id ?? "";
      await commitRun(
        userId,
        create(CommitRunRequestSchema, {
          runId: request.runId,
          epoch: 1,
          seq: 0,
          status: RunStatus.COMPLETED,
          messages: [{ id: uuidv7(), role: "assistant", content: answer, model: "demo", promptTokens: 20, completionTokens: 60 }],
          events: [{ type: "completed", messages: 1 }],
          usage: { promptTokens: 20, completionTokens: 60, totalTokens: 80 },
        }),
      );
    };
  };
}

const bareSql = "insert into bare (conversation_id, n, content) values ($1, $2, $3)";
const bareBatchSql = `insert into bare (conversation_id, n, content)
select conversation_id, n, content from json_to_recordset($1::json) as i(conversation_id uuid, n integer, content text)`;

type BareRow = [conversationId: string, n: number, content: string];

function bare(insert: (row: BareRow) => Promise<unknown>): () => Turn {
  return () => {
    const id = randomUUID();
    let n = 0;
    return async () => {
      n += 2;
      await insert([id, n - 1, question]);
      await insert([id, n, answer]);
    };
  };
}

const batch = new Batch<BareRow, undefined>({
  inFlight: 1,
  maxItems: 128,
  async flush(rows) {
    const values = [JSON.stringify(rows.map(([conversation_id, n, content]) => ({ conversation_id, n, content })))];
    await pool.query({ name: "bare-batch", text: bareBatchSql, values });
    return rows.map(() => undefined);
  },
});

const subjects: Record<string, () => Turn> = {
  "two bare inserts": bare((values) => pool.query({ name: "bare", text: bareSql, values })),
  "two bare inserts, batched": bare((row) => batch.add(row)),
  "journal, single": journal({ maxRows: 1, inFlight: Number.POSITIVE_INFINITY }),
  "journal, groups, 1 in flight": journal({ maxRows: 128, inFlight: 1 }),
  "journal, groups, 2 in flight": journal({ maxRows: 128, inFlight: 2 }),
};

/** Turns per second of a number of clients. */
async function rateOf(start: () => Turn, clients: number, forMs: number): Promise<number> {
  let turns = 0;
  const from = performance.now();
  const client = async (turn: Turn) => {
    while (performance.now() - from < forMs) {
      await turn();
      turns += 1;
    }
  };
  await Promise.all(Array.from({ length: clients }, () => client(start())));
  return (turns * 1_000) / (performance.now() - from);
}

/** Samples of turns per second, by subject. The first round warms plans and connections. */
type Samples = Map<string, number[]>;

async function rounded(clients: number): Promise<Samples> {
  const samples: Samples = new Map(Object.keys(subjects).map((name) => [name, []]));
  for (let round = -1; round < rounds; round += 1) {
    const order = Object.entries(subjects);
    if (round % 2 === 0) order.reverse();
    for (const [name, start] of order) {
      const rate = await rateOf(start, clients, round < 0 ? 500 : milliseconds);
      if (round >= 0) samples.get(name)?.push(rate);
    }
  }
  return samples;
}

/**
 * One client alternates between the subjects: the difference between them is smaller than the machine's variation from
 * one second to the next.
 */
async function alternating(): Promise<Samples> {
  const samples: Samples = new Map(Object.keys(subjects).map((name) => [name, []]));
  const clients = Object.entries(subjects).map(([name, start]) => [name, start()] as const);
  const warmUp = 50;
  for (let turn = -warmUp; turn < rounds * 100; turn += 1) {
    for (const [name, take] of clients) {
      const from = performance.now();
      await take();
      if (turn >= 0) samples.get(name)?.push(1_000 / (performance.now() - from));
    }
    clients.push(...clients.splice(0, 1));
  }
  return samples;
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

try {
  const table: Record<string, Record<string, string>> = {};
  for (const clients of concurrencies) {
    const samples = clients === 1 ? await alternating() : await rounded(clients);
    const single = median(samples.get("journal, single") ?? []);
    for (const [name, values] of samples) {
      const rate = median(values);
      table[name] = { ...table[name], [`c${clients}`]: `${Math.round(rate)} (${(rate / single).toFixed(2)}×)` };
    }
  }
  console.log("\nStored turns a second, through ten connections; × the journal's single statements");
  console.table(table);
} finally {
  await database.end();
  await owner.end();
  await postgres.stop();
  rmSync(dataDir, { recursive: true, force: true });
}
