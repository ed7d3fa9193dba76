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
import { FrameSplitter, frameData } from "./frame-splitter.ts";

const frameStart = Buffer.from("data: {");
const deltaKey = Buffer.from('"delta":{');
const contentKey = Buffer.from('"content":"');
const toolCallsKey = Buffer.from('"tool_calls"');
const unfinished = Buffer.from('"finish_reason":null');
const finishKey = Buffer.from('"finish_reason"');
const usageObject = Buffer.from('"usage":{');
const errorKey = Buffer.from('"error"');
const mixedStart = Buffer.from('data: {"type":"content","delta":');
const seedEnd = Buffer.from("}\n\n");
const comma = Buffer.from(",");
const blankLine = Buffer.from("\n\n");

const lineFeed = 0x0a;
const quote = 0x22;
const openingBrace = 0x7b;
const closingBrace = 0x7d;
const backslash = 0x5c;

/** The index after the string literal that begins at `from`; -1 when it does not end. */
function literalEnd(frame: Buffer, from: number): number {
  let at = frame.indexOf(quote, from + 1);
  while (at > 0) {
    let slashes = 0;
    while (frame[at - 1 - slashes] === backslash) slashes++;
    if (slashes % 2 === 0) return at + 1;
    at = frame.indexOf(quote, at + 1);
  }
  return -1;
}

/** Where a delta's text begins; -1 when the text is not the delta's own, or something stands before it that must be parsed. */
function contentStart(frame: Buffer): number {
  const delta = frame.indexOf(deltaKey);
  if (delta < 0) return -1;
  const content = frame.indexOf(contentKey, delta);
  if (content < 0) return -1;
  for (let at = delta + deltaKey.length; at < content; at++) {
    if (frame[at] === openingBrace || frame[at] === closingBrace) return -1;
  }
  return content + contentKey.length - 1;
}

/**
 * The string literal of the text that a frame adds, when the frame is the common one: text and nothing else. Keys are searched as
 * bytes: a quote inside of a JSON string is escaped, so the pattern cannot stand inside of one.
 */
function contentLiteral(frame: Buffer): { from: number; to: number } | undefined {
  if (frame.length < frameStart.length || frame.compare(frameStart, 0, frameStart.length, 0, frameStart.length) !== 0)
    return undefined;
  const from = contentStart(frame);
  if (from < 0) return undefined;
  const to = literalEnd(frame, from);
  if (to < 0 || to === from + 2) return undefined;
  if (frame.indexOf(unfinished) < 0 && frame.indexOf(finishKey) >= 0) return undefined;
  if (frame.indexOf(toolCallsKey) >= 0 || frame.indexOf(usageObject) >= 0 || frame.indexOf(errorKey) >= 0) return undefined;
  // More than one answer in a frame.
  if (frame.indexOf(deltaKey, to) >= 0 || frame.indexOf(lineFeed) >= 0) return undefined;
  return { from, to };
}

/** What a tap is told of its completion. */
export interface TapOptions {
  readonly format: StreamFormat;
  /** The calls are the client's own and pass; otherwise they are the server's and are only collected. */
  readonly passToolCalls: boolean;
  /** The id that the stream began with, for model calls after the first. */
  readonly id?: string;
}

/**
 * Stands in one streamed model call: takes pieces as they come off the wire and gives what the client gets, whole frames in one
 * buffer. Frames of text are spliced, not parsed; tool calls, finish and usage are read and collected.
 */
export class StreamTap {
  /** Usage so far. */
  usage: ModelUsage = noUsage;
  /** Why the model stopped; empty until it did. */
  finishReason = "";
  /** The last chunk without its choices: id, model and time for chunks of our own. */
  envelope: Pick<CompletionChunk, "id" | "created" | "model"> = {};
  readonly #splitter = new FrameSplitter();
  readonly #assembler = new ToolCallAssembler();
  readonly #options: TapOptions;
  /** JSON strings of the text, kept where the next model call must know it. */
  readonly #literals: Buffer[] = [];

  constructor(options: TapOptions) {
    this.#options = options;
  }

  /** The tool calls that the model asked for. */
  get toolCalls(): ModelToolCall[] {
    return this.#assembler.calls;
  }

  /** What the model said before it asked for the server's tools. */
  get text(): string {
    return this.#literals.map((literal) => JSON.parse(literal.toString("utf8")) as string).join("");
  }

