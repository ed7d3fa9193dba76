import { randomUUID } from "node:crypto";
import type { Revocation } from "@turnwright/contract/auth/v1/token_service";
import type { Logger } from "@turnwright/platform/logger";
import { type Bus, send } from "@turnwright/platform/ports/bus";
import type { UserPool } from "@turnwright/platform/postgres/service-database";
import type pg from "pg";
import {
  type Counts,
  countOpen,
  listEventsSince,
  listenTo,
  listMissedEvents,
  noteEndedCredential,
  pruneUserEvents,
  resumeMinutes,
  type UserEvent,
} from "../store/user-events.ts";
import { EventQueue } from "./event-queue.ts";
import { areEqual, type EventStream, EventStreams, mayChangeCounts, mayTell, type OpenedStream } from "./event-streams.ts";

/** Tells processes with streams that something has changed, and all processes that there are streams. */
const [changedTopic, listeningTopic] = ["user-events.changed", "user-events.listening"];
/** News is looked for this often without any call, in milliseconds: a broadcast may be lost. */
const tickMs = 1_000;
/** Changes within this time are one broadcast and one read, in milliseconds. */
const gatherMs = 25;
/** Milliseconds for which a process is known to have streams, and between two announcements. */
const [listeningMs, announceMs] = [60_000, 20_000];
/** Users are listened to for half an hour; this often, in milliseconds, that is put off. */
const renewMs = 600_000;
const pruneMs = 60_000;
/** Users in one statement. */
const usersAtOnce = 1_000;
/** Microseconds before the newest event that are read again, after news and each second: commits come in any order. */
const [overlapUs, longOverlapUs] = [2_000_000, 15_000_000];
/** Microseconds for which told events are remembered. */
const rememberedUs = 40_000_000;
/** Milliseconds after the first stream of a user in which changes that nobody noted may still have committed. */
const settleMs = 2_000;
/** The most missed events with which a stream goes on; beyond that it begins anew. */
const maxMissed = 256;
/**
 * The event streams of this process. The database notes changes of users who have streams; one read for all streams
 * finds them, after news and each second. A silent stream costs no timer and no statement. Without streams, nothing
 * runs.
 */
export class EventFeed {
  readonly #pool: pg.Pool;
  readonly #users: UserPool;
  readonly #bus: Bus | undefined;
  readonly #logger: Logger;
  readonly #id = randomUUID();
  readonly #streams = new EventStreams();
  /** Told events by id, and their times. */
  readonly #told = new Map<number, number>();
  /** Users whose counts may have changed. */
  readonly #changed = new Set<string>();
  /** Users whose counts are checked once changes before their first stream have committed, by time. */
  readonly #unsettled = new Map<string, number>();
  #newestUs = 0;
  #readAt = 0;
  #listenedUntil = 0;
  #announceAt = 0;
  #renewAt = 0;
  #pruneAt = 0;
  #timer: NodeJS.Timeout | undefined;
  #gathering: NodeJS.Timeout | undefined;
  #reading: Promise<void> | undefined;
  #isNewsWaiting = false;
  #hasFailed = false;
  #isClosing = false;
  #stop: Promise<(() => Promise<void>)[]> | undefined;

  constructor(deps: { pool: pg.Pool; users: UserPool; bus?: Bus; logger: Logger }) {
    this.#pool = deps.pool;
    this.#users = deps.users;
    this.#bus = deps.bus;
    this.#logger = deps.logger;
    const { bus } = deps;
    if (bus === undefined) return;
    this.#stop = Promise.all([
      bus.subscribe(changedTopic, (sender) => {
        if (sender !== this.#id && !this.#streams.isEmpty) this.#gather();
      }),
      bus.subscribe(listeningTopic, (sender) => {
        if (sender !== this.#id) this.#listenedUntil = performance.now() + listeningMs;
      }),
    ]);
  }

  /** Whether streams end because the process does. */
  get isClosing(): boolean {
    return this.#isClosing;
  }

