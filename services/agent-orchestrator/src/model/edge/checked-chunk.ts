import { ErrorReason, fail } from "@turnwright/platform/errors";
import { elementTexts, memberTexts } from "@turnwright/platform/json/json-text";
import { errorIn } from "./answer-error.ts";
import { type AnswerTexts, answerTexts, isFields } from "./answer-text.ts";
import { type CallPiece, callPieces } from "./call-pieces.ts";
import { type ModelUsage, readUsage } from "./chunk.ts";
import { toldReason } from "./finish-reason.ts";

type Fields = Readonly<Record<string, unknown>>;

/** A choice of a chunk or of a whole completion. */
export interface CheckedChoice extends AnswerTexts {
  readonly index: number;
  readonly calls: readonly CallPiece[];
  /** The endpoint's word; empty: none yet. */
  readonly finishReason: string;
  /** The delta or the message, and the choice, as the endpoint sent them. */
  readonly message: Fields;
  readonly fields: Fields;
  /** It came as a `message`. */
  readonly isMessage: boolean;
  /** It has the types of OpenAI's format, but for its calls. */
  readonly isPlain: boolean;
}

/** A chunk or a whole completion. */
export interface CheckedChunk {
  /** Empty: none was told. */
  readonly id: string;
  readonly model: string;
  /** Seconds since 1970. */
  readonly created: number | undefined;
  readonly choices: readonly CheckedChoice[];
  readonly usage: ModelUsage | undefined;
  /** The chunk as the endpoint sent it. */
  readonly fields: Fields;
  /** It has the types of OpenAI's format, but for its calls. */
  readonly isPlain: boolean;
}

const maxLabel = 200;
const maxChoices = 128;

function label(value: unknown): string {
  if (typeof value !== "string") return "";
  const isSound = value.length <= maxLabel && value.isWellFormed() && !value.includes("\0");
  return isSound ? value : value.slice(0, maxLabel).toWellFormed().replaceAll("\0", "");
}

function choiceIndex(value: unknown, at: number): number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < maxChoices ? (value as number) : at;
}

function readChoice(fields: Fields, at: number, text: () => string | undefined): CheckedChoice {
  const isMessage = !isFields(fields.delta) && isFields(fields.message);
  const message = isFields(fields.delta) ? fields.delta : isFields(fields.message) ? fields.message : {};
  const name = isMessage ? "message" : "delta";
  const memberText = () => {
    const json = text();
    return json === undefined ? undefined : memberTexts(json).get(name);
  };
  const index = choiceIndex(fields.index, at);
  const { content, tool_calls: listed } = message;
  const { finish_reason: told } = fields;
  const calls = callPieces(message, memberText);
  return {
    ...answerTexts(message),
    index,
    calls,
    finishReason: toldReason(told),
    message,
    fields,
    isMessage,
    isPlain:
      isFields(fields.delta ?? fields.message) &&
      index === fields.index &&
      (typeof content === "string" || content === null || content === undefined) &&
      (Array.isArray(listed) ? listed.length === calls.length : listed === null || listed === undefined) &&
      (told === undefined || told === null || (typeof told === "string" && told !== "")),
  };
}

/** The JSON value of an event's data; undefined when it is no JSON. Throws MODEL_FAILED for JSON that is broken. */
function parsed(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch (error) {
    // Words between the events say nothing; a chunk that cannot be read is a part of the answer.
    if (!/^[{["<]/.test(data)) return undefined;
    throw fail(ErrorReason.MODEL_FAILED, "The model's endpoint sent text that is not JSON.", { cause: error });
  }
}

/** Checks a chunk or a whole completion; undefined for JSON that is no object. `data` is its JSON text. */
export function checkChunk(value: unknown, data: string): CheckedChunk | undefined {
  if (!isFields(value)) return undefined;
  let texts: readonly string[] | undefined;
  const choiceText = (at: number) => {
    texts ??= elementTexts(memberTexts(data).get("choices") ?? "[]");
    return texts[at];
  };
  const list: readonly unknown[] = Array.isArray(value.choices) ? value.choices : [];
  const given = list.slice(0, maxChoices);
  const choices = given.flatMap((choice, at) => (isFields(choice) ? [readChoice(choice, at, () => choiceText(at))] : []));
  const id = label(value.id);
  const model = label(value.model);
  const created = Number.isSafeInteger(value.created) && Number(value.created) >= 0 ? Number(value.created) : undefined;
  const isLabelled = id === (value.id ?? "") && model === (value.model ?? "") && created === (value.created ?? undefined);
  const isPlain = isLabelled && choices.length === list.length && choices.every((choice) => choice.isPlain);
  return { id, model, created, choices, usage: readUsage(value.usage), fields: value, isPlain };
}

/** A part of an answer: a chunk, an error, or both; an error is to be reported after the chunk was read. */
export interface AnswerPart {
  readonly chunk?: CheckedChunk;
  readonly failure?: Error;
}

/**
 * Reads an event's data. The result is empty for what is no chunk and no error, such as `null`, an empty list or a
 * `ping`. `isError`: the event is called `error`. Throws MODEL_FAILED for JSON that is broken.
 */
export function readPart(data: string, isError: boolean): AnswerPart {
  const value = parsed(data) ?? data;
  if (value === data && !isError) return {};
  const failure = errorIn(value, isError);
  const chunk = checkChunk(value, data);
  return { chunk: failure !== undefined && chunk?.choices.length === 0 ? undefined : chunk, failure };
}
