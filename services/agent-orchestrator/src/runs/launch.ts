import type { Client } from "@connectrpc/connect";
import type { TokenService } from "@turnwright/contract/auth/v1/token_service";
import type { RunContext } from "@turnwright/contract/conversation/v1/run";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Bus } from "@turnwright/platform/ports/bus";
import { type AgentDefinition, findAgent } from "../agents/agents.ts";
import type { DrivenRun, GraphDeps, NodeName } from "../graph/driven-run.ts";
import { drive } from "../graph/driver.ts";
import { logFailedRun } from "../graph/log-failed-run.ts";
import type { RunState } from "../graph/state.ts";
import { noUsage } from "../model/edge/chunk.ts";
import type { RunFrame } from "../run-events/frame.ts";
import { type LiveLogs, pokeWatchers } from "../run-events/live-log.ts";
import type { RunWatches } from "../run-events/run-watches.ts";
import type { Starter } from "./caller.ts";
import type { OwnedRuns } from "./owned-runs.ts";
import type { ReaderCredentials } from "./reader-credentials.ts";
import { runCredentials } from "./run-credentials.ts";
import type { RunHandle } from "./run-handle.ts";
import type { RunsByToken } from "./runs-by-token.ts";

/** Dependencies of everything that starts, resumes or follows runs. */
export interface RunDeps extends GraphDeps {
  readonly tokens: Client<typeof TokenService>;
  readonly runsByToken: RunsByToken;
  readonly owned: OwnedRuns;
  /** How long a run may take, in milliseconds. */
  readonly runTimeoutMs: number;
  /** The live logs of the runs that this process drives. */
  readonly liveLogs: LiveLogs;
  /** The runs that this process watches for clients. */
  readonly watches: RunWatches;
  readonly readers: ReaderCredentials;
  readonly bus: Bus;
}

/** The point from which a claimed run goes on, and its agent. */
export interface Start {
  readonly node: NodeName;
  readonly agent: AgentDefinition;
  /** Names the agent and the model. */
  readonly state: RunState;
  /** Called in this process with each frame, as it happens. */
  readonly onFrame?: (frame: RunFrame) => void;
}

/**
 * Settles the agent and the model of a claimed run, once. The first known agent of these is taken: the one in the
 * state, the conversation's, the one that the router names for the user's message.
 */
export function settleAgent(
  deps: RunDeps,
  state: RunState,
  context: RunContext,
  routed: AgentDefinition,
): Pick<Start, "agent" | "state"> {
  const agent = findAgent(state.agent) ?? findAgent(context.conversation?.agentType ?? "") ?? routed;
  return { agent, state: { ...state, agent: agent.name, model: state.model || agent.model || deps.defaultModel } };
}

const noDecisions: DrivenRun["decisions"] = new Map();

/** Drives a claimed run within its own deadline. The call that claimed it need not wait. */
export function launch(deps: RunDeps, starter: Starter, claimed: RunContext, start: Start): RunHandle {
  const { run } = claimed;
  const { identity } = starter;
  if (run === undefined) throw fail(ErrorReason.INTERNAL, "the journal returned a context without its run");
  if (run.userId !== identity.userId || run.tokenId !== identity.tokenId) {
    throw fail(ErrorReason.INTERNAL, "a run may act only as the credential that started it");
  }
  const controller = deps.owned.begin(run.id);
  const timeoutMs = run.deadlineSeconds * 1_000 || deps.runTimeoutMs;
  const timer = setTimeout(() => {
    controller.abort(fail(ErrorReason.DEADLINE_EXCEEDED, "The run took longer than its deadline allows."));
  }, timeoutMs);
  const log = deps.liveLogs.open({ id: run.id, seq: run.seq, isKeyed: start.state.isKeyed }, start.onFrame ?? ignore);
  const driven: DrivenRun = {
    runId: run.id,
    conversationId: run.conversationId,
    epoch: run.epoch,
    identity,
    agent: start.agent,
    state: start.state,
    messages: [...claimed.messages],
    decisions:
      claimed.decisions.length === 0 ? noDecisions : new Map(claimed.decisions.map((decision) => [decision.callId, decision])),
    uncommitted: [],
    outcomes: new Map(),
    namesWorker: false,
    usage: noUsage,
    costUsd: 0,
    totalUsage: noUsage,
    signal: controller.signal,
    options: runCredentials(starter.headers, identity, { tokens: deps.tokens, signal: controller.signal, timeoutMs }),
    log,
  };
  // Watchers that read the journal only learn that the run goes on.
  if (start.onFrame === undefined) pokeWatchers(deps.bus, run.id);
  const forget = deps.runsByToken.add(identity.tokenId, controller);
  const outcome = drive(deps, driven, start.node).finally(() => {
    clearTimeout(timer);
    forget();
    deps.owned.end(run.id, controller);
    deps.liveLogs.close(run.id, log);
  });
  // Handled here as well: the caller may have stopped waiting.
  outcome.catch((error) => logFailedRun(deps, { ...driven, model: driven.state.model }, error));
  return {
    runId: run.id,
    conversationId: run.conversationId,
    tokenId: identity.tokenId,
    isReplayed: false,
    position: () => ({ seq: log.seq, units: log.units }),
    driven: { agent: start.agent.name, outcome, usage: () => driven.totalUsage },
  };
}

const ignore = () => {};
