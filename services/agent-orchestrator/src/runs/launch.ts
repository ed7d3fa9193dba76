import type { Client, HandlerContext } from "@connectrpc/connect";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import type { TokenService } from "@turnwright/contract/auth/v1/token_service";
import type { RunContext } from "@turnwright/contract/conversation/v1/run";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { requireIdentity } from "@turnwright/platform/identity/identity";
import type { Bus } from "@turnwright/platform/ports/bus";
import { forward } from "@turnwright/platform/rpc/forward";
import { type AgentDefinition, builtInAgents } from "../agents/agents.ts";
import { routeMessage } from "../agents/router.ts";
import { drive, type Outcome } from "../graph/driver.ts";
import { runCredentials } from "../graph/run-credentials.ts";
import type { TurnState } from "../graph/state.ts";
import type { GraphDeps, NodeName, Turn } from "../graph/turn.ts";
import { noUsage } from "../model/chunk.ts";
import type { RunFrame } from "../run-events/frame.ts";
import { type LiveLogs, pokeWatchers } from "../run-events/live-log.ts";
import type { Position } from "../run-events/position.ts";
import type { DrivenRuns } from "./owned-runs.ts";
import type { LiveRuns } from "./runs-by-token.ts";

/** What turns stand on. */
export interface TurnDeps extends GraphDeps {
  readonly tokens: Client<typeof TokenService>;
  readonly liveRuns: LiveRuns;
  /** UUID of this process, under which it claims runs. */
  readonly workerId: string;
  readonly driving: DrivenRuns;
  /** How long a turn may take, in milliseconds. */
  readonly runTimeoutMs: number;
  /** What happens in the runs that this process drives, for those who watch. */
  readonly liveLogs: LiveLogs;
  readonly bus: Bus;
}

/** A turn under way; it goes on to its end whether or not its caller waits. */
export interface StartedTurn {
  readonly conversationId: string;
  readonly runId: string;
  /** UUID of the credential that started it and that it acts as. */
  readonly tokenId: string;
  readonly agent: string;
  readonly outcome: Promise<Outcome>;
  /** Usage so far. */
  usage(): Turn["totalUsage"];
  /** Where its log stands. */
  position(): Position;
}

function findAgent(name: string): AgentDefinition | undefined {
  return builtInAgents.find((candidate) => candidate.name === name);
}

/** Throws INVALID_REQUEST for an agent that there is not. */
export function agentNamed(name: string): AgentDefinition {
  const agent = findAgent(name);
  if (agent !== undefined) return agent;
  const known = builtInAgents.map((candidate) => candidate.name).join(", ");
  throw fail(ErrorReason.INVALID_REQUEST, `agent_type: there is no agent ${JSON.stringify(name)}; there are ${known}`, {
    param: "agent_type",
  });
}

/**
 * The state with the agent and model that it leaves open: those of the conversation, else what the router makes of the
 * user's message.
 */
export function settledState(deps: TurnDeps, state: TurnState, context: RunContext): TurnState {
  const said = context.messages.findLast((message) => message.role === "user");
  const agent =
    findAgent(state.agent) ?? findAgent(context.conversation?.agentType ?? "") ?? agentNamed(routeMessage(said?.content ?? ""));
  return { ...state, agent: agent.name, model: state.model || agent.model || deps.defaultModel };
}

/** As whom a run acts: who started it. */
export interface Behalf {
  readonly identity: Identity;
  readonly headers: Readonly<Record<string, string>>;
}

/** The caller, who starts a run. */
export function behalfOf(ctx: HandlerContext): Behalf {
  return { identity: requireIdentity(ctx), headers: forward(ctx).headers as Record<string, string> };
}

/** Where a claimed run goes on, and who sees it. */
export interface Start {
  readonly node: NodeName;
  readonly state: TurnState;
  readonly onFrame?: (frame: RunFrame) => void;
}

/** Drives a claimed run in the background of the call that claimed it, within the run's own time. */
export function launch(deps: TurnDeps, { identity, headers }: Behalf, claimed: RunContext, start: Start): StartedTurn {
  const { run } = claimed;
  if (run === undefined) throw fail(ErrorReason.INTERNAL, "the journal gave a context without its run");
  if (run.userId !== identity.userId || run.tokenId !== identity.tokenId) {
    throw fail(ErrorReason.INTERNAL, "a run acts as who started it, and as nobody else");
  }
  const controller = deps.driving.begin(run.id);
  const timeoutMs = run.deadlineSeconds * 1_000 || deps.runTimeoutMs;
  const timer = setTimeout(() => {
    controller.abort(fail(ErrorReason.DEADLINE_EXCEEDED, "The turn took longer than its deadline allows."));
  }, timeoutMs);
  const log = deps.liveLogs.open(run, start.onFrame ?? ignore);
  const turn: Turn = {
    runId: run.id,
    conversationId: run.conversationId,
    epoch: run.epoch,
    identity,
    // A run that is claimed must go on: where its agent is gone, the general one does.
    agent: findAgent(start.state.agent) ?? agentNamed("general"),
    state: start.state,
    messages: [...claimed.messages],
    decisions: new Map(claimed.decisions.map((decision) => [decision.callId, decision])),
    uncommitted: [],
    usage: noUsage,
    costUsd: 0,
    totalUsage: noUsage,
    signal: controller.signal,
    options: runCredentials(headers, identity, { tokens: deps.tokens, signal: controller.signal, timeoutMs }),
    log,
  };
  // Who watches from the journal alone learns that it goes on.
  if (start.onFrame === undefined) pokeWatchers(deps.bus, run.id);
  const forget = deps.liveRuns.add(identity.tokenId, controller);
  const outcome = drive(deps, turn, start.node).finally(() => {
    clearTimeout(timer);
    forget();
    deps.driving.end(run.id, controller);
    deps.liveLogs.close(run.id, log);
  });
  // Nobody may be waiting for it any more.
  outcome.catch((error) => deps.logger.info({ err: error, run_id: run.id }, "turn failed"));
  return {
    conversationId: run.conversationId,
    runId: run.id,
    tokenId: identity.tokenId,
    agent: turn.agent.name,
    outcome,
    usage: () => turn.totalUsage,
    position: () => ({ seq: log.seq, units: log.units }),
  };
}

const ignore = () => {};
