import { setTimeout as delay } from "node:timers/promises";
import {
  type AskedCompletion,
  askedFor,
  type ModelReply,
  type ModelServer,
  startModelServer,
} from "@turnwright/testing/model-server";

const wordMs = 50;

/** The words that the model says when it is asked to `say` so many. */
export function words(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `word${index}`);
}

/** Characters that the model says at a time when it pours. */
const pourUnits = 1_024;

/** One piece of what the model pours, different from every other; JSON makes six bytes of each character, so that streams are large where the record is not. */
function poured(index: number): string {
  return `[${index}]`.padEnd(pourUnits, "\u0001");
}

/** All that the model says when it is asked to `pour` so many pieces. */
export function pouredText(pieces: number): string {
  return Array.from({ length: pieces }, (_, index) => poured(index)).join("");
}

function* spoken(said: string): Generator<{ text: string; pauseMs: number; isPoured?: boolean }> {
  const [, verb, number] = /^(say|pour) (\d+)\b/.exec(said) ?? [];
  const count = Number(number ?? 1);
  for (let index = 0; index < count; index += 1) {
    if (verb === "pour") yield { text: poured(index), pauseMs: 0, isPoured: true };
    else yield { text: index === 0 ? "word0" : ` word${index}`, pauseMs: count > 1 ? wordMs : 0 };
  }
}

async function answer(asked: AskedCompletion, reply: ModelReply, listeners: ModelListeners): Promise<void> {
  const { beforePouring, beforeEnding, pourMs = 1 } = listeners;
  const said = askedFor(asked);
  if (said.startsWith("hold")) return;
  if (!asked.stream) {
    reply.whole([...spoken(said)].map(({ text }) => text).join(""));
    return;
  }
  if (said === "use a tool" && asked.messages.at(-1)?.role === "user") {
    const call = { name: "calculator", arguments: '{"expression":"6*7"}' };
    void reply.send({ tool_calls: [{ index: 0, id: "call_1", type: "function", function: call }] });
    reply.end("tool_calls");
    return;
  }
  for (const { text, pauseMs, isPoured } of spoken(said)) {
    if (reply.isLeft) return;
    await reply.send({ content: text });
    const waitMs = isPoured ? pourMs : pauseMs;
    if (waitMs > 0) await delay(waitMs);
    if (isPoured) await beforePouring?.();
  }
  if (said.startsWith("pour")) await beforeEnding?.();
  reply.end();
}

/** Who is told of what the model is asked, and how it pours. */
export interface ModelListeners {
  /** It was asked for this. */
  onAsked?(said: string): void;
  /** Who asked for this has closed the connection before all was said. */
  onClosed?(said: string): void;
  /** Holds what is poured back behind its first piece until it resolves. */
  beforePouring?(): Promise<void>;
  /** Holds it back behind its last piece, so that its answer has not ended. */
  beforeEnding?(): Promise<void>;
  /** Between two pieces that are poured, in milliseconds; 1 unless given. */
  readonly pourMs?: number;
}

/** Holds models back while it is closed. */
export class PourGate {
  readonly #held: (() => void)[] = [];
  #isClosed = false;

  /** How many it holds back. */
  get waiting(): number {
    return this.#held.length;
  }

  /** Lets all pass, or, if a pause is given, those that it holds one after another, so many milliseconds apart. */
  async open(pauseMs = 0): Promise<void> {
    while (pauseMs > 0 && this.#held.length > 0) {
      this.#held.shift()?.();
      await delay(pauseMs);
    }
    this.#isClosed = false;
    for (const pass of this.#held.splice(0)) pass();
  }

  close(): void {
    this.#isClosed = true;
  }

  /** Resolves when it is open. */
  async passed(): Promise<void> {
    if (this.#isClosed) await new Promise<void>((resolve) => this.#held.push(resolve));
  }
}

/**
 * A model on loopback: `say N` has it say N words, one each 50 ms; `pour N` pieces of 6 KiB, one each `pourMs`, if they are read as fast; `hold` nothing at
 * all, for ever; `use a tool` has it calculate first; anything else is answered at once. What follows behind a space distinguishes requests.
 */
export function startPacedModel(listeners: ModelListeners = {}): Promise<ModelServer> {
  return startModelServer("paced", async (asked, reply) => {
    const said = askedFor(asked);
    listeners.onAsked?.(said);
    reply.onClosed((isWhole) => {
      if (!isWhole) listeners.onClosed?.(said);
    });
    await answer(asked, reply, listeners);
  });
}
