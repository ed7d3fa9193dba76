import { create } from "@bufbuild/protobuf";
import { type Message, MessageSchema } from "@turnwright/contract/conversation/v1/conversation";
import { ExecutionStatus } from "@turnwright/contract/tool/v1/tool";
import { ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import { allows } from "@turnwright/platform/identity/identity";
import { uuidv7 } from "@turnwright/platform/uuid";
import type { ModelToolCall } from "../model/chunk.ts";
import { resultText } from "../tool-access/tool-results.ts";
import type { GraphDeps, Step, Turn } from "./turn.ts";

function callsOf(message: Message): ModelToolCall[] {
  return message.toolCalls.map((call) => ({
    id: call.id,
    type: "function",
    function: { name: call.function?.name ?? "", arguments: call.function?.arguments ?? "" },
  }));
}

/** Adds a call's result to the context and to the next commit. */
function observe(turn: Turn, call: ModelToolCall, content: string): void {
  const message = create(MessageSchema, {
    id: uuidv7(),
    conversationId: turn.conversationId,
    role: "tool",
    name: call.function.name,
    toolCallId: call.id,
    content,
  });
  turn.messages.push(message);
  turn.uncommitted.push(message);
  turn.log.emit({ type: "tool_result", callId: call.id, name: call.function.name, result: content });
}

/** The calls of a message that have no answer yet. Ids count within their round only: some endpoints reuse them. */
export function openCalls(messages: readonly Message[], messageId: string): ModelToolCall[] {
  const at = messages.findIndex((candidate) => candidate.id === messageId);
  const message = messages[at];
  if (message === undefined) throw fail(ErrorReason.INTERNAL, "the message with the calls is not in the context");
  const later = messages.slice(at + 1).filter((candidate) => candidate.role === "tool");
  const answered = new Set(later.map((candidate) => candidate.toolCallId));
  return callsOf(message).filter((call) => !answered.has(call.id));
}

const checkTimeoutMs = 15_000;

/** A call that may run now. */
interface ReadyCall {
  readonly call: ModelToolCall;
  readonly arguments: string;
  readonly grant: string;
}

/** Why a run is ended by its driver for good; a cancelled one is stopped by whoever cancels it. */
const endsRun: ReadonlySet<ErrorReason> = new Set([ErrorReason.DEADLINE_EXCEEDED, ErrorReason.RUN_CREDENTIAL_ENDED]);

/**
 * Stops calls that nobody will ask for again: a `once` call goes on for a while without its caller, who may only have
 * died.
 */
async function stop(deps: GraphDeps, turn: Turn, callIds: string[]): Promise<void> {
  try {
    const options = { ...(await turn.options()), signal: undefined, timeoutMs: 10_000 };
    await deps.executions.cancelCalls({ runId: turn.runId, callIds }, options);
  } catch {
    // The executor stops them by itself after a while.
  }
}

/**
 * Has the executor run the calls and observes what it knows. Gives the calls of which nobody knows whether they took
 * effect.
 */
async function execute(deps: GraphDeps, turn: Turn, ready: readonly ReadyCall[]): Promise<ModelToolCall[]> {
  const options = await turn.options();
  const abandon = () => {
    if (endsRun.has(reasonOf(turn.signal.reason)))
      void stop(
        deps,
        turn,
        ready.map(({ call }) => call.id),
      );
  };
  turn.signal.addEventListener("abort", abandon, { once: true });
  const answer = deps.executions.executeCalls(
    {
      runId: turn.runId,
      conversationId: turn.conversationId,
      epoch: turn.epoch,
      messageId: turn.state.messageId,
      calls: ready.map((item) => ({
        callId: item.call.id,
        name: item.call.function.name,
        arguments: item.arguments,
        grant: item.grant,
      })),
    },
    options,
  );
  const { results } = await answer.finally(() => turn.signal.removeEventListener("abort", abandon));
  const byId = new Map(results.map((result) => [result.callId, result]));
  const unknown: ModelToolCall[] = [];
  for (const { call } of ready) {
    const result = byId.get(call.id);
    if (result === undefined) throw fail(ErrorReason.INTERNAL, "the executor left a call without a result");
    if (result.status === ExecutionStatus.UNKNOWN) unknown.push(call);
    else observe(turn, call, resultText(result));
  }
  return unknown;
}

/** Whether the executor would take a call's arguments: a person is not asked for what cannot run. */
async function fits(deps: GraphDeps, turn: Turn, { function: { name, arguments: json } }: ModelToolCall): Promise<boolean> {
  try {
    await deps.executions.checkCall({ name, arguments: json }, { ...(await turn.options()), timeoutMs: checkTimeoutMs });
    return true;
  } catch (error) {
    if (reasonOf(error) === ErrorReason.INVALID_TOOL_ARGUMENTS) return false;
    throw error;
  }
}

/**
 * Runs the calls of the assistant's last message, in parallel. Calls that a person must approve are left over and park
 * the run; when it comes back, only these are run (or answered with the rejection). What was run before is in the
 * record already. A call whose outcome nobody knows ends the run for a person to look at.
 */
export async function act(deps: GraphDeps, turn: Turn): Promise<Step> {
  const { decisions, identity } = turn;
  const specs = await deps.catalogue.specs(await turn.options());
  const ready: ReadyCall[] = [];
  const waiting: ModelToolCall[] = [];
  for (const call of openCalls(turn.messages, turn.state.messageId)) {
    const { name } = call.function;
    const decision = decisions.get(call.id);
    if (decision !== undefined && !decision.approved) {
      const reason = decision.reason === "" ? "no reason was given" : decision.reason;
      observe(turn, call, JSON.stringify({ error: `The user rejected this call: ${reason}` }));
    } else if (decision !== undefined) {
      ready.push({ call, arguments: decision.arguments || call.function.arguments, grant: decision.grant });
    } else if (specs.get(name)?.requiresApproval && allows(identity.allowedTools, name) && (await fits(deps, turn, call))) {
      waiting.push(call);
    } else {
      // Unknown and forbidden tools go there too, and arguments that do not fit: the executor refuses them and the
      // model is told.
      ready.push({ call, arguments: call.function.arguments, grant: "" });
    }
  }
  const unknown = ready.length === 0 ? [] : await execute(deps, turn, ready);
  if (unknown.length > 0) return { review: unknown };
  if (waiting.length > 0) return { park: waiting };
  return { next: "think", patch: { messageId: "", waiting: [] } };
}
