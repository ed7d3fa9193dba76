import { create } from "@bufbuild/protobuf";
import { type Message, MessageSchema } from "@turnwright/contract/conversation/v1/conversation";
import { ExecutionStatus } from "@turnwright/contract/tool/v1/tool";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { uuidv7 } from "@turnwright/platform/uuid";
import type { ModelToolCall } from "../model/chunk.ts";
import { resultText } from "../tool-results.ts";
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
  turn.emit({ type: "tool_result", callId: call.id, name: call.function.name, result: content });
}

/**
 * Runs the calls of the assistant's last message, in parallel. Calls that a person must approve are left over and park the run; when it
 * comes back, only these are run (or answered with the rejection). What was run before is in the record already.
 */
export async function act(deps: GraphDeps, turn: Turn): Promise<Step> {
  const { state, decisions } = turn;
  const message = turn.messages.find((candidate) => candidate.id === state.messageId);
  if (message === undefined) throw fail(ErrorReason.INTERNAL, "the message with the calls is not in the context");
  const answered = new Set(
    turn.messages.filter((candidate) => candidate.role === "tool").map((candidate) => candidate.toolCallId),
  );
  const open = callsOf(message).filter((call) => !answered.has(call.id));
  const options = await turn.options();
  const specs = await deps.catalogue.specs(options);

  const ready: { call: ModelToolCall; arguments: string; grant: string }[] = [];
  const waiting: ModelToolCall[] = [];
  for (const call of open) {
    const decision = decisions.get(call.id);
    if (decision !== undefined && !decision.approved) {
      const reason = decision.reason === "" ? "no reason was given" : decision.reason;
      observe(turn, call, JSON.stringify({ error: `The user rejected this call: ${reason}` }));
    } else if (decision !== undefined) {
      ready.push({ call, arguments: decision.arguments || call.function.arguments, grant: decision.grant });
    } else if (specs.get(call.function.name)?.requiresApproval) waiting.push(call);
    else ready.push({ call, arguments: call.function.arguments, grant: "" });
  }

  if (ready.length > 0) {
    const { results } = await deps.executions.executeCalls(
      {
        runId: turn.runId,
        conversationId: turn.conversationId,
        epoch: turn.epoch,
        messageId: state.messageId,
        calls: ready.map((item) => ({
          callId: item.call.id,
          name: item.call.function.name,
          arguments: item.arguments,
          grant: item.grant,
        })),
      },
      options,
    );
    const byId = new Map(results.map((result) => [result.callId, result]));
    for (const { call } of ready) {
      const result = byId.get(call.id);
      if (result === undefined) throw fail(ErrorReason.INTERNAL, "the executor left a call without a result");
      if (result.status === ExecutionStatus.UNKNOWN) {
        throw fail(ErrorReason.TOOL_FAILED, `Nobody knows whether ${call.function.name} took effect; a person must look.`);
      }
      observe(turn, call, resultText(result));
    }
  }
  if (waiting.length > 0) return { park: waiting };
  return { next: "think", patch: { messageId: "", waiting: [] } };
}
