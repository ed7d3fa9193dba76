import { type ModelUsage, noUsage, tokenCount } from "../model/edge/chunk.ts";
import type { OutputCount } from "../model/edge/output-count.ts";
import type { PromptSize } from "./prompt-size.ts";

/** The usage that a model call is charged for. */
export interface Charge extends ModelUsage {
  /** Attempts that a model may have worked on; 0: nothing is charged. */
  readonly requests: number;
  /** Tokens of the prompt that the endpoint read from its cache, where it tells them; 0 in an estimated prompt. */
  readonly cached_tokens: number;
  /** Tokens of the answer that are reasoning, where the endpoint tells them; 0 in an estimated answer. */
  readonly reasoning_tokens: number;
  /** How many of its tokens were estimated, because the endpoint reported no count or an impossible one. */
  readonly estimated_tokens: number;
}

/** The charge of a call that no model has worked on. */
export const noCharge: Charge = { ...noUsage, requests: 0, cached_tokens: 0, reasoning_tokens: 0, estimated_tokens: 0 };

/** The facts about a finished model call that its charge depends on. */
export interface CallFacts {
  /** Attempts that were sent and not refused. */
  readonly tries: number;
  readonly output: OutputCount;
  /** The answer came to its end; otherwise the endpoint's count may cover only a part of it. */
  readonly isWhole: boolean;
  /** The endpoint's counts; an invalid count is 0. */
  readonly usage: ModelUsage | undefined;
  /**
   * Tokens that may have been written without being seen: in an answer that is not streamed, or before the first piece
   * of a stream.
   */
  readonly unseenTokens: number;
}

/** Bytes of text up to which any count of the endpoint but 0 is accepted. */
const trustedBytes = 16_384;
/** Beyond that, the most bytes per token: long runs of blanks come near it, and no other text does. */
const mostBytesPerToken = 32;

/** Whether a count of tokens is possible for this much text. */
function isPlausible(tokens: number, textBytes: number): boolean {
  return tokens > 0 && tokens * mostBytesPerToken >= textBytes - trustedBytes;
}

/**
 * The endpoint's count of completion tokens. Some endpoints leave reasoning out of it and include it in the total only.
 */
function toldCompletion({ prompt_tokens, completion_tokens, total_tokens }: ModelUsage): number {
  return prompt_tokens > 0 ? Math.max(completion_tokens, total_tokens - prompt_tokens) : completion_tokens;
}

/** The counts of a usage, each one 0 unless it is a possible count, whoever has read them. */
function checked({ prompt_tokens, completion_tokens, total_tokens }: ModelUsage = noUsage): ModelUsage {
  return {
    prompt_tokens: tokenCount(prompt_tokens) ?? 0,
    completion_tokens: tokenCount(completion_tokens) ?? 0,
    total_tokens: tokenCount(total_tokens) ?? 0,
  };
}

/** The endpoint's counts of cached and reasoning tokens, under the names that endpoints give them; else 0. */
function toldDetails(usage: object): { cached: number; reasoning: number } {
  const { prompt_tokens_details, completion_tokens_details, prompt_cache_hit_tokens } = usage as Record<string, unknown>;
  const detail = (details: unknown, field: string) =>
    typeof details === "object" && details !== null ? tokenCount((details as Record<string, unknown>)[field]) : undefined;
  return {
    cached: detail(prompt_tokens_details, "cached_tokens") ?? tokenCount(prompt_cache_hit_tokens) ?? 0,
    reasoning: detail(completion_tokens_details, "reasoning_tokens") ?? 0,
  };
}

/**
 * The charge of a call: the endpoint's counts where they are plausible, else an estimate from the bytes sent and
 * received. `sizeOf` is called only when the size of the body alone does not show that the count is plausible.
 */
export function chargeOf(call: CallFacts, bodyBytes: number, sizeOf: () => PromptSize): Charge {
  const { output, isWhole } = call;
  const usage = checked(call.usage);
  const counted = tokenCount(Math.ceil(output.tokens)) ?? 0;
  const tries = Math.max(call.tries, counted > 0 || usage.prompt_tokens > 0 ? 1 : 0);
  if (tries === 0) return noCharge;
  let estimated = 0;
  let prompt = usage.prompt_tokens;
  const details = toldDetails(call.usage ?? noUsage);
  const isTold = isPlausible(prompt, bodyBytes) || isPlausible(prompt, sizeOf().textBytes);
  if (!isTold) estimated += prompt = sizeOf().likely;
  if (tries > 1) {
    const repeated = (tries - 1) * sizeOf().likely;
    prompt += repeated;
    estimated += repeated;
  }
  const told = toldCompletion(usage);
  let completion = told;
  let reasoning = Math.min(details.reasoning, told);
  if (counted > 0 ? !isPlausible(told, output.textBytes) : !isWhole && told === 0) {
    completion = Math.max(told, counted, call.unseenTokens);
    reasoning = 0;
    estimated += completion;
  } else if (!isWhole && counted > told) {
    completion = counted;
    reasoning = 0;
    estimated += completion;
  }
  return {
    requests: tries,
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    cached_tokens: isTold ? Math.min(details.cached, usage.prompt_tokens) : 0,
    reasoning_tokens: reasoning,
    estimated_tokens: estimated,
  };
}
