import { ErrorReason, fail } from "@turnwright/platform/errors";
import { asModelFailure, errorIn } from "./answer-error.ts";
import { AnswerReader } from "./answer-reader.ts";
import { type CheckedChoice, type CheckedChunk, checkChunk } from "./checked-chunk.ts";
import { type ModelToolCall, type ModelUsage, noUsage } from "./chunk.ts";
import { clientChoice, clientChunk, clientDelta } from "./client-chunk.ts";
import { ExtraFields } from "./extra-fields.ts";
import { clientReason, isCut } from "./finish-reason.ts";
import { OutputCount } from "./output-count.ts";
import { messageFields } from "./provider-fields.ts";
import { type PlacedPiece, ToolCallAssembler } from "./tool-call-assembler.ts";

type Fields = Readonly<Record<string, unknown>>;

/** A message in OpenAI's format. */
export interface OpenAiMessage {
  role: string;
  content?: unknown;
  tool_calls?: ModelToolCall[];
  tool_call_id?: string;
}

/** A whole answer that the edge has checked. */
export interface CheckedCompletion {
  /** The answer for the client: the endpoint's own bytes when they are in OpenAI's format. */
  readonly bytes: Buffer;
  /** The same as JSON. */
  readonly json: Fields;
  /** The model that answered, as it names itself; empty when it does not. */
  readonly model: string;
  /** Text of the first choice. */
  readonly content: string;
  /** Calls of the first choice; none when the answer was cut, because they may be cut too. */
  readonly calls: readonly ModelToolCall[];
  /** Whether the first choice has calls, cut or not. */
  readonly hasCalls: boolean;
  /** Fields of the message and of `calls`, in that order, that the endpoint wants back. */
  readonly extraFields: { readonly message: Fields; readonly calls: readonly (Fields | undefined)[] };
  readonly usage: ModelUsage;
  /** Whether the endpoint told a usage. */
  readonly isUsageTold: boolean;
}

function notACompletion(): Error {
  return fail(ErrorReason.MODEL_FAILED, "The model's endpoint sent JSON that is not a completion.");
}

/** A choice of a whole answer, checked. */
interface WholeChoice {
  readonly choice: CheckedChoice;
  readonly placed: readonly PlacedPiece[];
  readonly calls: readonly ModelToolCall[];
  readonly callFields: readonly (Fields | undefined)[];
  readonly reason: string;
}

function wholeChoice(choice: CheckedChoice): WholeChoice {
  const assembler = new ToolCallAssembler();
  const placed = assembler.add(choice.calls);
  const { finishReason: told } = choice;
  const calls = isCut(told) ? [] : assembler.calls;
  return { choice, placed, calls, callFields: assembler.fields, reason: clientReason(told, !assembler.isEmpty) };
}

/** Whether a client reads a choice rightly as the endpoint sent it. In whole answers calls have no index. */
function isPlainChoice({ choice, placed, reason }: WholeChoice): boolean {
  const isCallPlain = placed.every((piece) => piece.isPlain || (piece.fields.index === undefined && isPlainCall(piece.fields)));
  return (
    choice.isPlain && choice.isMessage && reason === choice.finishReason && placed.length === choice.calls.length && isCallPlain
  );
}

function isPlainCall({ id, function: called }: Fields): boolean {
  const { name, arguments: args } = (called ?? {}) as Fields;
  return typeof id === "string" && id !== "" && typeof name === "string" && typeof args === "string";
}

/** A message for a client. */
function clientMessage({ choice, placed }: WholeChoice): Fields {
  const { tool_calls: pieces, ...message } = clientDelta(choice, true, placed);
  const calls = (pieces as readonly Fields[] | undefined)?.map(({ index: _index, ...call }) => call);
  return { ...message, content: choice.text === "" ? null : choice.text, ...(calls === undefined ? {} : { tool_calls: calls }) };
}

function isPlainUsage(given: unknown, usage: ModelUsage | undefined): boolean {
  return given === undefined || given === null || JSON.stringify(given) === JSON.stringify(usage);
}

