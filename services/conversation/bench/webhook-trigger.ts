/**
 * Prints the cost of the webhook triggers for the commit that ends a run: without triggers, with them and no webhook,
 * and with them and one webhook that subscribes to the event. It runs on its own PostgreSQL; rounds are interleaved,
 * and medians are printed.
 *
 *   node services/conversation/bench/webhook-trigger.ts [rounds]
 */
import { randomBytes, randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { CommitRunRequestSchema } from "@turnwright/contract/conversation/v1/journal_service";
import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import { startEmbeddedPostgres } from "@turnwright/platform/embedded-postgres/embedded-postgres";
import { createLogger } from "@turnwright/platform/logger";
import { migrate } from "@turnwright/platform/postgres/migrations";
import { openServiceDatabase } from "@turnwright/platform/postgres/service-database";
import { uuidv7 } from "@turnwright/platform/uuid";
import pg from "pg";
import { createCommitRun } from "../src/store/commit-run/commit-run.ts";
import { connectionSettings } from "../src/store/connection-settings.ts";

const rounds = Number(process.argv[2] ?? 31);
const commits = 230;
/** After a change of the triggers connections plan again; these commits do not count. */
const warmUp = 30;
const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

const dataDir = mkdtempSync(join(tmpdir(), "turnwright-trigger-"));
const logger = createLogger({ service: "bench", level: "silent" });
const postgres = await startEmbeddedPostgres({ dataDir, logger });
await migrate({ url: postgres.url, service: "conversation", direction: "up" });
const owner = new pg.Client({ connectionString: postgres.url });
await owner.connect();
const database = openServiceDatabase({ url: postgres.url, schema: "conversation", max: 2, logger });
const commitRun = createCommitRun(database.withSettings(connectionSettings({ approvalExpiryMs: 0 })).pool);

const [plain, subscribed] = [randomUUID(), randomUUID()];
// Other users have webhooks too.
await owner.query(
  `insert into conversation.webhooks (id, user_id, url, secret)
   select gen_random_uuid(), gen_random_uuid(), 'https://example.com/', $1 from generate_series(1, 1000)`,
  [randomBytes(32)],
);
await owner.query(
  "insert into conversation.webhooks (id, user_id, url, secret) values (gen_random_uuid(), $1, 'https://example.com/', $2)",
  [subscribed, randomBytes(32)],
);

/**
 * Microseconds of a commit, run one after another: the tenth percentile, because other load on the machine only adds
 * time. The runs are created before.
 */
async function measure(userId: string): Promise<number> {
  const { rows } = await owner.query<{ run_id: string }>(
    `with made as (
       insert into conversation.conversations (id, user_id) select gen_random_uuid(), $1 from generate_series(1, $2) returning id
     )
     insert into conversation.runs (run_id, conversation_id, user_id, status, epoch)
     select gen_random_uuid(), id, $1, 'running', 1 from made returning run_id`,
    [userId, commits],
  );
  const requests = rows.map(({ run_id }) =>
    create(CommitRunRequestSchema, {
      runId: run_id,
      epoch: 1,
      status: RunStatus.COMPLETED,
      messages: [{ id: uuidv7(), role: "assistant", content: "An answer of some length. ".repeat(10) }],
      events: [{ type: "completed" }],
    }),
  );
  const times: number[] = [];
  for (const request of requests) {
    const start = process.hrtime.bigint();
    await commitRun(userId, request);
    times.push(Number(process.hrtime.bigint() - start) / 1_000);
  }
  const counted = times.slice(warmUp).sort((a, b) => a - b);
  return counted[Math.floor(counted.length / 10)] ?? 0;
}

const arms = {
  "without triggers": { trigger: "disable", userId: plain },
  "with triggers, no webhook": { trigger: "enable", userId: plain },
  "with triggers, one webhook": { trigger: "enable", userId: subscribed },
} as const;

for (const durable of ["on", "off"]) {
  await owner.query(`alter system set synchronous_commit = ${durable}`);
  await owner.query("select pg_reload_conf()");
  const times = new Map(Object.keys(arms).map((name) => [name, [] as number[]]));
  for (let round = -2; round < rounds; round += 1) {
    const order = Object.entries(arms);
    if (round % 2 === 0) order.reverse();
    for (const [name, { trigger, userId }] of order) {
      for (const one of ["insert", "update"]) {
        await owner.query(`alter table conversation.runs ${trigger} trigger runs_webhooks_${one}`);
      }
      const time = await measure(userId);
      if (round >= 0) times.get(name)?.push(time);
    }
  }
  const base = times.get("without triggers") ?? [];
  for (const [name, values] of times) {
    const ratios = values.map((value, index) => value / (base[index] ?? Number.NaN));
    const [time, ratio] = [median(values).toFixed(0), median(ratios).toFixed(3)];
    console.log(`synchronous_commit ${durable.padEnd(3)}  ${name.padEnd(26)} ${time.padStart(5)} µs a commit  ${ratio}×`);
  }
}

await database.end();
await owner.end();
await postgres.stop();
rmSync(dataDir, { recursive: true, force: true });
