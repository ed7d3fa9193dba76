import type { CallOptions, Client } from "@connectrpc/connect";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import type { Message } from "@turnwright/contract/conversation/v1/conversation";
import type { JournalService } from "@turnwright/contract/conversation/v1/journal_service";
import type { DecidedCall } from "@turnwright/contract/conversation/v1/run";
import type { ExecutionService } from "@turnwright/contract/tool/v1/execution_service";
import type { Logger } from "@turnwright/platform/logger";
import type { AgentDefinition } from "../agents/agents.ts";
import type { ModelToolCall, ModelUsage } from "../model/chunk.ts";
import type { ModelClient } from "../model/model-client.ts";
import type { LiveLog } from "../run-events/live-log.ts";
import type { ModelMeter } from "../spending/model-meter.ts";
import type { ToolCatalogue } from "../tool-access/tool-catalogue.ts";
import type { TurnState } from "./state.ts";

/** Versions of the graph: those whose runs a process drives. Runs of others are left to processes that do. */
export interface GraphVersions {
  /** Its own; to it belongs the state that it writes. */
  readonly newest: number;
  /** The oldest whose state it reads. */
  readonly oldest: number;
}

/**
 * Of the graph below. When to raise them: CONTRIBUTING.md, "Versions of the graph". The state of 1 reads as that of 2;
 * a release that drives 1 only goes on with a decided run as who decided, and is kept from those of 2.
 */
export const graphVersions: GraphVersions = { newest: 2, oldest: 1 };

/** The versions as requests name them. */
export function versionFields({ newest, oldest }: GraphVersions): { graphVersion: number; oldestGraphVersion: number } {
  return { graphVersion: newest, oldestGraphVersion: oldest };
}

/** Nodes of the graph. */
export type NodeName = "think" | "act" | "respond";

/** What the nodes stand on. */
export interface GraphDeps {
  /** What this process drives. */
  readonly graphVersions: GraphVersions;
  readonly model: ModelClient;
  readonly meter: ModelMeter;
  readonly journal: Client<typeof JournalService>;
  readonly executions: Client<typeof ExecutionService>;
  readonly catalogue: ToolCatalogue;
  readonly defaultModel: string;
  /** Model calls in one turn. */
  readonly maxIterations: number;
  /** Has a queued run claimed by some worker, now or in some milliseconds. */
  readonly dispatch: (runId: string, delayMs?: number) => void;
  readonly logger: Logger;
}

/** A run in this process: its place in the record, its messages, and who watches. */
export interface Turn {
  readonly runId: string;
  readonly conversationId: string;
  readonly epoch: number;
  readonly identity: Identity;
  readonly agent: AgentDefinition;
  state: TurnState;
  /** The context for the model, oldest first; grows as the turn goes on. */
  readonly messages: Message[];
  /** Decisions that the run was resumed with. */
  readonly decisions: ReadonlyMap<string, DecidedCall>;
  /** Messages that the next commit stores. */
  uncommitted: Message[];
  /** Usage that the next commit adds. */
  usage: ModelUsage;
  /** Cost that the next commit adds, in US dollars. */
  costUsd: number;
  /** Usage of the whole turn in this process. */
  totalUsage: ModelUsage;
  readonly signal: AbortSignal;
  /** Options of calls on behalf of the run's owner, with credentials that hold. */
  options(): Promise<CallOptions>;
  /** Where what happens is said to those who watch. */
  readonly log: LiveLog;
}

/** What a node leads to. */
export type Step =
  | { next: NodeName; patch?: Partial<TurnState>; commit?: "intent" }
  | { park: readonly ModelToolCall[] }
  | { review: readonly ModelToolCall[] }
  | { end: Message; finishReason: string };
