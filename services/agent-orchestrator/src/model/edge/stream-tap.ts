import { StreamFormat } from "@turnwright/contract/agent/v1/completion_service";
import { asModelFailure } from "./answer-error.ts";
import type { CheckedChoice, CheckedChunk } from "./checked-chunk.ts";
import type { ModelToolCall, ModelUsage } from "./chunk.ts";
import { ChunkReader } from "./chunk-reader.ts";
import { ContentFrames, frameStart } from "./content-frame.ts";
import { ExtraFields } from "./extra-fields.ts";
import { answerTooLarge, decoded, encoded } from "./frame-splitter.ts";
import { OutputCount } from "./output-count.ts";
import { messageFields } from "./provider-fields.ts";
import { TapChoice } from "./tap-choice.ts";
import { type TapEnvelope, TapFrames } from "./tap-frames.ts";

const contentStart = 'data: {"type":"content","delta":';

/** A tap's options. */
export interface TapOptions {
  readonly format: StreamFormat;
  /** Tool calls are the client's and pass through; otherwise they are the server's and are only collected. */
  readonly passToolCalls: boolean;
  /** The id of the stream's first model call, for the later ones. */
  readonly id?: string;
  /** The client has the role already, from an earlier model call. */
  readonly hasRole?: boolean;
  /** Counts the model's output. */
  readonly output?: OutputCount;
}

/**
 * Transforms one streamed model call: takes its pieces as they arrive and returns the client's bytes, whole frames in
 * one buffer. Frames of content are spliced, not parsed; everything else is read, collected and, where it is not in
 * OpenAI's format, written again. Finish reasons follow at the end, when the calls are known.
 */
export class StreamTap {
  /** Usage so far; undefined until the endpoint tells one. */
  usage: ModelUsage | undefined;
  /** Of the last chunk. */
  envelope: TapEnvelope = {};
  readonly #chunks: ChunkReader;
  readonly #contents = new ContentFrames();
  readonly #options: TapOptions;
  readonly #output: OutputCount;
  readonly #frames: TapFrames;
  /** By index, in the order of their beginning; the first one is the answer where there is one answer. */
  readonly #choices = new Map<number, TapChoice>();
  readonly #fields = new ExtraFields(messageFields);
  /** JSON strings of the content, kept when a further model call needs it. */
  readonly #literals: string[] = [];

  constructor(options: TapOptions) {
    this.#options = options;
    this.#output = options.output ?? new OutputCount();
    this.#chunks = new ChunkReader(this.#output.maxBytes);
    this.#frames = new TapFrames(options.format, options.id);
  }

  /** The model's tool calls; none when the answer was cut. */
  get toolCalls(): ModelToolCall[] {
    return this.#first?.calls ?? [];
  }

