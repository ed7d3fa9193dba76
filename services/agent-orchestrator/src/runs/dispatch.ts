import type { Client } from "@connectrpc/connect";
import type { JournalService } from "@turnwright/contract/conversation/v1/journal_service";
import type { RunContext } from "@turnwright/contract/conversation/v1/run";
import type { Logger } from "@turnwright/platform/logger";
import { type GraphVersions, versionFields } from "../graph/turn.ts";

/** Has queued runs claimed by a worker that has room. What it loses, the workers find in the journal. */
export interface Dispatcher {
  /** Now, or after some milliseconds. */
  dispatch(runId: string, delayMs?: number): void;
  close(): Promise<void>;
}

/** What claims runs for this process. */
export interface ClaimDeps {
  readonly journal: Client<typeof JournalService>;
  readonly workerId: string;
  /** What this process drives. */
  readonly graphVersions: GraphVersions;
  /** Whether this process may drive one more. */
  readonly hasRoom: () => boolean;
  /** Drives a claimed run. */
  readonly drive: (context: RunContext) => void;
  readonly logger: Logger;
}

/** Claims a queued run for this process and drives it; false when it is not its turn, or not here. */
export async function claimAndDrive(deps: ClaimDeps, runId: string): Promise<boolean> {
  if (!deps.hasRoom()) return false;
  const { workerId, graphVersions } = deps;
  const { context } = await deps.journal.claimRun({ runId, workerId, ...versionFields(graphVersions) }, { timeoutMs: 5_000 });
  if (context !== undefined) deps.drive(context);
  return context !== undefined;
}

/** Dispatches within this process. */
export function createLocalDispatcher(deps: ClaimDeps): Dispatcher {
  const timers = new Set<NodeJS.Timeout>();
  return {
    dispatch(runId, delayMs = 0) {
      const timer = setTimeout(() => {
        timers.delete(timer);
        claimAndDrive(deps, runId).catch((error) => deps.logger.debug({ err: error, run_id: runId }, "run was not claimed"));
      }, delayMs).unref();
      timers.add(timer);
    },
    async close() {
      for (const timer of timers) clearTimeout(timer);
    },
  };
}
