import { StreamFormat } from "@turnwright/contract/agent/v1/completion_service";
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
import { ContentFrames, frameStart } from "./content-frame.ts";
import { decoded, encoded, FrameSplitter, frameData } from "./frame-splitter.ts";
import { OutputCount } from "./output-count.ts";

const contentStart = 'data: {"type":"content","delta":';

/** A tap's options. */
export interface TapOptions {
  readonly format: StreamFormat;
  /** Tool calls are the client's and pass through; otherwise they are the server's and are only collected. */
  readonly passToolCalls: boolean;
  /** The id of the stream's first model call, for the later ones. */
  readonly id?: string;
  /** Counts the model's output. */
  readonly output?: OutputCount;
}

/**
 * Transforms one streamed model call: takes its pieces as they arrive and returns the client's bytes, whole frames in
 * one buffer. Frames of content are spliced, not parsed; tool calls, finish reasons and usage are read and collected.
 */
export class StreamTap {
  /** Usage so far. */
  usage: ModelUsage = noUsage;
  /** The finish reason; empty until the model has stopped. */
  finishReason = "";
  /** Id, model and time of the last chunk, for chunks of our own. */
  envelope: Pick<CompletionChunk, "id" | "created" | "model"> = {};
  readonly #splitter = new FrameSplitter();
  readonly #contents = new ContentFrames();
  readonly #assembler = new ToolCallAssembler();
  readonly #options: TapOptions;
  readonly #output: OutputCount;
  /** JSON strings of the content, kept when a further model call needs it. */
  readonly #literals: string[] = [];

  constructor(options: TapOptions) {
    this.#options = options;
    this.#output = options.output ?? new OutputCount();
  }

  /** The model's tool calls. */
  get toolCalls(): ModelToolCall[] {
    return this.#assembler.calls;
  }

  /** The model's content before its calls of the server's tools. */
  get text(): string {
    return this.#literals.map((literal) => JSON.parse(decoded(literal)) as string).join("");
  }

  /** The client's bytes for a piece, up to a failure in it; no bytes: undefined. */
  push(piece: Buffer): { out?: Buffer; failure?: unknown } {
    let output = "";
    let failure: unknown;
    try {
      for (const frame of this.#splitter.push(piece)) output += this.#take(frame);
    } catch (error) {
      failure = error;
    }
    return { out: output === "" ? undefined : Buffer.from(output, "latin1"), failure };
  }

  /** The client's bytes at the end of the model's stream. Throws MODEL_FAILED when the stream ended too early. */
  end(): Buffer | undefined {
    const last = this.#splitter.end();
    const output = last === undefined ? "" : this.#take(last);
    if (this.finishReason === "") throw fail(ErrorReason.MODEL_FAILED, "The model's stream ended before its answer did.");
    return output === "" ? undefined : Buffer.from(output, "latin1");
  }

  /** Whether the model called the server's tools. */
  get wantsServerTools(): boolean {
    return !this.#options.passToolCalls && !this.#assembler.isEmpty;
  }

  #take(frame: string): string {
    if (this.#options.id === undefined) {
      const literal = this.#contents.literal(frame);
      if (literal !== undefined) {
        this.#output.text(literal.length - 2);
        if (!this.#options.passToolCalls) this.#literals.push(literal);
        return this.#spliceContent(frame, literal);
      }
    }
    const data = frameData(frame);
    if (data === undefined || data === "" || data === "[DONE]") return "";
    const chunk = parseChunk(data);
    this.#output.choices(chunk.choices);
    if (this.#options.id !== undefined) chunk.id = this.#options.id;
    this.envelope = {
      id: chunk.id ?? this.envelope.id,
      created: chunk.created ?? this.envelope.created,
      model: chunk.model ?? this.envelope.model,
    };
    return this.#read(frame, chunk);
  }

  #spliceContent(frame: string, literal: string): string {
    switch (this.#options.format) {
      case StreamFormat.OPENAI:
        return `${frame}\n\n`;
      case StreamFormat.SEED:
        return `${contentStart}${literal}}\n\n`;
      default:
        return `${contentStart}${literal},${frame.slice(frameStart.length)}\n\n`;
    }
  }

  #read(frame: string, chunk: CompletionChunk): string {
    // Some endpoints report usage on every chunk: the last report holds.
    if (chunk.usage) this.usage = addUsage(noUsage, chunk.usage);
    const choice = chunk.choices?.[0];
    if (choice === undefined) return "";
    const { format, passToolCalls, id } = this.#options;
    const { delta } = choice;
    const changed = id !== undefined || Boolean(chunk.usage);
    // Usage is sent in a chunk of its own, and only to clients that asked for it.
    chunk.usage = undefined;
    // Only calls of the first answer are collected; those of further answers pass unchanged.
    if (delta?.tool_calls && !choice.index) this.#assembler.add(delta.tool_calls);
    for (const { finish_reason } of chunk.choices ?? []) if (finish_reason) this.finishReason = finish_reason;
    if (this.wantsServerTools) {
      if (!delta?.content) return "";
      delta.tool_calls = undefined;
      choice.finish_reason = null;
    }
    if (delta?.content && !passToolCalls) this.#literals.push(encoded(JSON.stringify(delta.content)));
    if (format === StreamFormat.OPENAI && !changed && !this.wantsServerTools) return `${frame}\n\n`;
    if (choice.finish_reason) return this.#finish(chunk, choice.finish_reason);
    if (delta?.content) return this.#frame({ type: "content", delta: delta.content }, chunk);
    return format === StreamFormat.SEED ? "" : event(chunk);
  }

  #finish(chunk: CompletionChunk, reason: string): string {
    const { format } = this.#options;
    const choice = chunk.choices?.[0];
    const content = choice?.delta?.content;
    let output = "";
    if (choice?.delta && content && format !== StreamFormat.OPENAI) {
      // A client that reads the seed's fields gets the text first and the reason after it.
      const text = { ...chunk, choices: [{ ...choice, delta: { ...choice.delta, tool_calls: undefined }, finish_reason: null }] };
      output += this.#frame({ type: "content", delta: content }, text);
      choice.delta.content = undefined;
    }
    if (!choice?.index) output += this.toolCalls.map((call) => this.#toolCallFrame(call)).join("");
    // The seed's finish frame carries the usage, which arrives later: it is written at the end of the completion.
    return format === StreamFormat.SEED ? output : output + this.#frame({ type: "finish", delta: reason }, chunk);
  }

  #frame(seed: { type: string; delta: string }, chunk: CompletionChunk): string {
    const { format } = this.#options;
    return event(format === StreamFormat.OPENAI ? chunk : format === StreamFormat.SEED ? seed : { ...seed, ...chunk });
  }

  #toolCallFrame(call: ModelToolCall): string {
    const seed = { type: "tool_call", tool_call: call };
    switch (this.#options.format) {
      case StreamFormat.OPENAI:
        return "";
      case StreamFormat.SEED:
        return event(seed);
      default:
        return event({ ...seed, ...this.envelope, object: "chat.completion.chunk", choices: [] });
    }
  }

  /** The frames with whole tool calls, in the formats that have such frames. */
  announce(calls: readonly ModelToolCall[]): Buffer {
    return Buffer.from(calls.map((call) => this.#toolCallFrame(call)).join(""), "latin1");
  }
}

/** A frame as a binary string. */
function event(value: object): string {
  return encoded(`data: ${JSON.stringify(value)}\n\n`);
}