  /** Fields of the message and of its calls, in the order of `toolCalls`, that the endpoint wants back. */
  get extraFields(): { message: Record<string, unknown>; calls: readonly (Record<string, unknown> | undefined)[] } {
    return { message: this.#fields.value ?? {}, calls: this.#first?.callFields ?? [] };
  }

  /** The model's content before its calls of the server's tools. */
  get text(): string {
    return this.#literals.map((literal) => JSON.parse(decoded(literal)) as string).join("");
  }

  /** The finish reason as the client gets it; empty until the model has stopped. */
  get finishReason(): string {
    return this.#first?.reason(this.#options.passToolCalls) ?? "";
  }

  /** Whether the client has got the role. */
  get hasRole(): boolean {
    return this.#options.hasRole === true || this.#first?.hasRole === true;
  }

  /** Whether the model called the server's tools. */
  get wantsServerTools(): boolean {
    return !this.#options.passToolCalls && this.toolCalls.length > 0;
  }

  /** The client's bytes for a piece, up to a failure in it; no bytes: undefined. */
  push(piece: Buffer): { out?: Buffer; failure?: unknown; isDone?: boolean } {
    let output = "";
    let failure: unknown;
    try {
      for (const frame of this.#chunks.push(piece)) {
        if (this.#chunks.isDone) break;
        const taken = this.#take(frame);
        output += taken.output;
        if (taken.failure !== undefined) throw taken.failure;
      }
      if (this.#chunks.failure !== undefined) throw this.#chunks.failure;
      if (this.#output.bytes > this.#output.maxBytes) throw answerTooLarge(this.#output.maxBytes);
    } catch (error) {
      failure = asModelFailure(error);
    }
    return { out: bytesOf(output), failure, isDone: this.#chunks.isDone };
  }

  /** The client's bytes of the rest. `failure`: MODEL_FAILED, when the stream has ended before its answer. */
  end(): { out?: Buffer; failure?: unknown } {
    let output = "";
    for (const frame of this.#chunks.end()) {
      if (this.#chunks.isDone) break;
      const taken = this.#take(frame);
      output += taken.output;
      if (taken.failure !== undefined) return { out: bytesOf(output), failure: taken.failure };
    }
    const choices = [...this.#choices.values()];
    const isComplete =
      choices.some((choice) => choice.finish !== undefined) ||
      (this.#chunks.isDone && choices.some(({ hasOutput }) => hasOutput));
    if (!isComplete && !this.#first?.hasWholeCalls) return { out: bytesOf(output), failure: this.#chunks.cutOff() };
    if (!this.wantsServerTools) output += this.#finish();
    return { out: bytesOf(output) };
  }

  /** The frames with whole tool calls, in the formats that have such frames. */
  announce(calls: readonly ModelToolCall[]): Buffer {
    return Buffer.from(calls.map((call) => this.#frames.toolCall(call, this.envelope)).join(""), "latin1");
  }

  get #first(): TapChoice | undefined {
    for (const choice of this.#choices.values()) return choice;
    return undefined;
  }

  #take(frame: string): { output: string; failure?: unknown } {
    const literal = this.#options.id === undefined ? this.#contents.literal(frame) : undefined;
    if (literal !== undefined && this.#passes()) {
      this.#chunks.hasDelta = true;
      this.#output.text(literal.length - 2);
      if (!this.#options.passToolCalls) this.#literals.push(literal);
      return { output: this.#spliceContent(frame, literal) };
    }
    const { chunk, failure } = this.#chunks.read(frame);
    if (chunk === undefined) return { output: "", failure };
    this.#output.choices(chunk.fields.choices);
    this.envelope = {
      id: this.#options.id ?? (chunk.id || this.envelope.id),
      created: chunk.created ?? this.envelope.created,
      model: chunk.model || this.envelope.model,
    };
    // Some endpoints report usage on every chunk: the last report holds.
    this.usage = chunk.usage ?? this.usage;
    return { output: this.#read(frame, chunk), failure };
  }

  /** Whether a frame of content alone is the client's as it is: the role is told once, in the first chunk. */
  #passes(): boolean {
    const { index, hasRole } = this.#contents;
    const choice = hasRole ? undefined : this.#choices.get(index);
    if (choice?.hasRole !== true) return false;
    choice.hasOutput = true;
    return true;
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

  #read(frame: string, chunk: CheckedChunk): string {
    const { passToolCalls } = this.#options;
    const whole = isDataLine(frame) && chunk.isPlain && !chunk.fields.usage ? frame : undefined;
    const read = chunk.choices.map((choice) => this.#choiceOf(choice).read(chunk, choice, whole, passToolCalls));
    const said = read.filter(({ isSaid }) => isSaid);
    if (said.length === 0) return "";
    return this.#frames.said(chunk, said, read.every(({ isPlain }) => isPlain) ? whole : undefined);
  }

  #choiceOf(choice: CheckedChoice): TapChoice {
    let known = this.#choices.get(choice.index);
    if (known === undefined) {
      known = new TapChoice(choice.index, this.#options.hasRole === true);
      this.#choices.set(choice.index, known);
    }
    if (!this.#options.passToolCalls && known === this.#first) {
      this.#fields.add(choice.message);
      if (choice.text !== "") this.#literals.push(encoded(JSON.stringify(choice.text)));
    }
    return known;
  }

  /** The calls in the formats that have such frames, and the finish reasons. */
  #finish(): string {
    const { passToolCalls } = this.#options;
    const calls = passToolCalls ? this.toolCalls.map((call) => this.#frames.toolCall(call, this.envelope)) : [];
    // Of several answers, one whose end nothing tells has none.
    const ended = [...this.#choices.values()].filter(
      ({ finish, hasWholeCalls }) => finish !== undefined || hasWholeCalls || this.#chunks.isDone,
    );
    const finishes = ended.map((choice) => this.#frames.finish(choice, passToolCalls, this.envelope));
    return calls.join("") + finishes.join("");
  }
}

/** Whether a frame is nothing but one line of data. */
function isDataLine(frame: string): boolean {
  return frame.startsWith("data:") && !frame.includes("\n");
}

function bytesOf(output: string): Buffer | undefined {
  return output === "" ? undefined : Buffer.from(output, "latin1");
}
