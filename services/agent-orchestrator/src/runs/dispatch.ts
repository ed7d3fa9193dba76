import type { Client } from "@connectrpc/connect";
import type { JournalService } from "@turnwright/contract/conversation/v1/journal_service";
import type { RunContext } from "@turnwright/contract/conversation/v1/run";
import type { Logger } from "@turnwright/platform/logger";
import { type GraphVersions, versionFields } from "../graph/versions.ts";

/** Drives a claimed run. */
export type Drive = (context: RunContext) => void;

/** Has queued runs claimed by a worker with room. A run that it loses is found in the journal by the next heartbeat. */
export interface Dispatcher {
  /** Has a run claimed now, or after `delayMs` milliseconds. */
  dispatch(runId: string, delayMs?: number): void;
  /** Begins to claim dispatched runs for this process. Called once, before the first `dispatch`. */
  start(drive: Drive): void;
  close(): Promise<void>;
}

/** Dependencies of claims for this process. */
export interface ClaimDeps {
  readonly journal: Client<typeof JournalService>;
  readonly workerId: string;
  /** The versions that this process drives. */
  readonly graphVersions: GraphVersions;
  /** Whether this process may drive another run. */
  readonly hasRoom: () => boolean;
  readonly logger: Logger;
}

/** Claims a queued run for this process, if it is due and this process has room, and drives it. */
export async function claimAndDrive(deps: ClaimDeps, drive: Drive, runId: string): Promise<void> {
  if (!deps.hasRoom()) return;
  const { workerId, graphVersions } = deps;
  const { context } = await deps.journal.claimRun({ runId, workerId, ...versionFields(graphVersions) }, { timeoutMs: 5_000 });
  if (context !== undefined) drive(context);
}

/** Makes a dispatcher within this process. */
export function createLocalDispatcher(deps: ClaimDeps): Dispatcher {
  const timers = new Set<NodeJS.Timeout>();
  let drive: Drive | undefined;
  const claim = async (runId: string) => {
    if (drive !== undefined) await claimAndDrive(deps, drive, runId);
  };
  return {
    dispatch(runId, delayMs = 0) {
      const timer = setTimeout(() => {
        timers.delete(timer);
        claim(runId).catch((error) => deps.logger.debug({ err: error, run_id: runId }, "run was not claimed"));
      }, delayMs).unref();
      timers.add(timer);
    },
    start(startedDrive) {
      drive = startedDrive;
    },
    async close() {
      for (const timer of timers) clearTimeout(timer);
    },
  };
}
