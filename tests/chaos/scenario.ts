import type { Random } from "./random.ts";

/** A message that a client sends, and its expected result. */
export interface PlannedMessage {
  /** Unique within one run of the driver. */
  readonly number: number;
  /** Index of the client's conversation that it continues; undefined: it begins one. */
  readonly conversation: number;
  readonly how: "background" | "unary" | "stream";
  readonly text: string;
  /** The only correct answer. */
  readonly answer: string;
  /** Number of calls to tools that must not run twice. */
  readonly onceCalls: number;
}

interface Script {
  readonly number: number;
  readonly words: number;
  /** Names of tools, one list per round; the tools of a round run in parallel. */
  readonly rounds: readonly (readonly string[])[];
  /** Milliseconds that a tool takes before and after its effect. */
  readonly ms: number;
}

/** The answer to a script. Each word is unique, so that a missing or doubled one shows. */
export function answerOf({ number, words }: Pick<Script, "number" | "words">): string {
  return Array.from({ length: words }, (_, index) => `m${number}w${index}`).join(" ");
}

/** The message that carries a script to the model. */
function messageOf(script: Script): string {
  return `chaos ${JSON.stringify(script)}`;
}

/** The script in a user's message; undefined when it has none. */
export function scriptOf(text: string): Script | undefined {
  return text.startsWith("chaos ") ? (JSON.parse(text.slice(6)) as Script) : undefined;
}

/** The messages of a client in sending order, endless; their numbers are `first` and every `step`-th after it. */
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
