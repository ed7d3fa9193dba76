/** A tool call in OpenAI's format. */
export interface ModelToolCall {
  id: string;
  type: "function";
  /** `arguments` is the model's text, which need not be JSON. */
  function: { name: string; arguments: string };
  /** The fault for which the call must not run, in words for the model; undefined: none was found. */
  problem?: string;
}

/** Token counts in OpenAI's format: whole numbers from 0 to `maxTokenCount`. */
export interface ModelUsage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
}

/** No tokens. */
export const noUsage: ModelUsage = { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 };

/** The largest count that is accepted for one call: more than any context holds, and sums of it stay exact. */
export const maxTokenCount = 100_000_000;

/** An endpoint's count of tokens; undefined unless it is a whole number from 0 to `maxTokenCount`. */
export function tokenCount(value: unknown): number | undefined {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= maxTokenCount ? (value as number) : undefined;
}

type Fields = Readonly<Record<string, unknown>>;

const maxDetailDepth = 2;
const maxDetailFields = 32;
const maxDetailText = 100;

/** Whether a value may stand in the details of a usage: counts are whole, other numbers not negative, texts short. */
function isDetail(key: string, value: unknown): boolean {
  if (typeof value === "number") return key.includes("tokens") ? tokenCount(value) !== undefined : value >= 0 && value <= 1e12;
  return typeof value === "boolean" || (typeof value === "string" && value.length <= maxDetailText);
}

/** An endpoint's details of a usage (cached tokens, …) without what may not stand there. */
function usageDetails(given: Fields, depth = 0): Record<string, unknown> {
  const kept: [string, unknown][] = [];
  for (const [key, value] of Object.entries(given).slice(0, maxDetailFields)) {
    if (isDetail(key, value)) kept.push([key, value]);
    else if (depth < maxDetailDepth && typeof value === "object" && value !== null && !Array.isArray(value)) {
      kept.push([key, usageDetails(value as Fields, depth + 1)]);
    }
  }
  return Object.fromEntries(kept);
}

/**
 * Reads an endpoint's usage. Undefined when it tells no count at all, so that the charge is estimated; one count that
 * is none is 0, which the charge estimates too. A total below the sum of its parts is that sum.
 */
export function readUsage(value: unknown): ModelUsage | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const given = value as Fields;
  const prompt = tokenCount(given.prompt_tokens) ?? tokenCount(given.input_tokens);
  const told = tokenCount(given.completion_tokens) ?? tokenCount(given.output_tokens);
  const total = tokenCount(given.total_tokens);
  if (prompt === undefined && told === undefined && total === undefined) return undefined;
  const completion = told ?? (prompt === undefined || total === undefined ? 0 : Math.max(0, total - prompt));
  return {
    ...usageDetails(given),
    prompt_tokens: prompt ?? 0,
    completion_tokens: completion,
    total_tokens: Math.max(total ?? 0, (prompt ?? 0) + completion),
  };
}

/**
 * Adds up the usage of model calls. The endpoint's own details (cached tokens, …) are kept while there is one call
 * only, because their sum would mean nothing.
 */
export function addUsage(a: ModelUsage, b: unknown): ModelUsage {
  const given = readUsage(b);
  if (given === undefined) return a;
  if (a === noUsage) return given;
  return {
    prompt_tokens: a.prompt_tokens + given.prompt_tokens,
    completion_tokens: a.completion_tokens + given.completion_tokens,
    total_tokens: a.total_tokens + given.total_tokens,
  };
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
