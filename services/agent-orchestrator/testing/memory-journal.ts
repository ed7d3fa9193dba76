import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  type Approval,
  type Conversation,
  ConversationSchema,
  type Message,
  MessageSchema,
} from "@turnwright/contract/conversation/v1/conversation";
import type {
  AddRunUsageRequest,
  BeatRequest,
  CommitRunRequest,
  JournalService,
} from "@turnwright/contract/conversation/v1/journal_service";
import {
  type DecidedCall,
  DecidedCallSchema,
  type LoggedEvent,
  type Run,
  type RunContext,
  type RunInfo,
  RunInfoSchema,
  RunSchema,
  RunStatus,
  RunStatusSchema,
} from "@turnwright/contract/conversation/v1/run";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { requireIdentity } from "@turnwright/platform/identity/identity";
import { uuidv7 } from "@turnwright/platform/uuid";

/** A journal of one conversation in memory, for tests. */
export interface MemoryJournal {
  readonly handlers: ServiceImpl<typeof JournalService>;
  readonly conversation: Conversation;
  /** All stored messages, in order. */
  readonly messages: Message[];
  /** All accepted commits. */
  readonly commits: CommitRunRequest[];
  /** Usage that was added outside commits. */
  readonly added: AddRunUsageRequest[];
  readonly approvals: Approval[];
  run: Run | undefined;
  /** The run as its owner sees it. */
  info: RunInfo;
  readonly events: LoggedEvent[];
  /** Contexts that the next claims of queued runs return. */
  readonly claimable: RunContext[];
  /** Contexts of runs that the next heartbeat claims for its worker. */
  readonly abandoned: RunContext[];
  /** Claimed runs whose context was asked for, in order. */
  readonly contextsRead: string[];
  /** Called before the context of a claimed run is read. */
  beforeContext: () => void | Promise<void>;
  /** Runs that heartbeats name as lost. */
  readonly lost: Set<string>;
  /** All heartbeats, in order. */
  readonly beats: BeatRequest[];
  /** Resolves with the next heartbeat. */
  nextBeat(): Promise<BeatRequest>;
  /** Called before a heartbeat is accepted; throws to refuse it. */
  beforeBeat: () => void | Promise<void>;
  /** Called before a run is begun. */
  beforeBegin: () => void | Promise<void>;
  /** Called before a commit is stored; throws to refuse it. */
  beforeCommit: (request: CommitRunRequest) => void | Promise<void>;
  /** Changes the decisions that a resumed run gets. */
  decorate: (decision: DecidedCall) => DecidedCall;
  /** Resolves once a commit has left the run in this status. */
  reached(status: RunStatus): Promise<CommitRunRequest>;
}

