import { create } from "@bufbuild/protobuf";
import { createClient, type ServiceImpl } from "@connectrpc/connect";
import { JournalService } from "@turnwright/contract/conversation/v1/journal_service";
import { LoggedEventSchema, RunInfoSchema } from "@turnwright/contract/conversation/v1/run";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { createLogger } from "@turnwright/platform/logger";
import type { Bus } from "@turnwright/platform/ports/bus";
import { createMemoryBus } from "@turnwright/platform/ports/bus-memory";
import { createInProcessTransport } from "@turnwright/platform/rpc/in-process";
import { mount } from "@turnwright/platform/rpc/mount";
import { uuidv7 } from "@turnwright/platform/uuid";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { RunFrame } from "./frame.ts";
import { LiveLogs, pokeWatchers } from "./live-log.ts";
import { start } from "./position.ts";
import { RunWatches } from "./run-watches.ts";
import { watchRun } from "./watch-run.ts";

const logger = createLogger({ service: "test", level: "silent" });
const tokenId = uuidv7();

/** A bus that loses messages on demand and counts subscriptions and messages. */
function createCountedBus() {
  const inner = createMemoryBus({ logger });
  const gaps = new Set<() => void>();
  const counted = {
    subscriptions: 0,
    published: 0,
    isLost: false,
    reconnect: () => gaps.forEach((onGap) => void onGap()),
  };
  const bus: Bus = {
    async publish(topic, payload) {
      counted.published += 1;
      if (!counted.isLost) await inner.publish(topic, payload);
    },
    async subscribe(topic, listener, onGap) {
      counted.subscriptions += 1;
      const unsubscribe = await inner.subscribe(topic, listener);
      if (onGap !== undefined) gaps.add(onGap);
      return async () => {
        counted.subscriptions -= 1;
        await unsubscribe();
      };
    },
  };
  return Object.assign(counted, { bus });
}

/** A journal whose runs all wait for an approval until they are moved on; counts what it is asked. */
function createCountedJournal() {
  const seqs = new Map<string, number>();
  const statuses = new Map<string, string>();
  const asked = { reads: 0, questions: [] as number[], isAway: false };
  const uuidAt = (bytes: Uint8Array, index: number) =>
    Buffer.from(bytes.slice(index * 16, index * 16 + 16))
      .toString("hex")
      .replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  const refuseWhileAway = () => {
    if (asked.isAway) throw fail(ErrorReason.DATABASE_UNAVAILABLE, "away");
  };
  const impl: Partial<ServiceImpl<typeof JournalService>> = {
    async readRunLog({ runId, after }) {
      refuseWhileAway();
      asked.reads += 1;
      const seq = seqs.get(runId) ?? 1;
      const status = statuses.get(runId) ?? "waiting";
      const run = create(RunInfoSchema, { id: runId, status, lastEventId: String(seq) });
      const type = (at: number) => (at === seq && status === "cancelled" ? "cancelled" : at === 1 ? "parked" : "resumed");
      const events = Array.from({ length: seq }, (_, at) => create(LoggedEventSchema, { seq: at + 1, type: type(at + 1) }));
      return { run, events: events.filter((event) => event.seq > after) };
    },
    async listChangedRuns({ runIds, seqs: known }) {
      refuseWhileAway();
      asked.questions.push(known.length);
      return { changed: known.flatMap((seq, place) => (seq === (seqs.get(uuidAt(runIds, place)) ?? 1) ? [] : [place])) };
    },
  };
  return Object.assign(asked, {
    journal: createClient(JournalService, createInProcessTransport({ mounts: [mount(JournalService, impl as never)] })),
    append(runId: string, status: string) {
      seqs.set(runId, (seqs.get(runId) ?? 1) + 1);
      statuses.set(runId, status);
    },
  });
}

let journal: ReturnType<typeof createCountedJournal>;
let bus: ReturnType<typeof createCountedBus>;
let watches: RunWatches;
let stopListening: () => Promise<void>;
let leaving: AbortController;
/** The watchers that have not ended. */
let open: Promise<void>[];

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date"] });
  journal = createCountedJournal();
  bus = createCountedBus();
  watches = new RunWatches({ journal: journal.journal, bus: bus.bus, logger });
  stopListening = await watches.listen();
  leaving = new AbortController();
  open = [];
});

afterEach(async () => {
  leaving.abort();
  await Promise.all(open);
  await stopListening();
  vi.useRealTimers();
});

