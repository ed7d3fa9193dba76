import { ErrorReason, fail } from "@turnwright/platform/errors";
import { addUsage, type ModelToolCall, type ModelUsage, noUsage, parseChunk, ToolCallAssembler } from "./chunk.ts";
import { FrameSplitter, frameData } from "./frame-splitter.ts";

/** What a streamed completion said in the end. */
export interface ModelAnswer {
  content: string;
  toolCalls: ModelToolCall[];
  /** `stop`, `length`, `tool_calls` or `content_filter`. */
  finishReason: string;
  usage: ModelUsage;
  /** The model that answered, as it names itself; empty when it does not. */
  model: string;
}

/**
 * Reads a streamed completion to its end; each piece of text goes to `onDelta` as it comes. Throws MODEL_FAILED when the stream ends
 * without a finish reason (a cut answer never passes for a whole one) or with a tool call that has no name.
 */
export async function readStream(pieces: AsyncIterable<Buffer>, onDelta: (text: string) => void): Promise<ModelAnswer> {
  const splitter = new FrameSplitter();
  const assembler = new ToolCallAssembler();
  const answer: ModelAnswer = { content: "", toolCalls: [], finishReason: "", usage: noUsage, model: "" };
  const take = (frame: string) => {
    const data = frameData(frame);
    if (data === undefined || data === "[DONE]" || data === "") return;
    const chunk = parseChunk(data);
    if (chunk.model) answer.model = chunk.model;
    // Some endpoints count along on every chunk: the last count holds.
    if (chunk.usage) answer.usage = addUsage(noUsage, chunk.usage);
    const choice = chunk.choices?.[0];
    if (choice === undefined) return;
    if (choice.delta?.content) {
      answer.content += choice.delta.content;
      onDelta(choice.delta.content);
    }
    if (choice.delta?.tool_calls) assembler.add(choice.delta.tool_calls);
    if (choice.finish_reason) answer.finishReason = choice.finish_reason;
  };
  for await (const piece of pieces) for (const frame of splitter.push(piece)) take(frame);
  const last = splitter.end();
  if (last !== undefined) take(last);
  if (answer.finishReason === "") throw fail(ErrorReason.MODEL_FAILED, "The model's stream ended before its answer did.");
  answer.toolCalls = assembler.calls;
  if (answer.toolCalls.some((call) => call.function.name === ""))
    throw fail(ErrorReason.MODEL_FAILED, "The model asked for a tool without naming it.");
  return answer;
}
