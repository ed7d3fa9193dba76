import { elementTexts, memberTexts } from "@turnwright/platform/json/json-text";
import { isFields } from "./answer-text.ts";

/** A piece of a tool call. */
export interface CallPiece {
  /** Undefined: none was told that is a whole number. */
  readonly index: number | undefined;
  /** Empty: none was told. */
  readonly id: string;
  readonly name: string;
  readonly arguments: string;
  /** The arguments came as an object instead of text. */
  readonly isObject: boolean;
  /** The piece as the endpoint sent it. */
  readonly fields: Readonly<Record<string, unknown>>;
  /** The piece has the types of OpenAI's format. */
  readonly isPlain: boolean;
}

const maxIndex = 1_000;
const none: readonly CallPiece[] = [];

function callIndex(value: unknown): number | undefined {
  const index = typeof value === "string" && /^\d{1,4}$/.test(value) ? Number(value) : value;
  return Number.isInteger(index) && (index as number) >= 0 && (index as number) <= maxIndex ? (index as number) : undefined;
}

function callId(value: unknown): string {
  return typeof value === "string" ? value : Number.isFinite(value) ? String(value) : "";
}

/** The texts of a message's calls, byte for byte, read only when a call has an object for its arguments. */
type CallTexts = () => readonly string[];

/** The arguments as the endpoint wrote them: numbers of an object keep every digit. */
function argumentsText(value: unknown, texts: CallTexts, at: number): string {
  if (typeof value === "string") return value;
  if (value === null || value === undefined) return "";
  const call = texts()[at];
  const called = call?.startsWith("{") ? (memberTexts(call).get("function") ?? memberTexts(call).get("custom")) : undefined;
  const written = called?.startsWith("{")
    ? (memberTexts(called).get("arguments") ?? memberTexts(called).get("input"))
    : undefined;
  return written ?? JSON.stringify(value);
}

function readPiece(entry: Readonly<Record<string, unknown>>, texts: CallTexts, at: number): CallPiece {
  const called = isFields(entry.function) ? entry.function : isFields(entry.custom) ? entry.custom : {};
  const given = called.arguments ?? called.input;
  const index = callIndex(entry.index);
  const isText = (value: unknown) => value === undefined || value === null || typeof value === "string";
  return {
    index,
    id: callId(entry.id),
    name: typeof called.name === "string" ? called.name : "",
    arguments: argumentsText(given, texts, at),
    isObject: typeof given === "object" && given !== null,
    fields: entry,
    isPlain: index === entry.index && isText(entry.id) && isText(called.name) && isText(given) && isFields(entry.function),
  };
}

/**
 * The pieces of calls in a message or a delta: a list, or one of them alone, or the older `function_call`. `text` gives
 * the JSON text of the message. Entries that are no objects are left out.
 */
export function callPieces(message: Readonly<Record<string, unknown>>, text: () => string | undefined): readonly CallPiece[] {
  const { tool_calls: calls, function_call: older } = message;
  if (calls === undefined && older === undefined) return none;
  let read: readonly string[] | undefined;
  const texts = (): readonly string[] => {
    if (read !== undefined) return read;
    const json = text();
    const list = json === undefined ? undefined : memberTexts(json).get("tool_calls");
    read = list?.startsWith("[") ? elementTexts(list) : list === undefined ? [] : [list];
    return read;
  };
  if (isFields(older) && !Array.isArray(calls)) return [readPiece({ function: older }, () => [], 0)];
  const pieces: CallPiece[] = [];
  for (const [at, entry] of (Array.isArray(calls) ? calls : [calls]).entries()) {
    if (isFields(entry)) pieces.push(readPiece(entry, texts, at));
  }
  return pieces;
}
