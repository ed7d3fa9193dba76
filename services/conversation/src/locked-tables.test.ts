import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { startConversationFixture } from "../testing/conversation.ts";

const most = 6;
const lockedMs = 2_500;
const lockSql =
  "begin; lock table conversation.runs, conversation.workers, conversation.conversations, conversation.journal_pulse";
const countSql =
  "select count(*)::integer as n from pg_stat_activity where application_name = 'turnwright-conversation' and " +
  "datname = current_database()";

test("heartbeats, pulses and reads at locked tables take no more backends than the service may have", async () => {
  const fixture = await startConversationFixture({ max: most });
  const person = fixture.person();
  await person.conversations.listConversations({});
  const holder = await fixture.pool.connect();
  let isLocked = true;
  const during = async (work: () => Promise<unknown>) => {
    while (isLocked) await work().catch(() => {});
  };
  const beat = () => person.journal.beat({ workerId: randomUUID(), claimLimit: 10 });
  const list = () => person.conversations.listConversations({});
  let highest = 0;
  await holder.query(lockSql);
  const callers = [beat, beat, beat, beat, list, list, list].map(during);
  try {
    for (const until = performance.now() + lockedMs; performance.now() < until; ) {
      highest = Math.max(highest, (await fixture.pool.query<{ n: number }>(countSql)).rows[0]?.n ?? 0);
    }
  } finally {
    isLocked = false;
    await holder.query("rollback");
    holder.release();
  }
  await Promise.all(callers);
  expect(highest).toBeGreaterThan(2);
  expect(highest).toBeLessThanOrEqual(most);
  await expect(list()).resolves.toBeDefined();
  await fixture.stop();
});
