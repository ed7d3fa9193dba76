import { otherParts } from "./answer-text.ts";
import type { CheckedChoice, CheckedChunk } from "./checked-chunk.ts";
import type { PlacedPiece } from "./tool-call-assembler.ts";

type Fields = Readonly<Record<string, unknown>>;

/** A chunk as clients get it. */
export interface ClientChunk {
  readonly id?: string;
  readonly object?: string;
  readonly created?: number;
  readonly model?: string;
  readonly choices?: readonly {
    index?: number;
    delta?: { content?: string | null; tool_calls?: unknown };
    finish_reason?: string | null;
  }[];
  readonly [field: string]: unknown;
}

const rewritten = new Set(["content", "function_call", "refusal", "role", "tool_calls"]);

function clientCall(piece: PlacedPiece): Fields {
  const { index, id, name, arguments: args } = piece;
  const { id: _id, index: _index, type: _type, function: _function, custom: _custom, ...extra } = piece.fields;
  return {
    index,
    ...(id === undefined ? {} : { id, type: "function" }),
    function: { ...(name === "" ? {} : { name }), arguments: args },
    ...extra,
  };
}

function isFilled(value: unknown): boolean {
  if (value === null || value === undefined || value === "") return false;
  return typeof value !== "object" || Object.keys(value).length > 0;
}

const unsaid = new Set(["function_call", "role", "tool_calls"]);

/** Whether a delta of the endpoint says anything besides its role and its calls. */
export function saysAnything({ text, reasoning, message, fields }: CheckedChoice): boolean {
  if (text !== "" || reasoning !== "") return true;
  for (const key in message) if (!unsaid.has(key) && isFilled(message[key])) return true;
  return isFilled(fields.logprobs);
}

/** A delta in the types of OpenAI's format. Fields that only the endpoint knows stay as they are. */
export function clientDelta(choice: CheckedChoice, withRole: boolean, calls: readonly PlacedPiece[]): Fields {
  const { message, text, reasoning, refusal } = choice;
  const { content, function_call: older } = message;
  const extra = Object.fromEntries(Object.entries(message).filter(([key]) => !rewritten.has(key)));
  const isList = typeof content === "object" && content !== null;
  const others = otherParts(content);
  const isOlder = isFilled(older) && !Array.isArray(message.tool_calls);
  const hasReasoning = Object.keys(extra).some((key) => key.startsWith("reasoning") || key.startsWith("thinking"));
  return {
    ...(withRole ? { role: "assistant" } : {}),
    ...(text !== "" || withRole || "content" in message ? { content: text === "" && content === null ? null : text } : {}),
    ...(refusal === "" ? {} : { refusal }),
    ...extra,
    ...(isList && reasoning !== "" && !hasReasoning ? { reasoning_content: reasoning } : {}),
    ...(others.length === 0 ? {} : { content_parts: others }),
    ...(calls.length === 0 ? {} : isOlder ? { function_call: older } : { tool_calls: calls.map(clientCall) }),
  };
}

/** A choice with another delta and finish reason. */
export function clientChoice(choice: CheckedChoice, delta: Fields, finish: string | null): Fields {
  const { message: _message, delta: _delta, error: _error, finish_reason: _finish, index: _index, ...extra } = choice.fields;
  return { index: choice.index, delta, ...extra, finish_reason: finish };
}

/** A chunk with other choices, without the usage, which clients get in a chunk of its own. */
export function clientChunk(chunk: CheckedChunk, id: string | undefined, choices: readonly Fields[]): ClientChunk {
  const { usage: _usage, error: _error, choices: _choices, object: _object, ...fields } = chunk.fields;
  return {
    ...fields,
    id: id ?? (chunk.id || undefined),
    object: "chat.completion.chunk",
    created: chunk.created,
    model: chunk.model || undefined,
    choices,
  } as ClientChunk;
}
