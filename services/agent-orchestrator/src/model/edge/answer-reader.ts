import { ErrorReason, fail } from "@turnwright/platform/errors";
import { asModelFailure } from "./answer-error.ts";
import type { CheckedChoice } from "./checked-chunk.ts";
import type { ModelToolCall, ModelUsage } from "./chunk.ts";
import { ChunkReader } from "./chunk-reader.ts";
import { CleanText } from "./clean-text.ts";
import { ContentFrames } from "./content-frame.ts";
import { ExtraFields } from "./extra-fields.ts";
import { finishReason, isCut } from "./finish-reason.ts";
import { answerTooLarge, decoded } from "./frame-splitter.ts";
import { OutputCount } from "./output-count.ts";
import { messageFields, providerFields } from "./provider-fields.ts";
import { ThinkTag } from "./think-tag.ts";
import { ToolCallAssembler } from "./tool-call-assembler.ts";

/** How an answer is read. */
interface ReaderOptions {
  /** Reasoning between `<think>` tags at the beginning is told from the answer. Unset: yes. */
  readonly readsThinkTag?: boolean;
  /** The most bytes of its content and its reasoning together, as JSON. Unset: as many as the output may have. */
  readonly maxTextBytes?: number;
}

/** A piece of text of an answer. */
export interface AnswerDelta {
  readonly type: "content" | "reasoning";
  readonly delta: string;
}

/** A model's answer. Its texts are well-formed and have no NUL; a refusal is content. */
export interface ModelAnswer {
  readonly content: string;
  /** The model's reasoning; empty when the endpoint gives none. */
  readonly reasoning: string;
  /** Calls to run or, with a `problem`, to refuse; none when the answer was cut, because they may be cut too. */
  readonly toolCalls: readonly ModelToolCall[];
  /** `stop`, `length`, `tool_calls` or `content_filter`. */
  readonly finishReason: string;
  /** The model that answered, as it names itself; empty when it does not. */
  readonly model: string;
  /**
   * Fields that the endpoint wants back with this message, as JSON text: `{"message":{…},"calls":[{…}|null,…]}`, the
   * calls as in `toolCalls`. Empty: none, or more than 262,144 characters.
   */
  readonly providerFields: string;
  /** There were too many of them. */
  readonly lostFields?: boolean;
}

/** The most bytes of a UTF-16 code unit in JSON: `\u0001`. */
const longestEscape = 6;

function textTooLarge(maxBytes: number) {
  return fail(
    ErrorReason.ANSWER_TOO_LARGE,
    `The model's answer is larger than the ${maxBytes} bytes that a conversation stores.`,
  );
}

/**
 * Reads an answer, streamed or not, of whichever form. Its end throws MODEL_FAILED when the answer has neither a finish
 * reason nor `[DONE]` nor whole calls, so that a cut answer never passes for a whole one.
 */
export class AnswerReader {
  /** The endpoint's counts so far. */
  usage: ModelUsage | undefined;
  readonly #chunks: ChunkReader;
  readonly #contents = new ContentFrames();
  readonly #assembler = new ToolCallAssembler();
  readonly #output: OutputCount;
  readonly #maxTextBytes: number | undefined;
  readonly #thinkTag: ThinkTag | undefined;
  readonly #cleanContent = new CleanText();
  readonly #cleanReasoning = new CleanText();
  readonly #fields = new ExtraFields(messageFields);
  #content = "";
  #reasoning = "";
  #told = "";
  #model = "";
  #id = "";
  #created: number | undefined;
  /** The index of the first choice, which is the answer. */
  #index: number | undefined;

  constructor(output = new OutputCount(), { readsThinkTag = true, maxTextBytes }: ReaderOptions = {}) {
    this.#output = output;
    this.#maxTextBytes = maxTextBytes;
    this.#chunks = new ChunkReader(output.maxBytes);
    this.#thinkTag = readsThinkTag ? new ThinkTag() : undefined;
  }

