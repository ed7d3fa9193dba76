import type { Run } from "@turnwright/contract/conversation/v1/run";
import type { Outcome } from "../graph/driver.ts";
import type { ModelUsage } from "../model/edge/chunk.ts";
import type { Position } from "../run-events/position.ts";

/** A run as the call that began, resumed or repeated it sees it. It goes on whether or not the caller waits. */
export interface RunHandle {
  readonly runId: string;
  readonly conversationId: string;
  /** UUID of the credential that started the run and that it acts as. */
  readonly tokenId: string;
  /** The call repeated an earlier request under its idempotency key. */
  readonly isReplayed: boolean;
  /** Agent of a run that has not made its first step, unless its message or conversation names one. */
  readonly routedAgent?: string;
  /** Position of its log up to which the caller needs no frames; undefined: the beginning. */
  position(): Position | undefined;
  /** Set when this process drives the run; else it is queued, ended or driven by another worker. */
  readonly driven?: {
    /** Name of the agent. */
    readonly agent: string;
    /** Rejects with the reason why the run failed or was lost. */
    readonly outcome: Promise<Outcome>;
    /** Usage so far. */
    usage(): ModelUsage;
  };
}

/** A handle on a run that this process does not drive, to be followed from a position of its log. */
export function followedHandle(
  run: Pick<Run, "id" | "conversationId" | "tokenId">,
  known: { from?: Position; isReplayed?: boolean; routedAgent?: string } = {},
): RunHandle {
  return {
    runId: run.id,
    conversationId: run.conversationId,
    tokenId: run.tokenId,
    isReplayed: known.isReplayed ?? false,
    routedAgent: known.routedAgent,
    position: () => known.from,
  };
}
