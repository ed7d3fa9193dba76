import type { CallOptions, Client } from "@connectrpc/connect";
import type { JournalService, ReadRunLogResponse } from "@turnwright/contract/conversation/v1/journal_service";
import type { Logger } from "@turnwright/platform/logger";
import { type Bus, send, type Unsubscribe } from "@turnwright/platform/ports/bus";
import { uuidv7 } from "@turnwright/platform/uuid";
import { Backlog } from "./backlog.ts";
import { liveTopic, replyTopic, type WatchRequest, watchLeaseMs, watchTopic } from "./live-log.ts";
import { Mailbox } from "./mailbox.ts";
import { formatPosition, type Position, start } from "./position.ts";

/** How often this process looks after its watchers, in milliseconds. */
const tickMs = 1_000;
/**
 * Silence of a run after which the journal is asked whether its log has grown, in milliseconds: a broadcast may be
 * lost, and without Redis none comes from other processes. It grows with the silence, by an eighth of it.
 */
const [pollMs, longestPollMs] = [1_000, 5_000];
const silencePerPoll = 8;
/** The most runs in one question to the journal, and in one announcement. */
const [maxAsked, maxAnnounced] = [1_000, 500];
const askTimeoutMs = 10_000;
/** Pauses between questions to a driver that does not answer, in milliseconds, and the most questions in one tick. */
const [firstAskMs, longestAskMs, maxAsks] = [1_000, 16_000, 1_000];

/** One watcher of a run. */
export class Watcher {
  readonly run: WatchedRun;
  /** Names the watcher in this process. */
  readonly number: number;
  readonly mailbox = new Mailbox();
  readonly backlog = new Backlog();
  /** The position behind the last frame that was yielded. */
  at: Position = start;
  /** Newest entry of the run's log when the watcher last read it; unset before. */
  seq: number | undefined;
  /** Whether a worker drove the run when the watcher last read its log. */
  isDriven = false;
  /** Whether frames are missing between those yielded and those arriving live; the driver is asked for them. */
  isBehind = true;
  askAt = 0;
  askPauseMs = firstAskMs;

  constructor(run: WatchedRun, number: number, from: Position) {
    this.run = run;
    this.number = number;
    this.at = from;
  }
}

/** A run with at least one watcher in this process. */
interface WatchedRun {
  readonly id: string;
  readonly watchers: Set<Watcher>;
  subscription: Promise<Unsubscribe>;
  /** When news of the run last came, and when the journal is asked next, in milliseconds. */
  heardAt: number;
  pollAt: number;
}

/** Copies a UUID's 16 bytes. */
function writeUuid(bytes: Buffer, index: number, uuid: string): void {
  bytes.write(uuid.replaceAll("-", ""), index * 16, 16, "hex");
}

/**
 * The watchers of this process. News comes by the bus; a watcher costs no timer, no subscription of its own and no
 * statement while its run is silent. Once a second, one question for all runs finds out whether a broadcast was missed.
 */
export class RunWatches {
  readonly #journal: Client<typeof JournalService>;
  readonly #bus: Bus;
  readonly #logger: Logger;
  readonly #id = uuidv7();
  readonly #runs = new Map<string, WatchedRun>();
  readonly #watchers = new Map<number, Watcher>();
  readonly #reads = new Map<string, Promise<ReadRunLogResponse>>();
  readonly #closing = new AbortController();
  #count = 0;
  #timer: NodeJS.Timeout | undefined;
  #announceAt = 0;
  #isPolling = false;
  #hasFailed = false;

  constructor(deps: { journal: Client<typeof JournalService>; bus: Bus; logger: Logger }) {
    this.#journal = deps.journal;
    this.#bus = deps.bus;
    this.#logger = deps.logger;
  }

  /** Number of watchers. */
  get size(): number {
    return this.#watchers.size;
  }

