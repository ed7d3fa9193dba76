import type { BrokenFile } from "../breakages/broken-source.ts";
import { calm, type FaultPlan } from "./faults.ts";

/** A mechanism removed from the code on purpose, to prove that the chaos driver notices. */
export interface Breakage extends BrokenFile {
  /** The faults that the mechanism protects against. */
  readonly plan: FaultPlan;
  readonly messages: number;
}

/** The mechanisms that can be removed, by name. */
export const breakages: Readonly<Record<string, Breakage>> = {
  /** A worker that lost its run still commits to it. */
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
  /** A tool is called before the ledger has recorded its call. */
  "claim-after-act": {
    file: "services/tool-executor/src/ledger/ledger.ts",
    changes: [
      {
        from: "const { claims, refused } = await this.#claims.claim(",
        to: "for (const one of inFlight) one.early = await runLogged(this.#running, one.call, attemptOf(one));\nconst { claims, refused } = await this.#claims.claim(",
      },
      { from: "const result = await runLogged(", to: "const result = inFlight.early ?? await runLogged(" },
    ],
    plan: { ...calm, kills: "tool-executor", mostAway: 1, pauseMs: [1_000, 3_000] },
    messages: 600,
  },
};
