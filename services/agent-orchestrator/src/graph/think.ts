import { create } from "@bufbuild/protobuf";
import { type Message, MessageSchema } from "@turnwright/contract/conversation/v1/conversation";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { uuidv7 } from "@turnwright/platform/uuid";
import { addUsage } from "../model/chunk.ts";
import { readStream } from "../model/read-stream.ts";
import type { GraphDeps, Step, Turn } from "./turn.ts";

/** A stored message as the model reads it. */
function modelMessage(message: Message): object {
  switch (message.role) {
    case "assistant":
      return message.toolCalls.length === 0
        ? { role: "assistant", content: message.content }
        : {
            role: "assistant",
            content: message.content === "" ? null : message.content,
            tool_calls: message.toolCalls.map(({ id, function: call }) => ({
              id,
              type: "function",
              function: { name: call?.name ?? "", arguments: call?.arguments ?? "" },
            })),
          };
    case "tool":
      return { role: "tool", tool_call_id: message.toolCallId, content: message.content };
    default:
      return { role: message.role, content: message.content };
  }
}

/** Asks the model. It answers, which ends the turn, or asks for tools, which are committed as intents before anything runs. */
export async function think(deps: GraphDeps, turn: Turn): Promise<Step> {
  const { agent, state } = turn;
  if (state.iteration >= deps.maxIterations) {
    throw fail(ErrorReason.ITERATION_LIMIT, `The model asked for tools ${deps.maxIterations} times without an answer.`);
  }
  const toolsJson = await deps.catalogue.definitionsJson(turn.identity, { ...(await turn.options()), unattended: false });
  const body = {
    model: state.model,
    messages: [{ role: "system", content: agent.prompt }, ...turn.messages.map(modelMessage)],
    temperature: agent.temperature,
    max_tokens: agent.maxTokens,
    stream: true,
    stream_options: { include_usage: true },
    ...(toolsJson === undefined ? {} : { tools: JSON.parse(toolsJson) }),
  };
  const started = performance.now();
  const pieces = await deps.model.stream(Buffer.from(JSON.stringify(body)), turn.signal);
  const answer = await readStream(pieces, (delta) => turn.emit({ type: "content", delta }));
  turn.usage = addUsage(turn.usage, answer.usage);
  turn.totalUsage = addUsage(turn.totalUsage, answer.usage);

  const message = create(MessageSchema, {
    id: uuidv7(),
    conversationId: turn.conversationId,
    role: "assistant",
    content: answer.content,
    toolCalls: answer.toolCalls,
    model: answer.model || state.model,
    promptTokens: answer.usage.prompt_tokens,
    completionTokens: answer.usage.completion_tokens,
    latencyMs: Math.round(performance.now() - started),
  });
  turn.messages.push(message);
  turn.uncommitted.push(message);
  if (answer.toolCalls.length === 0) return { end: message, finishReason: answer.finishReason };
  for (const call of answer.toolCalls) turn.emit({ type: "tool_call", call });
  return { next: "act", commit: "intent", patch: { messageId: message.id, iteration: state.iteration + 1 } };
}