function checked(bytes: Buffer, chunk: CheckedChunk): CheckedCompletion {
  const choices = chunk.choices.filter(({ fields }) => fields.message ?? fields.delta).map(wholeChoice);
  const [first] = choices;
  if (first === undefined) throw notACompletion();
  const { usage } = chunk;
  const isPlain = chunk.isPlain && choices.every(isPlainChoice) && isPlainUsage(chunk.fields.usage, usage);
  const written = isPlain
    ? chunk.fields
    : {
        ...clientChunk(
          chunk,
          undefined,
          choices.map((choice) => {
            const { delta: message, ...rest } = clientChoice(choice.choice, clientMessage(choice), choice.reason);
            return { ...rest, message };
          }),
        ),
        object: "chat.completion",
        usage,
      };
  const extra = new ExtraFields(messageFields);
  extra.add(first.choice.message);
  return {
    bytes: isPlain ? bytes : Buffer.from(JSON.stringify(written)),
    json: written,
    model: chunk.model,
    content: first.choice.text,
    calls: first.calls,
    hasCalls: first.placed.length > 0,
    extraFields: { message: extra.value ?? {}, calls: first.callFields },
    usage: usage ?? noUsage,
    isUsageTold: usage !== undefined,
  };
}

/** Reads an answer that came in the form of a stream, or of JSON with something around it. */
function readStreamed(bytes: Buffer): CheckedCompletion {
  const output = new OutputCount();
  output.maxBytes = Math.max(bytes.length, 1);
  const reader = new AnswerReader(output, { readsThinkTag: false });
  const { failure } = reader.push(bytes);
  if (failure !== undefined) throw failure;
  const end = reader.end();
  if (end.failure !== undefined) throw end.failure;
  const { content, toolCalls, finishReason, model, providerFields } = reader.answer;
  const extraFields = providerFields === "" ? { message: {}, calls: [] } : JSON.parse(providerFields);
  const message = {
    role: "assistant",
    content: content === "" ? null : content,
    ...extraFields.message,
    ...(toolCalls.length === 0 ? {} : { tool_calls: toolCalls.map(({ problem: _problem, ...call }) => call) }),
  };
  const { id, created } = reader.envelope;
  const json = {
    id: id || undefined,
    object: "chat.completion",
    created,
    model: model || undefined,
    choices: [{ index: 0, message, finish_reason: finishReason }],
    usage: reader.usage,
  };
  return {
    bytes: Buffer.from(JSON.stringify(json)),
    json,
    model,
    content,
    calls: toolCalls,
    hasCalls: toolCalls.length > 0,
    extraFields,
    usage: reader.usage ?? noUsage,
    isUsageTold: reader.usage !== undefined,
  };
}

/** The JSON of a body; undefined when it is not JSON alone. */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * Reads an answer that was asked for in one piece, in whichever form it came. Throws MODEL_FAILED, and the endpoint's
 * error when the answer is one. The client that received it has bounded its size.
 */
export function readCompletion(bytes: Buffer): CheckedCompletion {
  try {
    const told = bytes.toString("utf8");
    const text = told.startsWith("\ufeff") ? told.slice(1) : told;
    const value = jsonOf(text);
    if (value === undefined) return readStreamed(bytes);
    const failure = errorIn(value);
    if (failure !== undefined) throw failure;
    const chunk = checkChunk(value, text);
    if (chunk === undefined) throw notACompletion();
    return checked(text === told ? bytes : Buffer.from(text), chunk);
  } catch (error) {
    throw asModelFailure(error);
  }
}

/** A completion for the client without calls, which were the server's and did not run. */
export function withoutCalls({ json, usage }: CheckedCompletion): Fields {
  const [first, ...others] = json.choices as Fields[];
  const { tool_calls: _calls, function_call: _call, ...message } = (first?.message ?? {}) as Fields;
  return { ...json, choices: [{ ...first, message }, ...others], usage };
}