  /** What the client gets of a piece; undefined when nothing. */
  push(piece: Buffer): Buffer | undefined {
    const parts: Buffer[] = [];
    for (const frame of this.#splitter.push(piece)) this.#take(frame, parts);
    return parts.length === 0 ? undefined : Buffer.concat(parts);
  }

  /** What the client gets when the model's stream has ended. Throws MODEL_FAILED when it ended too early. */
  end(): Buffer | undefined {
    const parts: Buffer[] = [];
    const last = this.#splitter.end();
    if (last !== undefined) this.#take(last, parts);
    if (this.finishReason === "") throw fail(ErrorReason.MODEL_FAILED, "The model's stream ended before its answer did.");
    return parts.length === 0 ? undefined : Buffer.concat(parts);
  }

  /** Whether the model stopped for calls that are the server's to make. */
  get wantsServerTools(): boolean {
    return !this.#options.passToolCalls && !this.#assembler.isEmpty;
  }

  #take(frame: Buffer, parts: Buffer[]): void {
    if (this.#options.id === undefined) {
      const literal = contentLiteral(frame);
      if (literal !== undefined) {
        if (!this.#options.passToolCalls) this.#literals.push(frame.subarray(literal.from, literal.to));
        this.#spliceContent(frame, literal, parts);
        return;
      }
    }
    const data = frameData(frame);
    if (data === undefined || data === "" || data === "[DONE]") return;
    const chunk = parseChunk(data);
    if (this.#options.id !== undefined) chunk.id = this.#options.id;
    this.envelope = {
      id: chunk.id ?? this.envelope.id,
      created: chunk.created ?? this.envelope.created,
      model: chunk.model ?? this.envelope.model,
    };
    this.#read(frame, chunk, parts);
  }

  #spliceContent(frame: Buffer, { from, to }: { from: number; to: number }, parts: Buffer[]): void {
    switch (this.#options.format) {
      case StreamFormat.OPENAI:
        parts.push(frame, blankLine);
        break;
      case StreamFormat.SEED:
        parts.push(mixedStart, frame.subarray(from, to), seedEnd);
        break;
      default:
        parts.push(mixedStart, frame.subarray(from, to), comma, frame.subarray(frameStart.length), blankLine);
    }
  }

  #read(frame: Buffer, chunk: CompletionChunk, parts: Buffer[]): void {
    // Some endpoints count along on every chunk: the last count holds.
    if (chunk.usage) this.usage = addUsage(noUsage, chunk.usage);
    const choice = chunk.choices?.[0];
    if (choice === undefined) return;
    const { delta } = choice;
    const changed = this.#options.id !== undefined || Boolean(chunk.usage);
    // Usage goes out on a chunk of its own, and only to who asked.
    chunk.usage = undefined;
    // The calls of a first answer only: those of further ones pass as they are.
    if (delta?.tool_calls && !choice.index) this.#assembler.add(delta.tool_calls);
    if (choice.finish_reason) this.finishReason = choice.finish_reason;
    if (this.wantsServerTools) {
      if (!delta?.content) return;
      delta.tool_calls = undefined;
      choice.finish_reason = null;
    }
    if (delta?.content && !this.#options.passToolCalls) this.#literals.push(Buffer.from(JSON.stringify(delta.content)));
    if (this.#options.format === StreamFormat.OPENAI && !changed && !this.wantsServerTools) parts.push(frame, blankLine);
    else if (choice.finish_reason) this.#finish(chunk, choice.finish_reason, parts);
    else if (delta?.content) this.#emit({ type: "content", delta: delta.content }, chunk, parts);
    else if (this.#options.format !== StreamFormat.SEED) parts.push(Buffer.from(`data: ${JSON.stringify(chunk)}\n\n`));
  }

  #finish(chunk: CompletionChunk, reason: string, parts: Buffer[]): void {
    const { format } = this.#options;
    const choice = chunk.choices?.[0];
    const content = choice?.delta?.content;
    if (choice?.delta && content && format !== StreamFormat.OPENAI) {
      // A reader of the seed's fields gets the text and the reason one after the other.
      const text = { ...chunk, choices: [{ ...choice, delta: { ...choice.delta, tool_calls: undefined }, finish_reason: null }] };
      this.#emit({ type: "content", delta: content }, text, parts);
      choice.delta.content = undefined;
    }
    if (!choice?.index) for (const call of this.toolCalls) parts.push(...this.toolCallFrame(call));
    // The seed's finish frame carries the usage, which comes later: it is written at the end of the completion.
    if (format !== StreamFormat.SEED) this.#emit({ type: "finish", delta: reason }, chunk, parts);
  }

  #emit(seed: { type: string; delta: string }, chunk: CompletionChunk, parts: Buffer[]): void {
    const { format } = this.#options;
    const value = format === StreamFormat.OPENAI ? chunk : format === StreamFormat.SEED ? seed : { ...seed, ...chunk };
    parts.push(Buffer.from(`data: ${JSON.stringify(value)}\n\n`));
  }

  /** The frame that names a whole tool call, in formats that have one. */
  toolCallFrame(call: ModelToolCall): Buffer[] {
    const seed = { type: "tool_call", tool_call: call };
    switch (this.#options.format) {
      case StreamFormat.OPENAI:
        return [];
      case StreamFormat.SEED:
        return [Buffer.from(`data: ${JSON.stringify(seed)}\n\n`)];
      default:
        return [
          Buffer.from(`data: ${JSON.stringify({ ...seed, ...this.envelope, object: "chat.completion.chunk", choices: [] })}\n\n`),
        ];
    }
  }
}
