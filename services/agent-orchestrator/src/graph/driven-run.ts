import type { CallOptions, Client } from "@connectrpc/connect";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import type { Message } from "@turnwright/contract/conversation/v1/conversation";
import type { JournalService } from "@turnwright/contract/conversation/v1/journal_service";
import type { DecidedCall } from "@turnwright/contract/conversation/v1/run";
import type { ExecutionService } from "@turnwright/contract/tool/v1/execution_service";
import type { FailureLog } from "@turnwright/platform/failure-log";
import type { Logger } from "@turnwright/platform/logger";
import type { AgentDefinition } from "../agents/agents.ts";
import type { History } from "../history/history.ts";
import type { ModelToolCall, ModelUsage } from "../model/edge/chunk.ts";
import type { FailedAttempt } from "../model-calls/failed-attempt.ts";
import type { ModelCalls } from "../model-calls/model-calls.ts";
import type { LiveLog } from "../run-events/live-log.ts";
import type { Streamed } from "../run-events/stream-order.ts";
import type { ToolCatalogue } from "../tool-access/tool-catalogue.ts";
import type { ToolRefusals } from "../tool-access/tool-refusals.ts";
import type { UnendedRuns } from "./failure.ts";
import type { RunState } from "./state.ts";
import type { GraphVersions } from "./versions.ts";

/** Nodes of the graph. */
export type NodeName = "think" | "act" | "respond";

/** Dependencies of the driver and its nodes. */
export interface GraphDeps {
  /** UUID under which this process claims runs. */
  readonly workerId: string;
  /** The versions that this process drives. */
  readonly graphVersions: GraphVersions;
  readonly modelCalls: ModelCalls;
  readonly history: History;
  readonly journal: Client<typeof JournalService>;
  readonly executions: Client<typeof ExecutionService>;
  readonly catalogue: ToolCatalogue;
  readonly toolRefusals: ToolRefusals;
  /** Whether a model takes images, as the operator states; undefined: nothing is stated. */
  readonly takesImages: (model: string) => boolean | undefined;
  readonly defaultModel: string;
  /** The most model calls in one run. */
  readonly maxIterations: number;
  /** Has some worker claim a queued run, now or after `delayMs` milliseconds. */
  readonly dispatch: (runId: string, delayMs?: number) => void;
  readonly logger: Logger;
  readonly failures: FailureLog;
  /** Runs that have failed in this process without their end being stored. */
  readonly unended: UnendedRuns;
}

/** How a call ended that has no result of its tool. */
export type CallOutcome = "failed" | "rejected" | "cancelled";

/** A run that this process drives: its row's key, its context, the changes since its last commit, and its live log. */
export interface DrivenRun {
  readonly runId: string;
  readonly conversationId: string;
  readonly epoch: number;
  readonly identity: Identity;
  readonly agent: AgentDefinition;
  state: RunState;
  /** The model's context, oldest message first; grows while the run goes on. */
  readonly messages: Message[];
  /** The decisions that the run was resumed with, by call id. */
  readonly decisions: ReadonlyMap<string, DecidedCall>;
  /** Messages that the next commit stores. */
  uncommitted: Message[];
  /** How calls ended whose results the next commit stores, by call id; the others have succeeded. */
  outcomes: Map<string, CallOutcome>;
  /** Whether the log names this worker since it claimed the run. */
  namesWorker: boolean;
  /** Usage that the next commit adds. */
  usage: ModelUsage;
  /** Cost that the next commit adds, in US dollars. */
  costUsd: number;
  /** Usage of the run in this process, committed or not. */
  totalUsage: ModelUsage;
  readonly signal: AbortSignal;
  /** Options for calls in the name of the run's owner, with an internal token that is still valid. */
  options(): Promise<CallOptions>;
  /** Tells watchers what happens. */
  readonly log: LiveLog;
  /** Stores a failed attempt of a model call, by which watchers drop what they have got of it. */
  storeAttempt?: (failed: FailedAttempt) => Promise<void>;
}

/** A call that needs a person's approval of a version of its tool. */
export interface UnapprovedCall {
  readonly call: ModelToolCall;
  readonly toolVersion: string;
}

/** The result of a node: the next node, or how the run leaves the driver. */
export type Step =
  | { next: NodeName; patch?: Partial<RunState>; commit?: "intent"; streamed?: Streamed }
  | { park: readonly UnapprovedCall[] }
  | { review: readonly ModelToolCall[] }
  | { end: Message; finishReason: string; streamed?: Streamed };
