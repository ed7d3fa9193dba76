import type { TextType } from "./frame.ts";

/** A piece of a streamed answer. */
interface TextDelta {
  readonly type: TextType;
  readonly delta: string;
}

/**
 * Lengths of the stretches of an answer's text as it was streamed, in UTF-16 code units: reasoning, content, reasoning,
 * and so on. A log entry holds it where the answer does not simply follow the reasoning, so that stored frames come in
 * the order of the live ones.
 */
export type StreamOrder = readonly number[];

/**
 * Lengths of the pieces of an answer's text as they were streamed, in UTF-16 code units. Kept for runs that a client
 * may ask for again under its idempotency key: the repeated stream then has the same events.
 */
export type StreamPieces = readonly number[];

/** How an answer was streamed, as far as a log entry says it. */
export interface Streamed {
  readonly order?: StreamOrder;
  readonly pieces?: StreamPieces;
}

/** The most stretches that are told apart; reasoning behind them is shown at the end. */
const maxStretches = 64;
/** The most pieces that are kept of an answer; one with more is told again in larger pieces. */
const maxPieces = 20_000;

/** Follows the order in which an answer is streamed. */
export class OrderedStream {
  #lengths: number[] = [0];
  #held = "";
  #pieces: number[] | undefined;
  reasoning = "";

  /** `keepsPieces`: the answer may be streamed again. */
  constructor(keepsPieces: boolean) {
    this.#pieces = keepsPieces ? [] : undefined;
  }

  #keep({ length }: string): void {
    if (this.#pieces === undefined) return;
    if (this.#pieces.length < maxPieces) this.#pieces.push(length);
    else this.#pieces = undefined;
  }

  /** The delta to show now, if it is one of those that are. */
  take(delta: TextDelta): TextDelta | undefined {
    if (delta.delta === "") return undefined;
    const isReasoning = delta.type === "reasoning";
    if (isReasoning) this.reasoning += delta.delta;
    const isSwitch = isReasoning !== (this.#lengths.length % 2 === 1);
    if (isSwitch && isReasoning && this.#lengths.length >= maxStretches) {
      this.#held += delta.delta;
      return undefined;
    }
    if (isSwitch) this.#lengths.push(0);
    this.#lengths[this.#lengths.length - 1] = (this.#lengths.at(-1) ?? 0) + delta.delta.length;
    this.#keep(delta.delta);
    return delta;
  }

  /** The reasoning that was held back to the end. */
  end(): TextDelta | undefined {
    if (this.#held === "") return undefined;
    this.#lengths.push(this.#held.length);
    this.#keep(this.#held);
    return { type: "reasoning", delta: this.#held };
  }

  /** The order, unless the content simply follows the reasoning, and the pieces, if they are kept. */
  get streamed(): Streamed {
    const pieces = this.#pieces;
    return {
      order: this.#lengths.length <= 2 ? undefined : this.#lengths,
      pieces: pieces === undefined || pieces.length < 2 ? undefined : pieces,
    };
  }
}

/** A stored message's text in the order in which it was streamed. An order that does not fit its text is ignored. */
export function orderedTexts(message: { reasoning: string; content: string }, order: unknown): TextDelta[] {
  const texts = { reasoning: message.reasoning, content: message.content };
  const rest = { reasoning: 0, content: 0 };
  const pieces: TextDelta[] = [];
  for (const [index, length] of (Array.isArray(order) ? order : []).entries()) {
    if (!Number.isSafeInteger(length) || length < 0) break;
    const type = index % 2 === 0 ? "reasoning" : "content";
    pieces.push({ type, delta: texts[type].slice(rest[type], rest[type] + length) });
    rest[type] += length;
  }
  for (const type of ["reasoning", "content"] as const) pieces.push({ type, delta: texts[type].slice(rest[type]) });
  return pieces.filter(({ delta }) => delta !== "");
}

/** Text as it was streamed. Pieces that do not fit the text are ignored. */
export function piecesOf(texts: readonly TextDelta[], pieces: unknown): readonly TextDelta[] {
  if (!Array.isArray(pieces)) return texts;
  const parts: TextDelta[] = [];
  let index = 0;
  for (const { type, delta } of texts) {
    for (let from = 0; from < delta.length; index += 1) {
      const length: unknown = pieces[index];
      if (typeof length !== "number" || !Number.isSafeInteger(length) || length < 1 || from + length > delta.length) return texts;
      parts.push({ type, delta: delta.slice(from, from + length) });
      from += length;
    }
  }
  return index === pieces.length ? parts : texts;
}
