import type { BrokenFile } from "../breakages/broken-source.ts";
import { calm, type FaultPlan } from "./faults.ts";

/** A mechanism taken out of the code on purpose, to see that the driver notices. */
export interface Breakage extends BrokenFile {
  /** The faults under which the mechanism is needed. */
  readonly plan: FaultPlan;
  readonly messages: number;
}

/** What can be taken out, by name. */
export const breakages: Readonly<Record<string, Breakage>> = {
  /** A driver that was taken for dead commits all the same. */
  fencing: {
    file: "services/conversation/src/store/commit-run/commit-statement.ts",
    changes: [
      {
        from: "case r.status when 'running' then r.user_id end = i.user_id and r.epoch = i.epoch and r.seq = coalesce(i.seq, r.seq)",
        to: "r.user_id = i.user_id",
      },
    ],
    plan: { ...calm, freezes: "agent-orchestrator", pauseMs: [500, 1_500] },
    messages: 600,
  },
  /** A tool is called before its call is claimed in the ledger. */
  "claim-after-act": {
    file: "services/tool-executor/src/ledger/ledger.ts",
    changes: [
      {
        from: "const claims = await claimCalls(",
        to: "for (const one of inFlight) one.early = await runTool(this.#running, one.call, attemptOf(one));\nconst claims = await claimCalls(",
      },
      { from: "const result = await runTool(", to: "const result = inFlight.early ?? await runTool(" },
    ],
    plan: { ...calm, kills: "tool-executor", mostAway: 1, pauseMs: [1_000, 3_000] },
    messages: 600,
  },
};
