import { ErrorReason, fail } from "@turnwright/platform/errors";
import { addUsage, type ModelToolCall, type ModelUsage, noUsage, parseChunk, ToolCallAssembler } from "./chunk.ts";
import { FrameSplitter, frameData } from "./frame-splitter.ts";
import type { OutputCount } from "./output-count.ts";

/** A piece of text of an answer. */
export interface AnswerDelta {
  readonly type: "content" | "reasoning";
  readonly delta: string;
}

/** A model's answer. */
export interface ModelAnswer {
  readonly content: string;
  /** The model's reasoning; empty when the endpoint gives none. */
  readonly reasoning: string;
  readonly toolCalls: readonly ModelToolCall[];
  /** `stop`, `length`, `tool_calls` or `content_filter`. */
  readonly finishReason: string;
  /** The model that answered, as it names itself; empty when it does not. */
  readonly model: string;
  /** Fields that the endpoint wants back with this message, as JSON text; empty: none. */
  readonly providerFields: string;
}

/**
 * Reads a streamed completion into an answer. Its end throws MODEL_FAILED when the stream ends without a finish reason,
 * so that a cut answer never passes for a whole one, or with a tool call that has no name.
 */
export class AnswerReader {
  /** The endpoint's counts so far. */
  usage: ModelUsage | undefined;
  readonly #splitter = new FrameSplitter();
  readonly #assembler = new ToolCallAssembler();
  readonly #output: OutputCount | undefined;
  #content = "";
  #finishReason = "";
  #model = "";

  constructor(output?: OutputCount) {
    this.#output = output;
  }

  /** The deltas of a piece. */
  push(piece: Buffer): { out?: AnswerDelta[]; failure?: unknown } {
    const out: AnswerDelta[] = [];
    try {
      for (const frame of this.#splitter.push(piece)) this.#take(frame, out);
    } catch (failure) {
      return { out, failure };
    }
    return { out };
  }

  /** The deltas of the rest. */
  end(): AnswerDelta[] | undefined {
    const out: AnswerDelta[] = [];
    const last = this.#splitter.end();
    if (last !== undefined) this.#take(last, out);
    if (this.#finishReason === "") throw fail(ErrorReason.MODEL_FAILED, "The model's stream ended before its answer did.");
    if (this.#assembler.calls.some((call) => call.function.name === ""))
      throw fail(ErrorReason.MODEL_FAILED, "The model called a tool without naming it.");
    return out;
  }

  /** The answer; whole after `end`. */
  get answer(): ModelAnswer {
    return {
      content: this.#content,
      reasoning: "",
      toolCalls: this.#assembler.calls,
      finishReason: this.#finishReason,
      model: this.#model,
      providerFields: "",
    };
  }

  #take(frame: string, out: AnswerDelta[]): void {
    const data = frameData(frame);
    if (data === undefined || data === "[DONE]" || data === "") return;
    const chunk = parseChunk(data);
    this.#output?.choices(chunk.choices);
    if (chunk.model) this.#model = chunk.model;
    // Some endpoints report usage on every chunk: the last report holds.
    if (chunk.usage) this.usage = addUsage(noUsage, chunk.usage);
    const choice = chunk.choices?.[0];
    if (choice === undefined) return;
    const content = choice.delta?.content;
    if (content) {
      this.#content += content;
      out.push({ type: "content", delta: content });
    }
    if (choice.delta?.tool_calls) this.#assembler.add(choice.delta.tool_calls);
    if (choice.finish_reason) this.#finishReason = choice.finish_reason;
  }
}
