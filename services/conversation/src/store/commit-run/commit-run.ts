import type { CommitRunRequest } from "@turnwright/contract/conversation/v1/journal_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { uuidv7 } from "@turnwright/platform/uuid";
import pg from "pg";
import { errorClass, isDataFault } from "../data-faults.ts";
import { createGroupWriter, type GroupLimits, groupLimits, rowValues } from "../group-commit.ts";
import { toStorable } from "../stored-messages.ts";
import { type CommitItem, commitItem } from "./commit-row.ts";
import { commitColumns, groupStatements, singleStatements } from "./commit-statement.ts";
import { type Committed, numbered } from "./committed.ts";
import { repeatedCommit } from "./repeated-commit.ts";

interface CommittedRow {
  readonly run_id: string;
  readonly conversation_id: string;
  /** Messages in the conversation before this step. */
  readonly before: number;
  readonly seq: number;
  readonly next_run_id: string | null;
  readonly at: Date;
}

/** Commits a step of one of the user's runs. */
export type CommitRun = (userId: string, request: CommitRunRequest) => Promise<Committed>;

/**
 * Makes the function that commits steps of runs. Each step is all or nothing; steps that arrive at the same time share
 * a transaction. Throws STALE_EPOCH when the run has another epoch or is not running, NOT_FOUND when the user has no
 * such run.
 */
export function createCommitRun(pool: pg.Pool, limits: GroupLimits = groupLimits): CommitRun {
  const write = createGroupWriter<CommitItem, CommittedRow | undefined>(
    pool,
    {
      together: (items) => (items.some(({ parks }) => parks) ? groupStatements.parking : groupStatements.plain),
      alone: (item) => commitAlone(pool, item),
    },
    limits,
  );
  return async (userId, request) => {
    const runId = request.runId.toLowerCase();
    const stored = request.messages.map((message) => ({ ...toStorable(message), id: message.id || uuidv7(), runId }));
    const committed = await write(commitItem(userId, request, stored));
    if (committed === undefined) return await repeatedCommit(pool, userId, request, stored);
    const { conversation_id: conversationId, before, at } = committed;
    const times = stored.map((_, index) => new Date(at.getTime() - (request.messageAgesMs[index] ?? 0)));
    return {
      messages: numbered(stored, { conversationId, before, times }),
      seq: committed.seq,
      nextRunId: committed.next_run_id ?? "",
    };
  };
}

async function commitAlone(pool: pg.Pool, { row, parks }: CommitItem): Promise<CommittedRow | undefined> {
  const query = { ...(parks ? singleStatements.parking : singleStatements.plain), values: rowValues(commitColumns, row) };
  const { rows } = await pool.query<CommittedRow>(query).catch(rethrow);
  return rows[0];
}

/** Names refusals by PostgreSQL that the same step would get again. Throws INVALID_REQUEST, TOO_LARGE, or the error. */
function rethrow(error: unknown): never {
  const code = error instanceof pg.DatabaseError ? (error.code ?? "") : "";
  // invalid_text_representation and untranslatable_character. Ids were validated before, so the fault is in a JSON
  // text.
  if (code === "22P02" || code === "22P05") {
    throw fail(ErrorReason.INVALID_REQUEST, "state or an event's payload is not JSON", { cause: error });
  }
  if (errorClass(error) === "54")
    throw fail(ErrorReason.TOO_LARGE, "the step is larger than the database holds", { cause: error });
  if (isDataFault(error)) throw fail(ErrorReason.INVALID_REQUEST, "a value of the step cannot be stored", { cause: error });
  throw error;
}