  /** Receives the frames that drivers send to single watchers; resolves with the function that ends everything. */
  async listen(): Promise<() => Promise<void>> {
    const stop = await this.#bus.subscribe(
      replyTopic(this.#id),
      (payload) => {
        const space = payload.indexOf(" ");
        this.#watchers.get(Number(payload.slice(0, space)))?.mailbox.deliver(payload.slice(space + 1));
      },
      () => this.#onGap(),
    );
    return async () => {
      this.#closing.abort();
      clearInterval(this.#timer);
      await stop();
    };
  }

  /** Adds a watcher of a run; resolves when live frames arrive in its mailbox. */
  async join(id: string, from: Position): Promise<Watcher> {
    const now = Date.now();
    // Drivers name their runs in lower case.
    const runId = id.toLowerCase();
    let run = this.#runs.get(runId);
    if (run === undefined) {
      const watchers = new Set<Watcher>();
      const opened: WatchedRun = { id: runId, watchers, heardAt: now, pollAt: now + pollMs, subscription: undefined as never };
      opened.subscription = this.#bus.subscribe(liveTopic(runId), (payload) => this.#deliver(opened, payload));
      this.#runs.set(runId, opened);
      run = opened;
    }
    this.#count += 1;
    const watcher = new Watcher(run, this.#count, from);
    run.watchers.add(watcher);
    this.#watchers.set(watcher.number, watcher);
    this.#timer ??= setInterval(() => this.#tick(), tickMs);
    await run.subscription;
    return watcher;
  }

  /** Removes a watcher and frees all that was held for it. */
  async leave(watcher: Watcher): Promise<void> {
    const { run } = watcher;
    watcher.mailbox.close();
    this.#watchers.delete(watcher.number);
    run.watchers.delete(watcher);
    if (run.watchers.size > 0) return;
    if (this.#runs.get(run.id) === run) this.#runs.delete(run.id);
    if (this.#runs.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
    const unsubscribe = await run.subscription;
    await unsubscribe();
  }

  /**
   * Reads a run's log with a credential. Watchers with the same one whom the same news has woken share one call; nobody
   * joins a call that is already on its way, since it may miss the news.
   */
  async readLog(
    asked: { runId: string; tokenId: string; after: number },
    options: () => Promise<CallOptions>,
  ): Promise<ReadRunLogResponse> {
    const { runId, tokenId, after } = asked;
    const key = JSON.stringify([tokenId, runId, after]);
    let read = this.#reads.get(key);
    if (read === undefined) {
      read = new Promise((resolve) => setImmediate(resolve)).then(async () => {
        this.#reads.delete(key);
        return await this.#journal.readRunLog({ runId, after }, { ...(await options()), timeoutMs: askTimeoutMs });
      });
      this.#reads.set(key, read);
    }
    return await read;
  }

  /** Asks the driver of a watcher's run for the frames behind the watcher's position, now and until they come. */
  ask(watcher: Watcher): void {
    watcher.isBehind = true;
    watcher.askPauseMs = firstAskMs;
    this.#askAgain(watcher, Date.now());
  }

  #askAgain(watcher: Watcher, now: number): void {
    if (!watcher.isDriven) return;
    watcher.askAt = now + watcher.askPauseMs;
    watcher.askPauseMs = Math.min(watcher.askPauseMs * 2, longestAskMs);
    const after = formatPosition(watcher.at);
    this.#tell({ runId: watcher.run.id, after, replyTo: this.#id, watcher: watcher.number });
  }

  #tell(request: WatchRequest): void {
    send(this.#bus, watchTopic, JSON.stringify(request));
  }

  #deliver(run: WatchedRun, payload: string): void {
    run.heardAt = Date.now();
    run.pollAt = run.heardAt + pollMs;
    for (const watcher of run.watchers) watcher.mailbox.deliver(payload);
  }

  /** Messages may be lost: the drivers are asked for theirs, the journal for its own. */
  #onGap(): void {
    for (const run of this.#runs.values()) run.pollAt = 0;
    for (const watcher of this.#watchers.values()) {
      watcher.isBehind = true;
      watcher.askAt = 0;
      watcher.askPauseMs = firstAskMs;
    }
    this.#announceAt = 0;
  }

  #tick(): void {
    const now = Date.now();
    let asks = 0;
    for (const watcher of this.#watchers.values()) {
      watcher.backlog.tick();
      if (!watcher.isBehind || !watcher.isDriven || watcher.askAt > now || asks >= maxAsks) continue;
      asks += 1;
      this.#askAgain(watcher, now);
    }
    this.#announce(now);
    void this.#poll(now);
  }

  /** Has drivers send frames on for the time of another lease. */
  #announce(now: number): void {
    if (now < this.#announceAt) return;
    this.#announceAt = now + watchLeaseMs / 3;
    const isDriven = (run: WatchedRun) => [...run.watchers].some((watcher) => watcher.isDriven);
    const runIds = [...this.#runs.values()].filter(isDriven).map(({ id }) => id);
    for (let from = 0; from < runIds.length; from += maxAnnounced) {
      this.#tell({ runIds: runIds.slice(from, from + maxAnnounced) });
    }
  }

  /** Asks the journal which of the runs that are due have grown. One question is under way at a time. */
  async #poll(now: number): Promise<void> {
    if (this.#isPolling) return;
    const due: { run: WatchedRun; seq: number }[] = [];
    for (const run of this.#runs.values()) {
      if (run.pollAt > now) continue;
      const silentMs = now - run.heardAt;
      run.pollAt = now + Math.min(Math.max(silentMs / silencePerPoll, pollMs), longestPollMs);
      let seq = Number.POSITIVE_INFINITY;
      for (const watcher of run.watchers) seq = Math.min(seq, watcher.seq ?? seq);
      if (seq < Number.POSITIVE_INFINITY) due.push({ run, seq });
    }
    if (due.length === 0) return;
    this.#isPolling = true;
    try {
      for (let from = 0; from < due.length; from += maxAsked) await this.#askJournal(due.slice(from, from + maxAsked));
      if (this.#hasFailed) this.#logger.info("the journal answers for watched runs again");
      this.#hasFailed = false;
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      for (const { run } of due) run.pollAt = 0;
      if (!this.#hasFailed) this.#logger.warn({ err: error }, "the journal does not answer for watched runs");
      this.#hasFailed = true;
    } finally {
      this.#isPolling = false;
    }
  }

  async #askJournal(asked: readonly { run: WatchedRun; seq: number }[]): Promise<void> {
    const runIds = Buffer.allocUnsafe(asked.length * 16);
    for (const [index, { run }] of asked.entries()) writeUuid(runIds, index, run.id);
    const seqs = asked.map(({ seq }) => seq);
    const options = { timeoutMs: askTimeoutMs, signal: this.#closing.signal };
    const { changed } = await this.#journal.listChangedRuns({ runIds, seqs }, options);
    for (const index of changed) {
      const run = asked[index]?.run;
      if (run === undefined) continue;
      run.heardAt = Date.now();
      run.pollAt = run.heardAt + pollMs;
      for (const watcher of run.watchers) watcher.mailbox.tick();
    }
  }
}
