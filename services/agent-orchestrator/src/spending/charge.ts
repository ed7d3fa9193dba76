import { type ModelUsage, noUsage } from "../model/chunk.ts";
import type { OutputCount } from "../model/output-count.ts";
import type { PromptSize } from "./prompt-size.ts";

/** What a model call used. */
export interface Charge extends ModelUsage {
  /** Tries that a model may have worked on; 0: nothing is charged. */
  readonly requests: number;
  /** How many of its tokens were estimated, because the endpoint did not count them or cannot have. */
  readonly estimated_tokens: number;
}

/** Of a call that no model has worked on. */
export const noCharge: Charge = { ...noUsage, requests: 0, estimated_tokens: 0 };

/** How a model call went, as far as its cost depends on it. */
export interface CallFacts {
  /** Tries that were sent and not refused. */
  readonly tries: number;
  readonly output: OutputCount;
  /** The answer came to its end; otherwise what the endpoint counted may stand for a part of it. */
  readonly isWhole: boolean;
  /** What the endpoint says; counts that are none are 0. */
  readonly usage: ModelUsage | undefined;
  /**
   * Tokens that may have been written unseen: in an answer that was to come as a whole, or before the first word of
   * one.
   */
  readonly unseenTokens: number;
}

/** Text of which an endpoint is believed any count but 0. */
const trustedBytes = 16_384;
/** Beyond, a token stands for no more bytes than these: long runs of blanks come near it, and no other text does. */
const mostBytesPerToken = 32;

/** Whether so many tokens can be what so much text came to. */
function isPlausible(tokens: number, textBytes: number): boolean {
  return tokens > 0 && tokens * mostBytesPerToken >= textBytes - trustedBytes;
}

/**
 * Tokens of an answer as its endpoint counts them. Some leave those of the reasoning out, and only their total has
 * them.
 */
function toldCompletion({ prompt_tokens, completion_tokens, total_tokens }: ModelUsage): number {
  return prompt_tokens > 0 ? Math.max(completion_tokens, total_tokens - prompt_tokens) : completion_tokens;
}

/**
 * What is charged for a call: what its endpoint counted, where it can be that; else an estimate from what was sent and
 * what came back. `sizeOf` is asked only when the body alone does not show that the count is plausible.
 */
export function chargeOf(call: CallFacts, bodyBytes: number, sizeOf: () => PromptSize): Charge {
  const { output, isWhole, usage = noUsage } = call;
  const counted = output.tokens;
  const tries = Math.max(call.tries, counted > 0 || usage.prompt_tokens > 0 ? 1 : 0);
  if (tries === 0) return noCharge;
  let estimated = 0;
  let prompt = usage.prompt_tokens;
  const isTold = isPlausible(prompt, bodyBytes) || isPlausible(prompt, sizeOf().textBytes);
  if (!isTold) estimated += prompt = sizeOf().likely;
  if (tries > 1) {
    const repeated = (tries - 1) * sizeOf().likely;
    prompt += repeated;
    estimated += repeated;
  }
  const told = toldCompletion(usage);
  let completion = told;
  if (counted > 0 ? !isPlausible(told, output.textBytes) : !isWhole && told === 0) {
    completion = Math.max(told, counted, call.unseenTokens);
    estimated += completion;
  } else if (!isWhole && counted > told) {
    completion = counted;
    estimated += completion;
  }
  return {
    requests: tries,
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    estimated_tokens: estimated,
  };
}
