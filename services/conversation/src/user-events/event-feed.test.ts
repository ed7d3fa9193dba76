import { randomUUID } from "node:crypto";
import { TokenType } from "@turnwright/contract/auth/v1/identity";
import type { StreamEventsResponse } from "@turnwright/contract/conversation/v1/event_service";
import { createLogger } from "@turnwright/platform/logger";
import { createMemoryBus } from "@turnwright/platform/ports/bus-memory";
import { expect, test } from "vitest";
import { ErrorReason, type Person, reasonFor } from "../../testing/conversation.ts";
import { fixture, useConversation } from "../../testing/use-conversation.ts";
import { EventFeed } from "./event-feed.ts";

useConversation({ approvalExpiryMs: 60_000 });

const logger = createLogger({ service: "test", level: "silent" });

/** A stream that remembers what it was told. */
function open({ events }: Person, after = "") {
  const closing = new AbortController();
  const stream = events.streamEvents({ after }, { signal: closing.signal })[Symbol.asyncIterator]();
  const told: StreamEventsResponse[] = [];
  const next = async (): Promise<StreamEventsResponse> => {
    const { value, done } = await stream.next();
    if (done) throw new Error("The stream has ended.");
    told.push(value);
    return value;
  };
  return {
    told,
    next,
    /** The first event that matches, told or to come. */
    async seen(matches: (event: StreamEventsResponse) => boolean): Promise<StreamEventsResponse> {
      return told.find(matches) ?? (await this.until(matches));
    },
    /** The next event that matches. */
    async until(matches: (event: StreamEventsResponse) => boolean): Promise<StreamEventsResponse> {
      for (;;) {
        const event = await next();
        if (matches(event)) return event;
      }
    },
    close: () => closing.abort(),
  };
}

const isRun = (status: string) => (event: StreamEventsResponse) => event.type === "run.changed" && event.status === status;
const hasCounts = (pending: number, running: number) => (event: StreamEventsResponse) =>
  event.type === "counts" && event.counts?.pending === pending && event.counts.running === running;

test("a stream begins with the counts and tells runs, approvals and new counts, to their user alone", async () => {
  const [owner, other] = [fixture.person(), fixture.person()];
  const [stream, foreign] = [open(owner), open(other)];
  expect(await stream.next()).toMatchObject({ type: "counts", reset: false, counts: { pending: 0, needsReview: 0, running: 0 } });
  await foreign.next();
  const { context, conversationId } = await owner.parked("call_1");
  const created = await stream.until(({ type }) => type === "approval.created");
  expect(created).toMatchObject({
    runId: context.run?.id,
    conversationId,
    callId: "call_1",
    toolName: "http_request",
    status: "pending",
  });
  expect((await stream.seen(isRun("waiting"))).runId).toBe(context.run?.id);
  await stream.seen(hasCounts(1, 0));
  await owner.journal.decideApprovals({ conversationId, approved: false, reason: "no" });
  const decided = await stream.seen(({ type }) => type === "approval.decided");
  expect(decided).toMatchObject({ approvalId: created.approvalId, status: "rejected" });
  await stream.seen(isRun("running"));
  await stream.until(hasCounts(0, 1));
  const own = await other.begin();
  expect(await foreign.until(({ type }) => type === "run.changed")).toMatchObject({ runId: own.run?.id });
  expect(foreign.told.flatMap(({ runId }) => runId || [])).not.toContain(context.run?.id);
  stream.close();
  foreign.close();
});

test("an expired approval is told as such", async () => {
  const person = fixture.person();
  const stream = open(person);
  await stream.next();
  const { context } = await person.parked("call_1");
  await fixture.pool.query("update approvals set expires_at = now() where run_id = $1", [context.run?.id]);
  expect(await stream.until(({ type }) => type === "approval.expired")).toMatchObject({ status: "rejected", callId: "call_1" });
  stream.close();
}, 15_000);

