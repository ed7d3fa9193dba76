import { ErrorReason, fail } from "@turnwright/platform/errors";
import {
  addUsage,
  type CompletionChunk,
  type ModelToolCall,
  type ModelUsage,
  noUsage,
  parseChunk,
  ToolCallAssembler,
} from "./chunk.ts";
import { FrameSplitter, frameData } from "./frame-splitter.ts";
import type { OutputCount } from "./output-count.ts";

/** The result of a streamed completion. */
export interface ModelAnswer {
  content: string;
  toolCalls: ModelToolCall[];
  /** `stop`, `length`, `tool_calls` or `content_filter`. */
  finishReason: string;
  usage: ModelUsage;
  /** The model that answered, as it names itself; empty when it does not. */
  model: string;
}

/** A metered reading. */
export interface PaidReading {
  readonly output: OutputCount;
  /** Called before a counted piece is passed on; see `MeteredCall.pay`. */
  pay(): Promise<void> | undefined;
  /** Filled while the answer arrives, so that an unfinished answer is known too. */
  readonly answer?: ModelAnswer;
}

/** The answer before anything was read. */
export function emptyAnswer(): ModelAnswer {
  return { content: "", toolCalls: [], finishReason: "", usage: noUsage, model: "" };
}

/**
 * Reads a streamed completion to its end; `onDelta` gets each piece of text as it arrives. Throws MODEL_FAILED when the
 * stream ends without a finish reason, so that a cut answer never passes for a whole one, or with a tool call that has
 * no name.
 */
export async function readStream(
  pieces: AsyncIterable<Buffer>,
  onDelta: (text: string) => void,
  paid?: PaidReading,
): Promise<ModelAnswer> {
  const splitter = new FrameSplitter();
  const assembler = new ToolCallAssembler();
  const answer = paid?.answer ?? emptyAnswer();
  const read = (frame: string): CompletionChunk[] => {
    const data = frameData(frame);
    if (data === undefined || data === "[DONE]" || data === "") return [];
    const chunk = parseChunk(data);
    paid?.output.choices(chunk.choices);
    return [chunk];
  };
  const take = (chunk: CompletionChunk) => {
    if (chunk.model) answer.model = chunk.model;
    // Some endpoints report usage on every chunk: the last report holds.
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
  for await (const piece of pieces) {
    const chunks: CompletionChunk[] = [];
    let failure: unknown;
    try {
      for (const frame of splitter.push(piece)) chunks.push(...read(frame));
    } catch (error) {
      // Thrown after the chunks before it were passed on.
      failure = error;
    }
    const paying = paid?.pay();
    if (paying !== undefined) await paying;
    for (const chunk of chunks) take(chunk);
    if (failure !== undefined) throw failure;
  }
  const last = splitter.end();
  if (last !== undefined) for (const chunk of read(last)) take(chunk);
  if (answer.finishReason === "") throw fail(ErrorReason.MODEL_FAILED, "The model's stream ended before its answer did.");
  answer.toolCalls = assembler.calls;
  if (answer.toolCalls.some((call) => call.function.name === ""))
    throw fail(ErrorReason.MODEL_FAILED, "The model called a tool without naming it.");
  return answer;
}
