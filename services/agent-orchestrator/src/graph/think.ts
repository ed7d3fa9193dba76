import { create } from "@bufbuild/protobuf";
import { type Message, MessageSchema } from "@turnwright/contract/conversation/v1/conversation";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { allows } from "@turnwright/platform/identity/identity";
import { uuidv7 } from "@turnwright/platform/uuid";
import { distinctCalls } from "../model/call-ids.ts";
import { addUsage } from "../model/chunk.ts";
import { emptyAnswer, readStream } from "../model/read-stream.ts";
import { noCharge } from "../spending/charge.ts";
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

/**
 * Ids of the calls before: of the whole context and not of the run alone, because the model reads it as a whole.
 * Undefined when the context, as a run that goes on elsewhere gets it, begins after the user's message: earlier calls
 * of the run are not in it.
 */
function takenIds({ messages }: Turn): string[] | undefined {
  if (messages.every(({ role }) => role !== "user")) return undefined;
  return messages.flatMap((message) => message.toolCalls.map((call) => call.id));
}

/**
 * Asks the model. It answers, which ends the turn, or asks for tools, which are committed as intents before anything
 * runs.
 */
export async function think(deps: GraphDeps, turn: Turn): Promise<Step> {
  const { agent, state } = turn;
  if (state.iteration >= deps.maxIterations) {
    throw fail(ErrorReason.ITERATION_LIMIT, `The model asked for tools ${deps.maxIterations} times without an answer.`);
  }
  // Here and not only where turns begin: an agent may bring a model of its own, and the key may have been narrowed
  // while the run waited.
  if (!allows(turn.identity.allowedModels, state.model)) {
    throw fail(ErrorReason.MODEL_NOT_ALLOWED, `This token may not use the model ${JSON.stringify(state.model)}.`, {
      param: "model",
    });
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
  const metered = await deps.meter.open({
    identity: turn.identity,
    options: await turn.options(),
    signal: turn.signal,
    model: state.model,
    body: Buffer.from(JSON.stringify(body)),
    streamed: true,
  });
  const answer = emptyAnswer();
  const { output } = metered;
  let charge = noCharge;
  try {
    const pieces = await deps.model.stream(metered.body, metered.signal, metered.witness);
    await readStream(pieces, (delta) => turn.log.emit({ type: "content", delta }), { output, answer, pay: () => metered.pay() });
    charge = metered.end(answer.usage, true);
  } catch (error) {
    charge = metered.end(answer.usage, false);
    throw error;
  } finally {
    // However the call ended: what it used is the run's.
    turn.costUsd += deps.meter.costUsd(state.model, charge);
    turn.usage = addUsage(turn.usage, charge);
    turn.totalUsage = addUsage(turn.totalUsage, charge);
  }
  const toolCalls = distinctCalls(answer.toolCalls, takenIds(turn));

  const message = create(MessageSchema, {
    id: uuidv7(),
    conversationId: turn.conversationId,
    role: "assistant",
    content: answer.content,
    toolCalls,
    model: answer.model || state.model,
    promptTokens: charge.prompt_tokens,
    completionTokens: charge.completion_tokens,
    latencyMs: Math.round(performance.now() - started),
  });
  turn.messages.push(message);
  turn.uncommitted.push(message);
  if (toolCalls.length === 0) return { end: message, finishReason: answer.finishReason };
  for (const call of toolCalls) turn.log.emit({ type: "tool_call", call });
  return { next: "act", commit: "intent", patch: { messageId: message.id, iteration: state.iteration + 1 } };
}