/** Makes the journal; its calls are written to `log`. */
export function createMemoryJournal(log: string[], userId: string): MemoryJournal {
  let seq = 0;
  const beatWatchers: ((beat: BeatRequest) => void)[] = [];
  const watchers: { status: RunStatus; resolve: (commit: CommitRunRequest) => void }[] = [];
  const store = (messages: readonly Message[]) => {
    for (const message of messages) journal.messages.push({ ...message, sequenceNumber: journal.messages.length + 1 });
    return journal.messages.slice(journal.messages.length - messages.length);
  };
  const handedOut = new Map<string, RunContext>();
  const claimed = () => {
    if (journal.run === undefined) throw fail(ErrorReason.NOT_FOUND, "There is no run.");
    journal.run = { ...journal.run, epoch: journal.run.epoch + 1, status: RunStatus.RUNNING };
    return journal.run;
  };

  const journal: MemoryJournal = {
    conversation: create(ConversationSchema, { id: uuidv7(), userId, status: "active" }),
    messages: [],
    commits: [],
    added: [],
    approvals: [],
    run: undefined,
    info: create(RunInfoSchema),
    events: [],
    claimable: [],
    abandoned: [],
    contextsRead: [],
    beforeContext: () => {},
    lost: new Set(),
    beats: [],
    nextBeat: () => new Promise((resolve) => beatWatchers.push(resolve)),
    beforeBeat: () => {},
    beforeBegin: () => {},
    beforeCommit: () => {},
    decorate: (decision) => decision,
    reached(status) {
      const commit = journal.commits.find((candidate) => candidate.status === status);
      if (commit !== undefined) return Promise.resolve(commit);
      return new Promise((resolve) => watchers.push({ status, resolve }));
    },
    handlers: {
      async beginRun(request, ctx) {
        await journal.beforeBegin();
        log.push("begin");
        const { conversation } = journal;
        if (request.conversationId === "") conversation.agentType = request.agentType;
        const said = { conversationId: conversation.id, role: "user", content: request.message, parts: request.parts };
        store([create(MessageSchema, { id: uuidv7(), ...said })]);
        journal.run = create(RunSchema, {
          id: request.runId,
          conversationId: conversation.id,
          userId,
          tokenId: requireIdentity(ctx).tokenId,
        });
        return { context: { run: claimed(), conversation, messages: [...journal.messages] } };
      },
      async commitRun(request, ctx) {
        ctx.signal.throwIfAborted();
        await journal.beforeCommit(request);
        log.push(`commit ${RunStatusSchema.value[request.status]?.name.replace("RUN_STATUS_", "")}`);
        const messages = store(request.messages);
        journal.commits.push(request);
        journal.approvals.push(...request.approvals);
        if (journal.run !== undefined) {
          journal.run = { ...journal.run, status: request.status, node: request.node, state: request.state };
        }
        seq += request.events.length;
        for (const { status, resolve } of watchers) if (status === request.status) resolve(request);
        return { messages, seq };
      },
      claimRun: async ({ runId, epoch }) => {
        if (epoch === 0) return { context: journal.claimable.shift() };
        journal.contextsRead.push(runId);
        await journal.beforeContext();
        return { context: handedOut.get(runId) };
      },
      async cancelRun() {
        log.push("cancel");
        const run = journal.run;
        return { cancelled: true, context: { run, conversation: journal.conversation, messages: [...journal.messages] } };
      },
      async recordReceipts({ receipts }) {
        log.push(...receipts.map(({ callId, outcome }) => `receipt ${callId} ${outcome}`));
        return {};
      },
      async addRunUsage(request) {
        journal.added.push(request);
        return {};
      },
      resumeRun: () => ({
        context: { run: claimed(), conversation: journal.conversation, messages: [...journal.messages] },
      }),
      checkDecider: () => ({}),
      readRunLog: ({ after }) => ({
        run: journal.info,
        events: journal.events.filter((event) => event.seq > after),
      }),
      listInboxItems: () => ({}),
      readRetry: () => ({}),
      listChangedRuns: ({ seqs }) => ({
        changed: seqs.flatMap((seq, place) => (seq === Number(journal.info.lastEventId) ? [] : [place])),
      }),
      async beat(request) {
        journal.beats.push(request);
        for (const resolve of beatWatchers.splice(0)) resolve(request);
        await journal.beforeBeat();
        const claimed = request.claimLimit === 0 ? [] : journal.abandoned.splice(0);
        for (const context of claimed) handedOut.set(context.run?.id ?? "", context);
        const claimedRuns = claimed.map(({ run }) => ({ runId: run?.id ?? "", epoch: run?.epoch || 1 }));
        const lost = request.driving.filter((runId) => journal.lost.has(runId));
        return request.idsOnly ? { claimedRuns, lost } : { claimed, lost };
      },
      async abandonRun(request) {
        log.push(`abandon ${request.error}`);
        if (journal.run !== undefined) journal.run = { ...journal.run, status: RunStatus.FAILED };
        return {};
      },
      async decideApprovals(request) {
        log.push("decide");
        if (journal.run?.status !== RunStatus.WAITING) throw fail(ErrorReason.NOTHING_TO_APPROVE, "Nothing waits.");
        const decisions = journal.approvals.splice(0).map((approval) =>
          journal.decorate(
            create(DecidedCallSchema, {
              callId: approval.callId,
              approved: request.approved ?? false,
              reason: request.reason,
              grant: request.approved ? `grant for ${approval.callId}` : "",
            }),
          ),
        );
        const context = { run: claimed(), conversation: journal.conversation, messages: [...journal.messages], decisions };
        return { conversation: journal.conversation, context };
      },
    },
  };
  return journal;
}
