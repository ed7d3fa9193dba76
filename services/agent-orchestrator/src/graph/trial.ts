import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { type Message, MessageSchema } from "@turnwright/contract/conversation/v1/conversation";
import { uuidv7 } from "@turnwright/platform/uuid";
import type { ModelToolCall } from "../model/edge/chunk.ts";
import { tellCalls } from "./act.ts";
import type { DrivenRun, Step } from "./driven-run.ts";
import type { TrialCall } from "./state.ts";

function add(run: DrivenRun, init: { content?: string; toolCalls?: ModelToolCall[]; finishReason: string }): Message {
  const message = create(MessageSchema, { ...init, id: uuidv7(), conversationId: run.conversationId, role: "assistant" });
  run.messages.push(message);
  run.uncommitted.push(message);
  return message;
}

/** The step of a trial in the place of a model call: first the call itself, then, with its result, the end. */
export function tryCall(run: DrivenRun, { name, arguments: json }: TrialCall): Step {
  if (run.state.iteration > 0) {
    const content = `The trial of ${name} has ended. Its result is in the message before this one.`;
    return { end: add(run, { content, finishReason: "stop" }), finishReason: "stop" };
  }
  const call = { id: `call_${randomUUID()}`, type: "function" as const, function: { name, arguments: json } };
  const { id } = add(run, { toolCalls: [call], finishReason: "tool_calls" });
  tellCalls(run, { calls: [call], refusals: new Map() });
  return { next: "act", commit: "intent", patch: { messageId: id, iteration: 1 } };
}