test("a client that comes back gets what it missed; one that missed too much begins anew", async () => {
  const person = fixture.person();
  const stream = open(person);
  const { eventId } = await stream.next();
  stream.close();
  const context = await person.begin();
  await person.answer(context);
  const again = open(person, eventId);
  expect(await again.next()).toMatchObject({ type: "counts", reset: false });
  await again.until(isRun("completed"));
  again.close();
  const minutesLater = String(Number(eventId) - 9 * 60_000_000);
  const late = open(person, minutesLater);
  expect(await late.next()).toMatchObject({ type: "counts", reset: true });
  late.close();
  const stranger = open(fixture.person(), eventId);
  expect(await stranger.next()).toMatchObject({ type: "counts", reset: true });
  stranger.close();
  for (const after of ["x", "-1", "9".repeat(20), "1".repeat(21)]) {
    const bad = open(person, after);
    expect(await reasonFor(bad.next()), after).toBe(ErrorReason.INVALID_REQUEST);
  }
});

test("the end of a key or session is told once, to logins and not to keys", async () => {
  const person = fixture.person();
  const key = fixture.through(person, { tokenType: TokenType.API_KEY });
  const [stream, ofKey] = [open(person), open(key)];
  await Promise.all([stream.next(), ofKey.next()]);
  const [apiKeyId, sessionId, changed] = [randomUUID(), randomUUID(), randomUUID()];
  const { userId } = person;
  fixture.keys.tellOf(changed, { userId, kind: "api_key", hasEnded: false });
  fixture.keys.tellOf(apiKeyId, { userId, kind: "api_key", hasEnded: true });
  fixture.keys.tellOf(sessionId, { userId, kind: "session", hasEnded: true });
  await stream.seen((event) => event.sessionId === sessionId);
  await stream.seen((event) => event.apiKeyId === apiKeyId);
  expect(stream.told.map(({ type }) => type).sort()).toEqual(["counts", "key.revoked", "session.ended"]);
  expect(stream.told.find(({ type }) => type === "key.revoked")?.apiKeyId).toBe(apiKeyId);
  await person.begin();
  await ofKey.until(({ type }) => type === "run.changed");
  expect(ofKey.told.map(({ type }) => type).filter((type) => type !== "counts")).toEqual(["run.changed"]);
  stream.close();
  ofKey.close();
});

test("nothing is noted of a user to whom nobody listens", async () => {
  const person = fixture.person();
  await person.answer(await person.begin());
  const { rowCount } = await fixture.pool.query("select from user_events where user_id = $1", [person.userId]);
  expect(rowCount).toBe(0);
});

test("a change in one process reaches the streams of another at once, by the bus", async () => {
  const bus = createMemoryBus({ logger });
  const { pool, users } = fixture.database;
  const [committing, streaming] = [0, 1].map(() => new EventFeed({ pool, users, bus, logger })) as [EventFeed, EventFeed];
  const person = fixture.person();
  const { stream } = await streaming.join({ userId: person.userId, isLogin: true });
  await new Promise((resolve) => setImmediate(resolve));
  const startedAt = performance.now();
  const context = await person.begin();
  committing.changed();
  expect(await stream.queue.next()).toMatchObject({ kind: "event", event: { runId: context.run?.id } });
  expect(performance.now() - startedAt).toBeLessThan(900);
  await Promise.all([committing.close(), streaming.close()]);
  expect(await stream.queue.next()).toBeUndefined();
});

test("idle streams cost one statement a second together, and none once they have left", async () => {
  const { pool, users } = fixture.database;
  let statements = 0;
  const counted = new Proxy(pool, {
    get(target, name) {
      if (name !== "query") return Reflect.get(target, name);
      return (...args: unknown[]) => {
        statements += 1;
        return Reflect.apply(target.query, target, args);
      };
    },
  });
  const feed = new EventFeed({ pool: counted, users, logger });
  const userIds = Array.from({ length: 30 }, () => randomUUID());
  const opened = await Promise.all([...userIds, ...userIds].map((userId) => feed.join({ userId, isLogin: true })));
  const startedAt = performance.now();
  statements = 0;
  await new Promise((resolve) => setTimeout(resolve, 2_400));
  const seconds = (performance.now() - startedAt) / 1_000;
  expect(statements).toBeGreaterThanOrEqual(2);
  // One more for each second that has begun, and one that checks the counts of new users.
  expect(statements).toBeLessThanOrEqual(Math.ceil(seconds) + 1);
  for (const { stream } of opened) feed.leave(stream);
  statements = 0;
  await new Promise((resolve) => setTimeout(resolve, 1_200));
  expect(statements).toBe(0);
  await feed.close();
});