  /** Says that something of some user may have changed. Costs nothing while nobody listens. */
  changed(): void {
    if (!this.#streams.isEmpty || performance.now() < this.#listenedUntil) this.#gather();
  }

  /** Notes the end of a credential for the streams of its user. */
  async ended({ userId, tokenId, kind, hasEnded }: Revocation): Promise<void> {
    if (!hasEnded || userId === "" || kind === "") return;
    try {
      const type = kind === "api_key" ? "key.revoked" : "session.ended";
      if (await noteEndedCredential(this.#pool, { userId, tokenId, type })) this.changed();
    } catch (error) {
      this.#logger.warn({ err: error }, "the end of a credential could not be noted for event streams");
    }
  }

  /** Opens a stream after a position, in microseconds, or now. */
  async join(asked: { userId: string; isLogin: boolean; afterUs?: number }): Promise<OpenedStream> {
    const { userId, isLogin, afterUs } = asked;
    const stream: EventStream = { userId, isLogin, queue: new EventQueue(), counts: undefined };
    this.#streams.add(stream);
    if (this.#isClosing) stream.queue.close();
    this.#start();
    try {
      const { listening, counts, missed } = await this.#users.as(userId, async (db) => {
        const listening = (await listenTo(db, [userId])).get(userId) ?? { sinceUs: 0, nowUs: 0 };
        const counts = (await countOpen(db, [userId])).get(userId) ?? { pending: 0, needsReview: 0, running: 0 };
        const goesOn =
          afterUs !== undefined && afterUs >= Math.max(listening.sinceUs, listening.nowUs - resumeMinutes * 60_000_000);
        const missed = goesOn ? await listMissedEvents(db, { userId, afterUs, limit: maxMissed }) : undefined;
        return { listening, counts, missed: missed !== undefined && missed.length > maxMissed ? undefined : missed };
      });
      const { sinceUs, nowUs } = listening;
      if (this.#newestUs === 0) this.#newestUs = nowUs;
      if (nowUs - sinceUs < settleMs * 1_000) this.#unsettled.set(userId, performance.now() + settleMs);
      stream.counts = counts;
      const toTell = (missed ?? []).filter((event) => mayTell(stream, event));
      return { stream, counts, atUs: nowUs, isReset: afterUs !== undefined && missed === undefined, missed: toTell };
    } catch (error) {
      this.leave(stream);
      throw error;
    }
  }

  /** Closes a stream and frees what was held for it. */
  leave(stream: EventStream): void {
    stream.queue.close();
    this.#streams.delete(stream);
    if (!this.#streams.isEmpty) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#newestUs = 0;
    this.#told.clear();
    this.#changed.clear();
    this.#unsettled.clear();
  }

  /** Ends all streams: their clients go on elsewhere. */
  drain(): void {
    this.#isClosing = true;
    for (const { queue } of this.#streams.all()) queue.close();
  }

  /** Ends all streams, timers and subscriptions. */
  async close(): Promise<void> {
    this.drain();
    clearInterval(this.#timer);
    clearTimeout(this.#gathering);
    await this.#reading;
    for (const stop of (await this.#stop) ?? []) await stop();
  }

  #start(): void {
    if (this.#timer !== undefined || this.#isClosing) return;
    const now = performance.now();
    this.#readAt = now;
    this.#announceAt = 0;
    this.#renewAt = now + renewMs;
    this.#pruneAt = now + pruneMs;
    this.#timer = setInterval(() => this.#tick(), tickMs).unref();
    this.#announce(now);
  }

  #announce(now: number): void {
    if (this.#bus === undefined || now < this.#announceAt) return;
    this.#announceAt = now + announceMs;
    send(this.#bus, listeningTopic, this.#id);
  }

  #gather(): void {
    if (this.#gathering !== undefined || this.#isClosing) return;
    this.#gathering = setTimeout(() => {
      this.#gathering = undefined;
      if (this.#bus !== undefined && performance.now() < this.#listenedUntil) send(this.#bus, changedTopic, this.#id);
      if (!this.#streams.isEmpty) this.#read(overlapUs);
    }, gatherMs).unref();
  }

  #tick(): void {
    const now = performance.now();
    this.#announce(now);
    for (const [userId, at] of this.#unsettled) if (at <= now) this.#changed.add(userId);
    this.#read(longOverlapUs);
  }

  /** Reads what is new; one read at a time. */
  #read(backUs: number): void {
    if (this.#reading !== undefined) {
      this.#isNewsWaiting = true;
      return;
    }
    this.#isNewsWaiting = false;
    this.#reading = this.#readNews(backUs)
      .then(
        () => {
          if (this.#hasFailed) this.#logger.info("event streams are told of changes again");
          this.#hasFailed = false;
        },
        (error: unknown) => {
          if (!this.#hasFailed && !this.#isClosing) this.#logger.warn({ err: error }, "changes for event streams cannot be read");
          this.#hasFailed = true;
        },
      )
      .finally(() => {
        this.#reading = undefined;
        if (this.#isNewsWaiting && !this.#isClosing && !this.#streams.isEmpty) this.#gather();
      });
  }

  async #readNews(backUs: number): Promise<void> {
    if (this.#newestUs === 0) return;
    const now = performance.now();
    // After so long, events have been deleted that nobody has read.
    if (now - this.#readAt > resumeMinutes * 60_000) this.#missAll();
    let afterUs = this.#newestUs - backUs;
    for (let isWhole = false; !isWhole; ) {
      const read = await listEventsSince(this.#pool, afterUs);
      for (const event of read.events) this.#deliver(event);
      // Several events may have the same time.
      const lastUs = (read.events.at(-1)?.atUs ?? 0) - 1;
      isWhole = read.isWhole || lastUs <= afterUs;
      afterUs = lastUs;
    }
    this.#readAt = now;
    for (const [id, atUs] of this.#told) if (atUs < this.#newestUs - rememberedUs) this.#told.delete(id);
    await this.#tellCounts();
    await this.#maintain(now);
  }

  #deliver(event: UserEvent): void {
    if (this.#told.has(event.id)) return;
    this.#told.set(event.id, event.atUs);
    this.#newestUs = Math.max(this.#newestUs, event.atUs);
    if (this.#streams.deliver(event) && mayChangeCounts(event)) this.#changed.add(event.userId);
  }

  #missAll(): void {
    for (const { userId, queue } of this.#streams.all()) {
      this.#changed.add(userId);
      queue.miss();
    }
  }

  async #tellCounts(): Promise<void> {
    if (this.#changed.size === 0) return;
    const users = this.#streams.users().filter((userId) => this.#changed.has(userId));
    this.#changed.clear();
    for (let from = 0; from < users.length; from += usersAtOnce) {
      const asked = users.slice(from, from + usersAtOnce);
      const counted = await countOpen(this.#pool, asked).catch((error: unknown) => {
        for (const userId of asked) this.#changed.add(userId);
        throw error;
      });
      for (const [userId, counts] of counted) this.#setCounts(userId, counts);
    }
  }

  #setCounts(userId: string, counts: Counts): void {
    const hasSettled = (this.#unsettled.get(userId) ?? Number.POSITIVE_INFINITY) <= performance.now();
    if (hasSettled) this.#unsettled.delete(userId);
    for (const stream of this.#streams.of(userId)) {
      // Still opening: its own counts come first.
      if (stream.counts === undefined) continue;
      const isNew = !areEqual(stream.counts, counts);
      // A change that was under way when the first stream began was not noted.
      if (hasSettled && isNew && !stream.queue.isTelling) stream.queue.miss();
      if (!isNew && !stream.queue.hasMissed) continue;
      stream.counts = counts;
      stream.queue.setCounts(counts, this.#newestUs);
    }
  }

  async #maintain(now: number): Promise<void> {
    if (now >= this.#renewAt) {
      const users = this.#streams.users();
      for (let from = 0; from < users.length; from += usersAtOnce) {
        await listenTo(this.#pool, users.slice(from, from + usersAtOnce));
      }
      this.#renewAt = now + renewMs;
    }
    if (now < this.#pruneAt) return;
    this.#pruneAt = now + pruneMs;
    await pruneUserEvents(this.#pool);
  }
}
