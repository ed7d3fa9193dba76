import { create } from "@bufbuild/protobuf";
import { type Message, MessageSchema } from "@turnwright/contract/conversation/v1/conversation";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { allows } from "@turnwright/platform/identity/identity";
import { uuidv7 } from "@turnwright/platform/uuid";
import { AnswerReader } from "../model/edge/answer-reader.ts";
import { distinctCalls } from "../model/edge/call-ids.ts";
import { addUsage } from "../model/edge/chunk.ts";
import type { OutputCount } from "../model/edge/output-count.ts";
import type { EndedCall } from "../model-calls/model-calls.ts";
import { noCharge } from "../spending/charge.ts";
import type { DrivenRun, GraphDeps, Step } from "./driven-run.ts";

/** A stored message in the format of the model's request. */
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
 * Ids of all earlier calls in the context, not of this run alone, because the model reads the context as a whole.
 * Undefined when the context begins after the user's message, as in a run that another worker took over: earlier calls
 * of the run are then missing from it.
 */
function takenIds({ messages }: DrivenRun): string[] | undefined {
  if (messages.every(({ role }) => role !== "user")) return undefined;
  return messages.flatMap((message) => message.toolCalls.map((call) => call.id));
}

/** Calls the model. Its answer ends the run; its tool calls are committed as intents before any of them is executed. */
export async function think(deps: GraphDeps, run: DrivenRun): Promise<Step> {
  const { agent, state } = run;
  if (state.iteration >= deps.maxIterations) {
    throw fail(ErrorReason.ITERATION_LIMIT, `The model called tools ${deps.maxIterations} times without an answer.`);
  }
  // Checked here as well as at the start of the run: the agent may name a model of its own, and the key's policy may
  // have been narrowed while the run waited.
  if (!allows(run.identity.allowedModels, state.model)) {
    throw fail(ErrorReason.MODEL_NOT_ALLOWED, `This token may not use the model ${JSON.stringify(state.model)}.`, {
      param: "model",
    });
  }
  const toolsJson = await deps.catalogue.definitionsJson(run.identity, { ...(await run.options()), unattended: false });
  const body = {
    model: state.model,
    messages: [{ role: "system", content: agent.prompt }, ...run.messages.map(modelMessage)],
    temperature: agent.temperature,
    max_tokens: agent.maxTokens,
    stream: true,
    stream_options: { include_usage: true },
    ...(toolsJson === undefined ? {} : { tools: JSON.parse(toolsJson) }),
  };
  const started = performance.now();
  let reader = new AnswerReader();
  let charge = noCharge;
  const call = {
    identity: run.identity,
    options: await run.options(),
    signal: run.signal,
    model: state.model,
    body: Buffer.from(JSON.stringify(body)),
  };
  const makeSink = (output: OutputCount) => {
    reader = new AnswerReader(output);
    return reader;
  };
  // A call that failed is charged to the run as well.
  const onEnd = (ended: EndedCall) => {
    ({ charge } = ended);
    run.costUsd += ended.costUsd;
    run.usage = addUsage(run.usage, charge);
    run.totalUsage = addUsage(run.totalUsage, charge);
  };
  for await (const deltas of deps.modelCalls.stream(call, makeSink, onEnd)) {
    for (const delta of deltas) run.log.emit(delta);
  }
  const { answer } = reader;
  const toolCalls = answer.toolCalls.length === 0 ? [] : distinctCalls(answer.toolCalls, takenIds(run));

  const message = create(MessageSchema, {
    id: uuidv7(),
    conversationId: run.conversationId,
    role: "assistant",
    content: answer.content,
    toolCalls,
    model: answer.model || state.model,
    promptTokens: charge.prompt_tokens,
    completionTokens: charge.completion_tokens,
    latencyMs: Math.round(performance.now() - started),
  });
  run.messages.push(message);
  run.uncommitted.push(message);
  if (toolCalls.length === 0) return { end: message, finishReason: answer.finishReason };
  for (const call of toolCalls) run.log.emit({ type: "tool_call", call });
  return { next: "act", commit: "intent", patch: { messageId: message.id, iteration: state.iteration + 1 } };
}
