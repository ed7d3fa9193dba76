import type { ServiceImpl } from "@connectrpc/connect";
import type { RunInfo } from "@turnwright/contract/conversation/v1/run";
import type { RunStep } from "@turnwright/contract/conversation/v1/run_step";
import type { RunStepService } from "@turnwright/contract/conversation/v1/run_step_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { requireIdentity } from "@turnwright/platform/identity/identity";
import { decodeCursor, encodeCursor } from "@turnwright/platform/postgres/keyset-cursor";
import type { Queryable } from "@turnwright/platform/postgres/pool";
import type { UserPool } from "@turnwright/platform/postgres/service-database";
import { stepsOf } from "../run-steps/steps.ts";
import { readStepFacts } from "../store/run-steps.ts";
import { getRun } from "../store/runs.ts";

/** The steps that GetRun returns with a run. */
export const includedSteps = 500;

/** A page of a run's steps. */
interface StepPage {
  readonly steps: RunStep[];
  /** Empty on the last page. */
  readonly nextCursor: string;
}

/**
 * The number of steps before a page. Steps have no time of their own that orders them: several begin at once. Their
 * cursor therefore counts them; the run's id ties it to the run.
 */
function stepsBefore(cursor: string, { id }: RunInfo): number {
  if (cursor === "") return 0;
  const { createdUs: before, id: runId } = decodeCursor(cursor);
  if (runId !== id) throw fail(ErrorReason.INVALID_REQUEST, "cursor: not one of this run", { param: "cursor" });
  return before;
}

/** A page of the steps of a user's run, oldest first. Throws INVALID_REQUEST for a cursor of another run. */
export async function pageOfSteps(
  db: Queryable,
  { userId, run, cursor, limit }: { userId: string; run: RunInfo; cursor: string; limit: number },
): Promise<StepPage> {
  const before = stepsBefore(cursor, run);
  const { run: row, entries, approvals } = await readStepFacts(db, userId, run);
  const all = stepsOf(row, entries, approvals);
  const end = before + limit;
  return { steps: all.slice(before, end), nextCursor: end < all.length ? encodeCursor({ createdUs: end, id: run.id }) : "" };
}

/** Handlers of RunStepService. */
export function runStepHandlers({ users }: { users: UserPool }): ServiceImpl<typeof RunStepService> {
  return {
    async listRunSteps({ runId, limit = 100, cursor }, ctx) {
      const { userId } = requireIdentity(ctx);
      return await users.as(userId, async (db) => {
        const run = await getRun(db, { userId, runId });
        return await pageOfSteps(db, { userId, run, cursor, limit });
      });
    },
  };
}