/** Lets calls and their answers pass that need no time. */
async function settle(isSettled: () => boolean): Promise<void> {
  for (let turn = 0; !isSettled() && turn < 10_000; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  expect(isSettled()).toBe(true);
}

function watch(runId: string): { frames: RunFrame[] } {
  const frames: RunFrame[] = [];
  const options = async () => ({});
  const read = async () => {
    const asked = { runId, tokenId, options, from: undefined, signal: leaving.signal };
    for await (const { frame } of watchRun({ watches }, asked)) frames.push(frame);
  };
  open.push(read());
  return { frames };
}

test("a thousand watchers of silent runs cost one question in five seconds for each, and no read and no timer", async () => {
  const runs = Array.from({ length: 1_000 }, uuidv7);
  const timers = vi.getTimerCount();
  for (const runId of runs) watch(runId);
  await settle(() => journal.reads === 1_000);
  expect(vi.getTimerCount()).toBe(timers + 1);
  // One topic for each run, and the one for replies.
  expect(bus.subscriptions).toBe(1_001);
  await vi.advanceTimersByTimeAsync(60_000);
  const before = journal.questions.length;
  const published = bus.published;
  await vi.advanceTimersByTimeAsync(60_000);
  expect(journal.reads).toBe(1_000);
  // A silent run is asked about every five seconds.
  const questions = journal.questions.slice(before);
  expect(questions.length).toBeLessThanOrEqual(60);
  expect(questions.reduce((sum, count) => sum + count, 0)).toBeLessThanOrEqual(13_000);
  // No worker drives these runs: nobody has to know of their watchers.
  expect(bus.published).toBe(published);

  leaving.abort();
  await Promise.all(open);
  expect({ watchers: watches.size, subscriptions: bus.subscriptions, timers: vi.getTimerCount() }).toEqual({
    watchers: 0,
    subscriptions: 1,
    timers,
  });
});

test("a watcher gets an entry of which no broadcast tells, after a second or, after long silence, after six", async () => {
  const runId = uuidv7();
  const { frames } = watch(runId);
  await settle(() => journal.reads === 1);
  bus.isLost = true;
  journal.append(runId, "running");
  await vi.advanceTimersByTimeAsync(2_000);
  await settle(() => frames.some(({ type }) => type === "resumed"));
  await vi.advanceTimersByTimeAsync(600_000);
  journal.append(runId, "cancelled");
  await vi.advanceTimersByTimeAsync(6_000);
  await settle(() => frames.at(-1)?.type === "cancelled");
  await Promise.all(open);
  expect(watches.size).toBe(0);
});

test("watchers of one run that the same news wakes read it once", async () => {
  const runId = uuidv7();
  const watchers = Array.from({ length: 500 }, () => watch(runId));
  await settle(() => watchers.every(({ frames }) => frames.length > 0));
  const before = journal.reads;
  journal.append(runId, "cancelled");
  pokeWatchers(bus.bus, runId);
  await settle(() => watchers.every(({ frames }) => frames.at(-1)?.type === "cancelled"));
  expect(journal.reads - before).toBe(1);
});

test("an ended credential ends no watcher with another one", async () => {
  const runId = uuidv7();
  const refused = async () => {
    throw fail(ErrorReason.INVALID_TOKEN, "ended");
  };
  const [ended, other] = await Promise.allSettled([
    watches.readLog({ runId, tokenId: uuidv7(), after: 0 }, refused),
    watches.readLog({ runId, tokenId, after: 0 }, async () => ({})),
  ]);
  expect([ended.status, other.status]).toEqual(["rejected", "fulfilled"]);
});

test("no watcher takes the answer to a call that was on its way when the news came", async () => {
  const runId = uuidv7();
  const held = Promise.withResolvers<void>();
  const real = journal.journal.readRunLog.bind(journal.journal);
  let calls = 0;
  journal.journal.readRunLog = async (request, options) => {
    const answer = await real(request, options);
    calls += 1;
    if (calls === 1) await held.promise;
    return answer;
  };
  const slow = watches.readLog({ runId, tokenId, after: 0 }, async () => ({}));
  await settle(() => calls === 1);
  journal.append(runId, "cancelled");
  const { run } = await watches.readLog({ runId, tokenId, after: 0 }, async () => ({}));
  expect(run?.status).toBe("cancelled");
  held.resolve();
  expect((await slow).run?.status).toBe("waiting");
});

test("a watcher stays while the journal is away and nothing happens, and gets what came meanwhile", async () => {
  const runId = uuidv7();
  const { frames } = watch(runId);
  await settle(() => journal.reads === 1);
  journal.isAway = true;
  await vi.advanceTimersByTimeAsync(300_000);
  journal.append(runId, "cancelled");
  journal.isAway = false;
  await vi.advanceTimersByTimeAsync(2_000);
  await settle(() => frames.at(-1)?.type === "cancelled");
});

test("a driver is asked for its frames again when the bus has lost some, and only by watchers of driven runs", async () => {
  const runId = uuidv7();
  journal.append(runId, "running");
  const logs = new LiveLogs({ bus: bus.bus, logger });
  const stop = await logs.listen();
  const log = logs.open({ id: runId, seq: 2 }, () => {});
  const { frames } = watch(runId);
  watch(uuidv7());
  const text = () => frames.map(({ type, delta }) => (type === "content" ? delta : "")).join("");
  log.emit({ type: "content", delta: "one " });
  await vi.advanceTimersByTimeAsync(1_000);
  await settle(() => text() === "one ");
  bus.isLost = true;
  log.emit({ type: "content", delta: "two " });
  await vi.advanceTimersByTimeAsync(100);
  bus.isLost = false;
  bus.reconnect();
  await vi.advanceTimersByTimeAsync(1_000);
  await settle(() => text() === "one two ");
  const before = bus.published;
  await vi.advanceTimersByTimeAsync(15_000);
  expect(bus.published - before).toBe(3);
  logs.close(runId, log);
  await stop();
});

test("a watcher that leaves while it joins leaves nothing behind", async () => {
  const joined = watches.join(uuidv7(), start);
  await watches.leave(await joined);
  expect({ watchers: watches.size, subscriptions: bus.subscriptions }).toEqual({ watchers: 0, subscriptions: 1 });
});
