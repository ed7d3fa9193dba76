import { create } from "@bufbuild/protobuf";
import type { Message } from "@turnwright/contract/conversation/v1/conversation";
import { type ToolCall, ToolCallSchema } from "@turnwright/contract/tool/v1/tool";
import type { ToolCallRow } from "./rows.ts";
import { storable } from "./storable.ts";

/** A message as it will read back: its text reduced to what PostgreSQL can store. */
export function toStorable(message: Message): Message {
  return {
    ...message,
    content: storable(message.content),
    name: storable(message.name),
    toolCalls: message.toolCalls.map(({ id, function: called }) =>
      create(ToolCallSchema, {
        id: storable(id),
        type: "function",
        function: { name: storable(called?.name ?? ""), arguments: storable(called?.arguments ?? "") },
      }),
    ),
    toolCallId: storable(message.toolCallId),
    model: storable(message.model),
    finishReason: storable(message.finishReason),
    reasoning: storable(message.reasoning),
    providerFields: storable(message.providerFields),
  };
}

/** Storable messages for `json_to_recordset`; `n` is their order, from 1. */
export function messageRows(messages: readonly Message[]) {
  return messages.map((message, index) => ({
    n: index + 1,
    id: message.id,
    role: message.role,
    content: message.content,
    name: message.name,
    tool_calls: message.toolCalls.length === 0 ? null : message.toolCalls.map(toToolCallRow),
    tool_call_id: message.toolCallId,
    model: message.model,
    prompt_tokens: message.promptTokens,
    completion_tokens: message.completionTokens,
    latency_ms: message.latencyMs,
    finish_reason: message.finishReason,
    reasoning: message.reasoning,
    provider_fields: message.providerFields,
  }));
}

function toToolCallRow({ id, type, function: called }: ToolCall): ToolCallRow {
  return { id, type, function: { name: called?.name ?? "", arguments: called?.arguments ?? "" } };
}