  /** The deltas of a piece. */
  push(piece: Buffer): { out?: AnswerDelta[]; failure?: unknown; isDone?: boolean } {
    const out: AnswerDelta[] = [];
    try {
      for (const frame of this.#chunks.push(piece)) {
        if (this.#chunks.isDone) break;
        this.#take(frame, out);
      }
      if (this.#chunks.failure !== undefined) throw this.#chunks.failure;
      if (this.#output.bytes > this.#output.maxBytes) throw answerTooLarge(this.#output.maxBytes);
      const fault = this.#textFault(this.#content.length + this.#reasoning.length);
      if (fault !== undefined) throw fault;
    } catch (failure) {
      return { out, failure: asModelFailure(failure) };
    }
    return { out, isDone: this.#chunks.isDone };
  }

  /** The deltas of the rest. `failure`: MODEL_FAILED, when the stream has ended before its answer. */
  end(): { out: AnswerDelta[]; failure?: unknown } {
    const out: AnswerDelta[] = [];
    let failure: unknown;
    try {
      for (const frame of this.#chunks.end()) if (!this.#chunks.isDone) this.#take(frame, out);
      if (!this.#isComplete) failure = this.#chunks.cutOff();
    } catch (error) {
      failure = asModelFailure(error);
    }
    const hasNoEnd = failure !== undefined || isCut(this.#told);
    const { text, reasoning, isText } = this.#thinkTag?.end(hasNoEnd) ?? { text: "", reasoning: "", isText: false };
    if (isText) this.#reasoning = "";
    this.#add("content", this.#cleanContent.push(text) + this.#cleanContent.end(), out);
    this.#add("reasoning", this.#cleanReasoning.push(reasoning) + this.#cleanReasoning.end(), out);
    return { out, failure: failure ?? this.#textFault(this.#jsonBytes) };
  }

  /** The answer; whole after `end`. */
  get answer(): ModelAnswer {
    const toolCalls = isCut(this.#told) ? [] : this.#assembler.calls;
    const fields = providerFields(this.#fields, toolCalls.length === 0 ? [] : this.#assembler.fields);
    return {
      content: this.#content,
      reasoning: this.#reasoning,
      toolCalls,
      finishReason: finishReason(this.#told, toolCalls.length > 0),
      model: this.#model,
      providerFields: fields.text,
      ...(fields.isTooLarge ? { lostFields: true } : {}),
    };
  }

  /** Id and time of the answer, as its endpoint told them. */
  get envelope(): { id: string; created: number | undefined } {
    return { id: this.#id, created: this.#created };
  }

  /** Bytes of the texts as JSON; their characters where these are few enough in any case. */
  get #jsonBytes(): number {
    const characters = this.#content.length + this.#reasoning.length;
    if (characters * longestEscape <= (this.#maxTextBytes ?? Number.POSITIVE_INFINITY)) return characters;
    return Buffer.byteLength(JSON.stringify(this.#content)) + Buffer.byteLength(JSON.stringify(this.#reasoning));
  }

  #textFault(bytes: number): Error | undefined {
    const most = this.#maxTextBytes;
    return most !== undefined && bytes > most ? textTooLarge(most) : undefined;
  }

  get #isComplete(): boolean {
    if (this.#told !== "") return true;
    const hasCalls = !this.#assembler.isEmpty;
    if (this.#chunks.isDone) return hasCalls || this.#content !== "" || this.#reasoning !== "";
    return hasCalls && this.#assembler.isWhole;
  }

  #take(frame: string, out: AnswerDelta[]): void {
    // The first chunk tells the model's name.
    const literal = this.#model === "" ? undefined : this.#contents.literal(frame);
    if (literal !== undefined) {
      this.#output.text(literal.length - 2);
      this.#chunks.hasDelta = true;
      this.#addContent(JSON.parse(decoded(literal)) as string, out);
      return;
    }
    const { chunk, failure } = this.#chunks.read(frame);
    if (chunk !== undefined) {
      this.#output.choices(chunk.fields.choices);
      if (chunk.model !== "") this.#model = chunk.model;
      if (chunk.id !== "") this.#id ||= chunk.id;
      this.#created ??= chunk.created;
      // Some endpoints report usage on every chunk: the last report holds.
      this.usage = chunk.usage ?? this.usage;
      this.#index ??= chunk.choices[0]?.index;
      const choice = chunk.choices.find(({ index }) => index === this.#index);
      if (choice !== undefined) this.#read(choice, out);
    }
    if (failure !== undefined) throw failure;
  }

  #read(choice: CheckedChoice, out: AnswerDelta[]): void {
    this.#fields.add(choice.message);
    this.#add("reasoning", this.#cleanReasoning.push(choice.reasoning), out);
    this.#addContent(choice.text, out);
    this.#addContent(choice.refusal, out);
    if (choice.calls.length > 0) this.#assembler.add(choice.calls);
    if (choice.finishReason !== "") this.#told = choice.finishReason;
  }

  #addContent(given: string, out: AnswerDelta[]): void {
    if (given === "") return;
    const { text, reasoning } = this.#thinkTag?.push(given) ?? { text: given, reasoning: "" };
    this.#add("reasoning", this.#cleanReasoning.push(reasoning), out);
    this.#add("content", this.#cleanContent.push(text), out);
  }

  #add(type: AnswerDelta["type"], delta: string, out: AnswerDelta[]): void {
    if (delta === "") return;
    if (type === "content") this.#content += delta;
    else this.#reasoning += delta;
    out.push({ type, delta });
  }
}
