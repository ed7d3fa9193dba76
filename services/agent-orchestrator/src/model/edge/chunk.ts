import { ErrorReason, fail } from "@turnwright/platform/errors";

/** A tool call in OpenAI's format. */
export interface ModelToolCall {
  id: string;
  type: "function";
  function: { name: string; arguments: string };
}

/** Token counts in OpenAI's format. */
export interface ModelUsage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
}

/** A piece of a tool call. */
interface ToolCallDelta {
  index?: number;
  id?: string;
  function?: { name?: string; arguments?: string };
}

/** The fields of a streamed chunk that are read. */
export interface CompletionChunk {
  id?: string;
  object?: string;
  created?: number;
  model?: string;
  choices?: {
    index?: number;
    delta?: { content?: string | null; tool_calls?: ToolCallDelta[] | null };
    finish_reason?: string | null;
  }[];
  usage?: ModelUsage | null;
  error?: { message?: unknown } | string;
}

/** Reads a chunk. Throws MODEL_FAILED for invalid JSON and for error chunks. */
export function parseChunk(data: string): CompletionChunk {
  let chunk: CompletionChunk;
  try {
    chunk = JSON.parse(data) as CompletionChunk;
  } catch (error) {
    throw fail(ErrorReason.MODEL_FAILED, "The model's endpoint sent text that is not JSON.", { cause: error });
  }
  if (typeof chunk !== "object" || chunk === null)
    throw fail(ErrorReason.MODEL_FAILED, "The model's endpoint sent JSON that is not a chunk.");
  if (chunk.error !== undefined && chunk.error !== null) {
    const message = typeof chunk.error === "string" ? chunk.error : chunk.error.message;
    throw fail(
      ErrorReason.MODEL_FAILED,
      typeof message === "string" ? message.slice(0, 1_000) : "The model failed in mid-stream.",
    );
  }
  return chunk;
}

/** No tokens. */
export const noUsage: ModelUsage = { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 };

/** The largest count that is accepted for one call: more than any context holds, and sums of it stay exact. */
export const maxTokenCount = 100_000_000;

/** An endpoint's count of tokens; undefined unless it is a whole number from 0 to `maxTokenCount`. */
export function tokenCount(value: unknown): number | undefined {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= maxTokenCount ? (value as number) : undefined;
}

/**
 * Adds up the usage of model calls. The endpoint's counts are not trusted: an invalid count is 0, and an invalid total
 * is the sum of the other two. The endpoint's own details (cached tokens, …) are kept while there is one call only,
 * because their sum would mean nothing.
 */
export function addUsage(a: ModelUsage, b: unknown): ModelUsage {
  if (typeof b !== "object" || b === null || Array.isArray(b)) return a;
  const given = b as Partial<Record<keyof ModelUsage, unknown>>;
  const prompt = tokenCount(given.prompt_tokens) ?? 0;
  const completion = tokenCount(given.completion_tokens) ?? 0;
  const total = tokenCount(given.total_tokens) ?? prompt + completion;
  if (a === noUsage) return { ...b, prompt_tokens: prompt, completion_tokens: completion, total_tokens: total };
  return {
    prompt_tokens: a.prompt_tokens + prompt,
    completion_tokens: a.completion_tokens + completion,
    total_tokens: a.total_tokens + total,
  };
}

/** Assembles tool calls from their pieces. */
export class ToolCallAssembler {
  readonly #calls = new Map<number, ModelToolCall>();

  /** Whether no call has begun. */
  get isEmpty(): boolean {
    return this.#calls.size === 0;
  }

  /** Adds the pieces of one chunk. */
  add(deltas: readonly ToolCallDelta[]): void {
    for (const delta of deltas) {
      // Without an index, a piece with an id begins a call and a piece without an id continues the last one.
      const index = delta.index ?? Math.max(0, this.#calls.size - (delta.id ? 0 : 1));
      let call = this.#calls.get(index);
      if (call === undefined) {
        call = { id: delta.id ?? "", type: "function", function: { name: "", arguments: "" } };
        this.#calls.set(index, call);
      }
      if (delta.id) call.id = delta.id;
      if (delta.function?.name) call.function.name += delta.function.name;
      if (delta.function?.arguments) call.function.arguments += delta.function.arguments;
    }
  }

  /** The calls so far. A missing id is made up once. */
  get calls(): ModelToolCall[] {
    return nameCalls([...this.#calls.entries()].sort(([a], [b]) => a - b).map(([, call]) => call));
  }
}

/** Gives an id of our own to each call without one. */
export function nameCalls<T extends { id: string }>(calls: T[]): T[] {
  for (const call of calls) if (!call.id) call.id = `call_${crypto.randomUUID().replaceAll("-", "").slice(0, 24)}`;
  return calls;
}

/** Usage as the contract's fields. */
export function usageMessage(usage: ModelUsage): { promptTokens: number; completionTokens: number; totalTokens: number } {
  return { promptTokens: usage.prompt_tokens, completionTokens: usage.completion_tokens, totalTokens: usage.total_tokens };
}
