import { create } from "@bufbuild/protobuf";
import { type Conversation, type Message, MessageSchema } from "@turnwright/contract/conversation/v1/conversation";
import { type Run, type RunContext, RunContextSchema, RunSchema, RunStatus } from "@turnwright/contract/conversation/v1/run";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { uuidv7 } from "@turnwright/platform/uuid";
import type pg from "pg";
import { wholeRounds } from "../../context.ts";
import { type GroupLimits, groupLimits } from "../group-commit.ts";
import { readMessages } from "../messages.ts";
import { type MessageRow, type RunRow, runColumns, toConversation, toMessage, toRun, toTimestamp } from "../rows.ts";
import { readRunContext } from "../run-context.ts";
import { createOpenNew } from "./open-new.ts";
import { createOpenNext } from "./open-next.ts";
import { type FullOpening, maxMessages, type OpenedRow, type Opening } from "./opening.ts";

const defaultContextLimit = 100;
const defaultDeadlineSeconds = 600;

/** A run that was begun: `context` when it is claimed, else `run`. */
interface Opened {
  readonly context?: RunContext;
  readonly run?: Run;
  /** UUID of the conversation's live run; empty: none. */
  readonly liveRunId: string;
  /** Whether the run existed before. */
  readonly replayed: boolean;
  /** Whether an overdue run was ended to make room. */
  readonly superseded: boolean;
}

/** Begins a run. */
export type BeginRun = (opening: Opening) => Promise<Opened>;

/**
 * Makes the function that stores a user's message and begins a run in one statement, grouped with others that arrive at
 * the same time. The run is claimed for the caller unless it has to wait or is a background run. The context ends with
 * the user's message and has whole rounds only. Throws NOT_FOUND, CONVERSATION_BUSY, CONVERSATION_FULL,
 * PENDING_APPROVAL, PENDING_REVIEW; CONFLICT when the run exists; IDEMPOTENCY_KEY_REUSED when the key belongs to
 * another request.
 */
export function createBeginRun(pool: pg.Pool, limits: GroupLimits = groupLimits): BeginRun {
  const openNew = createOpenNew(pool, limits);
  const openNext = createOpenNext(pool, limits);
  return async (opening) => {
    const { request } = opening;
    const full = {
      ...opening,
      conversationId: request.conversationId || uuidv7(),
      messageId: uuidv7(),
      deadlineSeconds: request.deadlineSeconds || defaultDeadlineSeconds,
      contextLimit: request.contextLimit || defaultContextLimit,
    };
    return await openedOf(pool, full, await (request.conversationId === "" ? openNew(full) : openNext(full)));
  };
}

async function openedOf(pool: pg.Pool, opening: FullOpening, row: OpenedRow | undefined): Promise<Opened> {
  const { request, messageId, deadlineSeconds, contextLimit: limit } = opening;
  const isNew = row !== undefined && (row.conversation !== null || row.queued);
  const earlierRun = isNew ? undefined : await replay(pool, opening);
  if (earlierRun !== undefined) return { ...earlierRun, liveRunId: "", replayed: true, superseded: false };
  if (row === undefined) throw fail(ErrorReason.CONFLICT, "This run exists already.", { param: "run_id" });
  if (row.queued) {
    const run = create(RunSchema, {
      id: request.runId,
      conversationId: row.conversation?.id ?? request.conversationId,
      userId: opening.userId,
      tokenId: opening.tokenId,
      status: RunStatus.QUEUED,
      graphVersion: request.graphVersion,
      deadlineSeconds,
      createdAt: toTimestamp(row.at),
      updatedAt: toTimestamp(row.at),
    });
    const liveRunId = request.concurrency === "interrupt" ? await liveRun(pool, opening, row) : row.live_run_id;
    return { run, liveRunId: liveRunId ?? "", replayed: false, superseded: false };
  }
  if (row.conversation === null) throw refusal(row);
  const conversation = toConversation(row.conversation);
  const said = create(MessageSchema, {
    id: messageId,
    conversationId: conversation.id,
    runId: request.runId.toLowerCase(),
    role: "user",
    content: request.message,
    parts: request.parts,
    sequenceNumber: conversation.messageCount,
    createdAt: toTimestamp(row.at),
  });
  const before = await earlier(pool, conversation, row.messages ?? [], limit - 1);
  const context = create(RunContextSchema, {
    run: create(RunSchema, {
      id: request.runId,
      conversationId: conversation.id,
      userId: opening.userId,
      tokenId: opening.tokenId,
      status: RunStatus.RUNNING,
      epoch: 1,
      graphVersion: request.graphVersion,
      deadlineSeconds,
      createdAt: toTimestamp(row.at),
      updatedAt: toTimestamp(row.at),
    }),
    conversation,
    messages: [...wholeRounds(before, limit - 1), said],
  });
  return { context, liveRunId: "", replayed: false, superseded: row.live !== null };
}

