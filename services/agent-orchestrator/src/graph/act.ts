import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Message, MessageSchema } from "@turnwright/contract/conversation/v1/conversation";
import type { ExecutionResult } from "@turnwright/contract/tool/v1/execution_service";
import { ExecutionStatus } from "@turnwright/contract/tool/v1/tool";
import { ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import { allows } from "@turnwright/platform/identity/identity";
import { uuidv7 } from "@turnwright/platform/uuid";
import type { ModelToolCall } from "../model/edge/chunk.ts";
import { isRefusedForGood } from "../outage.ts";
import type { StorableCalls } from "../tool-access/storable-calls.ts";
import { errorText, refusedResult, resultTexts } from "../tool-access/tool-results.ts";
import type { CallOutcome, DrivenRun, GraphDeps, Step, UnapprovedCall } from "./driven-run.ts";

function callsOf(message: Message): ModelToolCall[] {
  return message.toolCalls.map((call) => ({
    id: call.id,
    type: "function",
    function: { name: call.function?.name ?? "", arguments: call.function?.arguments ?? "" },
  }));
}

/** When a call ended and how long its tool ran, in milliseconds. */
interface CallTimes {
  readonly endedAtMs: number;
  readonly durationMs: number;
}

/** How a call ended. */
interface CallEnd {
  /** Unset: it did not run, and ended now. */
  readonly times?: CallTimes;
  /** Unset: its tool has succeeded. */
  readonly outcome?: CallOutcome;
}

/** Adds a call's result to the context and to the next commit. */
function addResult(run: DrivenRun, call: ModelToolCall, content: string, { times, outcome }: CallEnd): void {
  if (outcome !== undefined) run.outcomes.set(call.id, outcome);
  const message = create(MessageSchema, {
    id: uuidv7(),
    createdAt: timestampFromMs(times?.endedAtMs ?? Date.now()),
    latencyMs: times?.durationMs,
    conversationId: run.conversationId,
    role: "tool",
    name: call.function.name,
    toolCallId: call.id,
    content,
  });
  run.messages.push(message);
  run.uncommitted.push(message);
  run.log.emit({ type: "tool_result", callId: call.id, name: call.function.name, result: content });
}

/** Tells watchers of a new round of calls, and answers those that must not run, so that they are never executed. */
export function tellCalls(run: DrivenRun, { calls, refusals }: StorableCalls): void {
  for (const call of calls) run.log.emit({ type: "tool_call", call });
  for (const call of calls) {
    const refusal = refusals.get(call.id);
    if (refusal !== undefined) addResult(run, call, refusal, { outcome: "failed" });
  }
}

/** The calls of a message that have no result yet. Ids are compared within their round: some endpoints reuse them. */
export function openCalls(messages: readonly Message[], messageId: string): ModelToolCall[] {
  const at = messages.findIndex((candidate) => candidate.id === messageId);
  const message = messages[at];
  if (message === undefined) throw fail(ErrorReason.INTERNAL, "the message with the calls is not in the context");
  const later = messages.slice(at + 1).filter((candidate) => candidate.role === "tool");
  const answered = new Set(later.map((candidate) => candidate.toolCallId));
  return callsOf(message).filter((call) => !answered.has(call.id));
}

const checkTimeoutMs = 15_000;

/** A call that may be executed now. */
interface ReadyCall {
  readonly call: ModelToolCall;
  readonly arguments: string;
  readonly grant: string;
}

/** Reasons for which the driver ends a run for good. The calls of a cancelled run are stopped by `cancelRun`. */
const endsRun: ReadonlySet<ErrorReason> = new Set([ErrorReason.DEADLINE_EXCEEDED, ErrorReason.RUN_CREDENTIAL_ENDED]);

/**
 * Stops calls whose results no worker will ask for. Left alone, a `once` call would go on for a while, because its
 * caller may only have crashed.
 */
async function stopCalls(deps: GraphDeps, run: DrivenRun, callIds: string[]): Promise<void> {
  try {
    const options = { ...(await run.options()), signal: undefined, timeoutMs: 10_000 };
    await deps.executions.cancelCalls({ runId: run.runId, callIds }, options);
  } catch {
    // The executor stops them by itself after a while.
  }
}

/** Has the executor run calls of a round; gives their results in order. */
async function request(deps: GraphDeps, run: DrivenRun, ready: readonly ReadyCall[]): Promise<ExecutionResult[]> {
  const options = await run.options();
  const callIds = ready.map(({ call }) => call.id);
  const onAbort = () => {
    if (endsRun.has(reasonOf(run.signal.reason))) void stopCalls(deps, run, callIds);
  };
  run.signal.addEventListener("abort", onAbort, { once: true });
  const answer = deps.executions.executeCalls(
    {
      runId: run.runId,
      conversationId: run.conversationId,
      epoch: run.epoch,
      messageId: run.state.messageId,
      calls: ready.map((item) => ({
        callId: item.call.id,
        name: item.call.function.name,
        arguments: item.arguments,
        grant: item.grant,
      })),
    },
    options,
  );
  const { results } = await answer.finally(() => run.signal.removeEventListener("abort", onAbort));
  const byId = new Map(results.map((result) => [result.callId, result]));
  return ready.map(({ call }) => {
    const result = byId.get(call.id);
    if (result === undefined) throw fail(ErrorReason.INTERNAL, "the executor left a call without a result");
    return result;
  });
}

/**
 * The results of a round's calls. When the executor refuses the round as it is, or its results are together larger than
 * a response may be, each call is asked for by itself: those that ran have their result in the ledger. A call that is
 * refused alone has the refusal as its result, as a call of an unknown tool has.
 */
async function resultsOf(deps: GraphDeps, run: DrivenRun, ready: readonly ReadyCall[]): Promise<ExecutionResult[]> {
  try {
    return await request(deps, run, ready);
  } catch (error) {
    if (!isRefusedForGood(error)) throw error;
    const [only] = ready;
    if (only !== undefined && ready.length === 1) return [refusedResult(only.call.id, error)];
    const results: ExecutionResult[] = [];
    for (const one of ready) results.push(...(await resultsOf(deps, run, [one])));
    return results;
  }
}

const noStatus = ExecutionStatus.UNSPECIFIED;

/** The outcomes of calls that did not succeed. */
const outcomes: Readonly<Partial<Record<ExecutionStatus, CallOutcome>>> = {
  [ExecutionStatus.FAILED]: "failed",
  [ExecutionStatus.REFUSED]: "failed",
  [ExecutionStatus.CANCELLED]: "cancelled",
};

/**
 * The times of a round's calls, whose results have just come together. They ran in parallel, so they began with the
 * longest of them.
 */
function callTimes(results: readonly ExecutionResult[]): (result: ExecutionResult | undefined) => CallTimes {
  const duration = (result: ExecutionResult | undefined) => Math.max(0, result?.durationMs ?? 0);
  const begunMs = Date.now() - Math.max(0, ...results.map(duration));
  return (result) => ({ endedAtMs: begunMs + duration(result), durationMs: duration(result) });
}

/**
 * Has the executor run the calls and adds their results. Returns the calls of which it is unknown whether they took
 * effect, and those that did not run because a person has to approve them for the executor's version of their tool.
 */
async function execute(
  deps: GraphDeps,
  run: DrivenRun,
  ready: readonly ReadyCall[],
): Promise<{ unknown: ModelToolCall[]; unapproved: UnapprovedCall[] }> {
  const results = await resultsOf(deps, run, ready);
  const timesOf = callTimes(results);
  const texts = resultTexts(results);
  const unknown: ModelToolCall[] = [];
  const unapproved: UnapprovedCall[] = [];
  for (const [index, { call }] of ready.entries()) {
    const { status, unapprovedVersion = "" } = results[index] ?? {};
    if (status === ExecutionStatus.UNKNOWN) unknown.push(call);
    else if (status === ExecutionStatus.REFUSED && unapprovedVersion !== "")
      unapproved.push({ call, toolVersion: unapprovedVersion });
    else addResult(run, call, texts[index] ?? "", { times: timesOf(results[index]), outcome: outcomes[status ?? noStatus] });
  }
  return { unknown, unapproved };
}

/** Reasons for which a call is left to the executor, whose refusal the model reads. */
const unexecutable: ReadonlySet<ErrorReason> = new Set([ErrorReason.UNKNOWN_TOOL, ErrorReason.TOOL_NOT_ALLOWED]);

/** Whether the executor would accept a call's arguments: a person is not asked to approve a call that cannot run. */
async function isExecutable(
  deps: GraphDeps,
  run: DrivenRun,
  { function: { name, arguments: json } }: ModelToolCall,
): Promise<boolean> {
  try {
    await deps.executions.checkCall({ name, arguments: json }, { ...(await run.options()), timeoutMs: checkTimeoutMs });
    return true;
  } catch (error) {
    if (isRefusedForGood(error) || unexecutable.has(reasonOf(error))) return false;
    throw error;
  }
}

/**
 * Executes the open calls of the assistant's last message, in parallel. Calls that need approval are left open and park
 * the run; once it is resumed, only those are executed, or answered with the rejection. They park it again when their
 * tool has changed since. A call whose outcome is unknown sends the run to review.
 */
export async function act(deps: GraphDeps, run: DrivenRun): Promise<Step> {
  const { decisions, identity } = run;
  const specs = await deps.catalogue.specs(await run.options());
  const ready: ReadyCall[] = [];
  const waiting: UnapprovedCall[] = [];
  for (const call of openCalls(run.messages, run.state.messageId)) {
    const { name } = call.function;
    const decision = decisions.get(call.id);
    const spec = specs.get(name);
    if (decision !== undefined && !decision.approved) {
      const reason = decision.reason === "" ? "no reason was given" : decision.reason;
      addResult(run, call, errorText(`The user rejected this call: ${reason}`), { outcome: "rejected" });
    } else if (decision !== undefined) {
      ready.push({ call, arguments: decision.arguments || call.function.arguments, grant: decision.grant });
    } else if (spec?.requiresApproval && allows(identity.allowedTools, name) && (await isExecutable(deps, run, call))) {
      waiting.push({ call, toolVersion: spec.version });
    } else {
      // Includes unknown tools, forbidden tools and invalid arguments: the executor refuses them, and the model reads
      // why.
      ready.push({ call, arguments: call.function.arguments, grant: "" });
    }
  }
  if (ready.length > 0) {
    const { unknown, unapproved } = await execute(deps, run, ready);
    if (unknown.length > 0) return { review: unknown };
    waiting.push(...unapproved);
  }
  if (waiting.length > 0) return { park: waiting };
  return { next: "think", patch: { messageId: "", waiting: [] } };
}
