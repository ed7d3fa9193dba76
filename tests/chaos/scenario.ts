import type { Random } from "./random.ts";

/** A message that a client sends, and what must come of it. */
export interface PlannedMessage {
  /** Unique in the run of the driver. */
  readonly number: number;
  /** Which of the client's conversations it continues; undefined: it begins one. */
  readonly conversation: number;
  readonly how: "background" | "unary" | "stream";
  readonly text: string;
  /** The only right answer. */
  readonly answer: string;
  /** Calls of tools that must not be done twice. */
  readonly onceCalls: number;
}

interface Script {
  readonly number: number;
  readonly words: number;
  /** Names of tools, a round each; two of a round run in parallel. */
  readonly rounds: readonly (readonly string[])[];
  /** Milliseconds that a tool takes before and after its effect. */
  readonly ms: number;
}

/** The answer to a script: words that occur nowhere else, so that one that is missing or doubled is seen. */
export function answerOf({ number, words }: Pick<Script, "number" | "words">): string {
  return Array.from({ length: words }, (_, index) => `m${number}w${index}`).join(" ");
}

/** The message that carries a script to the model. */
function messageOf(script: Script): string {
  return `chaos ${JSON.stringify(script)}`;
}

/** The script of a user's message; undefined when it carries none. */
export function scriptOf(text: string): Script | undefined {
  return text.startsWith("chaos ") ? (JSON.parse(text.slice(6)) as Script) : undefined;
}

/** The messages of a client, in the order in which it sends them, without an end; their numbers are `first` and every `step`-th after it. */
export function* planMessages(
  random: Random,
  { first, step }: { first: number; step: number },
): Generator<PlannedMessage, never> {
  let conversations = 0;
  for (let number = first; ; number += step) {
    const conversation = conversations > 0 && random.next() < 0.6 ? random.between(0, conversations - 1) : conversations++;
    const rounds = Array.from({ length: random.pick([0, 0, 1, 1, 2]) }, () =>
      random.pick([["effect_once"], ["effect_once", "effect_once"], ["effect_once", "effect_again"], ["effect_again"]]),
    );
    const script = { number, words: random.between(5, 40), rounds, ms: random.between(0, 60) };
    yield {
      number,
      conversation,
      how: random.pick(["background", "unary", "stream"] as const),
      text: messageOf(script),
      answer: answerOf(script),
      onceCalls: rounds.flat().filter((name) => name === "effect_once").length,
    };
  }
}
