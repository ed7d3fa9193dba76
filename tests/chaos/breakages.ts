import { calm, type FaultPlan } from "./faults.ts";

/** A mechanism taken out of the code on purpose, to see that the driver notices. */
export interface Breakage {
  /** The file whose code is changed, and what it reads there, once each. */
  readonly file: string;
  readonly changes: readonly { readonly from: string; readonly to: string }[];
  /** The faults under which the mechanism is needed. */
  readonly plan: FaultPlan;
  readonly messages: number;
}

/** What can be taken out, by name. */
export const breakages: Readonly<Record<string, Breakage>> = {
  /** A driver that was taken for dead commits all the same. */
  fencing: {
    file: "services/conversation/src/store/commit-run.ts",
    changes: [
      {
        from: "and epoch = $3 and status = 'running' and seq = coalesce($21::integer, seq)",
        to: "and $3::integer is not null and $21::integer is distinct from -1",
      },
    ],
    plan: { ...calm, freezes: "agent-orchestrator", pauseMs: [500, 1_500] },
    messages: 600,
  },
  /** A tool is called before its call is claimed in the ledger. */
  "claim-after-act": {
    file: "services/tool-executor/src/ledger.ts",
    changes: [
      {
        from: "const claims = await claimCalls(",
        to: "for (const flight of flights) flight.early = await runTool({ slots: this.#slots, logger: this.#logger }, this.#runOf(scope, flight));\nconst claims = await claimCalls(",
      },
      { from: "const outcome = await runTool(", to: "const outcome = flight.early ?? await runTool(" },
    ],
    plan: { ...calm, kills: "tool-executor", mostAway: 1, pauseMs: [1_000, 3_000] },
    messages: 600,
  },
};
