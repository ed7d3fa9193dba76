import { ErrorReason, fail } from "@turnwright/platform/errors";

/** A tool call in OpenAI's format. */
export interface ModelToolCall {
  id: string;
  type: "function";
  function: { name: string; arguments: string };
}

/** Tokens in OpenAI's format. */
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

/** One chunk of a streamed completion, as far as we read it. */
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

/** Reads a chunk. Throws MODEL_FAILED on garbage and on error chunks. */
export function parseChunk(data: string): CompletionChunk {
  let chunk: CompletionChunk;
  try {
    chunk = JSON.parse(data) as CompletionChunk;
  } catch (error) {
    throw fail(ErrorReason.MODEL_FAILED, "The model's endpoint sent something that is not JSON.", { cause: error });
  }
  if (typeof chunk !== "object" || chunk === null)
    throw fail(ErrorReason.MODEL_FAILED, "The model's endpoint sent something that is no chunk.");
  if (chunk.error !== undefined && chunk.error !== null) {
    const message = typeof chunk.error === "string" ? chunk.error : chunk.error.message;
    throw fail(
      ErrorReason.MODEL_FAILED,
      typeof message === "string" ? message.slice(0, 1_000) : "The model failed in mid-stream.",
    );
  }
  return chunk;
}

/** Usage of several model calls together. */
export function addUsage(a: ModelUsage, b: ModelUsage | undefined | null): ModelUsage {
  if (!b) return a;
  return {
    prompt_tokens: a.prompt_tokens + (b.prompt_tokens ?? 0),
    completion_tokens: a.completion_tokens + (b.completion_tokens ?? 0),
    total_tokens: a.total_tokens + (b.total_tokens ?? 0),
  };
}

/** No tokens. */
export const noUsage: ModelUsage = { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 };

/** Puts the pieces of tool calls together. */
export class ToolCallAssembler {
  readonly #calls: ModelToolCall[] = [];

  /** Takes the pieces of one chunk. */
  add(deltas: readonly ToolCallDelta[]): void {
    for (const delta of deltas) {
      const index = delta.index ?? Math.max(0, this.#calls.length - (delta.id === undefined ? 1 : 0));
      let call = this.#calls[index];
      if (call === undefined) {
        call = { id: delta.id ?? "", type: "function", function: { name: "", arguments: "" } };
        this.#calls[index] = call;
      }
      if (delta.id) call.id = delta.id;
      if (delta.function?.name) call.function.name += delta.function.name;
      if (delta.function?.arguments) call.function.arguments += delta.function.arguments;
    }
  }

  /** The calls so far; ids that the model left out are made up. */
  get calls(): ModelToolCall[] {
    return this.#calls
      .filter((call) => call !== undefined)
      .map((call, index) => (call.id === "" ? { ...call, id: `call_${index}_${crypto.randomUUID().slice(0, 8)}` } : call));
  }
}