const liveSql = `
select r.run_id from conversations c join runs r on r.run_id = c.active_run_id
where c.id = $1 and r.run_id <> $2
  and (r.run_id = $3 or (r.created_at, r.run_id) < (select created_at, run_id from runs where run_id = $2)
    or not exists (select from run_events e where e.run_id = r.run_id and e.type = 'started'))`;

/**
 * The live run that an interrupting run has to end, as of now, when the interrupting one is queued: another run may
 * have been live when its statement began, or none yet. Never a run that was queued behind it; a run that began at
 * once, without the queue, began before it.
 */
async function liveRun(pool: pg.Pool, { request }: Opening, row: OpenedRow): Promise<string | null> {
  const values = [request.conversationId, request.runId, row.live_run_id];
  const { rows } = await pool.query<{ run_id: string }>({ name: "run-live", text: liveSql, values });
  return rows[0]?.run_id ?? null;
}

const byKeySql = `select ${runColumns}, r.owner, r.request_hash from runs r where r.user_id = $1 and r.idempotency_key = $2`;
const byIdSql = `select ${runColumns}, r.owner, r.request_hash from runs r where r.user_id = $1 and r.run_id = $2`;

/**
 * The run that exists already: by the user's idempotency key, or by a run id that the caller chose and whose first
 * response was lost. A run that its begin claimed for this caller comes with its context; any run claimed since has a
 * worker already.
 */
async function replay(pool: pg.Pool, { request, userId }: Opening): Promise<Pick<Opened, "run" | "context"> | undefined> {
  const { idempotencyKey: key, runId, workerId } = request;
  if (key === "" && workerId === "") return undefined;
  const query =
    key === ""
      ? { name: "run-replay-id", text: byIdSql, values: [userId, runId] }
      : { name: "run-replay", text: byKeySql, values: [userId, key] };
  const { rows } = await pool.query<RunRow & { readonly owner: string; readonly request_hash: Buffer | null }>(query);
  const row = rows[0];
  if (row === undefined) return undefined;
  if (key !== "" && !row.request_hash?.equals(request.requestHash)) {
    throw fail(ErrorReason.IDEMPOTENCY_KEY_REUSED, "Idempotency-Key: stands for another request already.", {
      param: "Idempotency-Key",
    });
  }
  const isAsBegun = row.epoch === 1 && row.seq === 0 && row.status === "running";
  const isOwn = isAsBegun && row.run_id === runId && row.owner === workerId;
  return isOwn ? { context: (await readRunContext(pool, row)).context } : { run: toRun(row) };
}

function refusal({ known, full, live }: OpenedRow) {
  const param = "conversation_id";
  if (!known) return fail(ErrorReason.NOT_FOUND, "There is no such conversation.", { param });
  if (full) {
    const words = `This conversation has ${maxMessages} messages, the most that one may have; start a new one.`;
    return fail(ErrorReason.CONVERSATION_FULL, words, { param });
  }
  if (live === "waiting") {
    return fail(ErrorReason.PENDING_APPROVAL, "This conversation waits for an approval; decide it first.");
  }
  if (live === "needs_review") {
    return fail(ErrorReason.PENDING_REVIEW, "A run of this conversation waits for a review; review or cancel it first.");
  }
  return fail(ErrorReason.CONVERSATION_BUSY, "Another message of this conversation is being answered.");
}

/**
 * The messages before the user's. Numbers have no gaps, so a missing last one shows that a run ended between the
 * statement's start and its lock. Only then are the messages read again.
 */
async function earlier(
  pool: pg.Pool,
  conversation: Conversation,
  rows: readonly MessageRow[],
  limit: number,
): Promise<Message[]> {
  const { id: conversationId, messageCount } = conversation;
  const upTo = messageCount - 1;
  if (limit === 0 || (rows.at(-1)?.sequence_number ?? 0) === upTo) return rows.map((row) => toMessage(conversationId, row));
  return readMessages(pool, { conversationId, after: upTo - limit, upTo });
}
