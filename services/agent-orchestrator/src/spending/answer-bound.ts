import { thinksUnseen } from "./call-watch.ts";

/** The fields of a request that bound its answer. */
export interface BoundedBody {
  readonly messages?: unknown;
  readonly max_tokens?: number | null;
  readonly max_completion_tokens?: number | null;
  readonly n?: number | null;
  readonly prediction?: unknown;
}

/** Tokens reserved for an answer that is not streamed, unless its request bounds it. */
export const wholeAnswer = 4_096;
/** Tokens reserved for an answer that begins with hidden reasoning, unless its request bounds it. */
const unseenAnswer = 16_384;

/** The name of the bounding field: OpenAI's newer models use `max_completion_tokens`, all others the older one. */
function boundField(model: string): "max_tokens" | "max_completion_tokens" {
  return thinksUnseen(model) ? "max_completion_tokens" : "max_tokens";
}

/** The number of answers that a request asks for. */
export function answersOf({ n }: BoundedBody): number {
  return Math.max(1, n ?? 1);
}

/**
 * The most tokens that one answer to a request may have. With two bounds the wider one counts, because it is unknown
 * which of them an endpoint obeys.
 */
export function mostTokensOf(body: BoundedBody, model: string): number {
  const { max_tokens: older, max_completion_tokens: newer } = body;
  if (older == null && newer == null) return thinksUnseen(model) ? unseenAnswer : wholeAnswer;
  return Math.max(older ?? 0, newer ?? 0);
}

/** The request with each of its answers bounded to this many tokens. */
export function boundBody(body: BoundedBody, model: string, tokens: number): Uint8Array {
  const bound = Math.max(1, tokens);
  const bounds: Record<string, number> = {};
  for (const field of ["max_tokens", "max_completion_tokens"] as const) {
    const asked = body[field];
    if (asked != null) bounds[field] = Math.min(asked, bound);
  }
  if (Object.keys(bounds).length === 0) bounds[boundField(model)] = bound;
  return Buffer.from(JSON.stringify({ ...body, ...bounds }));
}
