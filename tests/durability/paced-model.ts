import { setTimeout as delay } from "node:timers/promises";
import {
  type AskedCompletion,
  askedFor,
  type ModelReply,
  type ModelServer,
  startModelServer,
} from "@turnwright/testing/model-server";

const wordMs = 50;

/** The words of the reply to `say <count>`. */
export function words(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `word${index}`);
}

/** Characters per piece of a reply to `pour`. */
const pourUnits = 1_024;

/**
 * One piece of a poured reply, unique; JSON encodes each character in six bytes, so streams are large while records are
 * not.
 */
function poured(index: number): string {
  return `[${index}]`.padEnd(pourUnits, "\u0001");
}

/** The whole reply to `pour <pieces>`. */
export function pouredText(pieces: number): string {
  return Array.from({ length: pieces }, (_, index) => poured(index)).join("");
}

/** The part of a reply that one answer has: words, or pieces from `first` to before `next` of `count`. */
interface Share {
  readonly isPoured: boolean;
  readonly first: number;
  readonly next: number;
  readonly count: number;
}

/** An answer after a calculation goes on from its result. */
function shareOf({ messages, ...asked }: AskedCompletion): Share {
  const [, verb, number, most] = /^(say|pour) (\d+)(?: by (\d+))?/.exec(askedFor({ messages, ...asked })) ?? [];
  const count = Number(number ?? 1);
  const last = messages.at(-1);
  const first = most !== undefined && last?.role === "tool" ? Number(/\d+/.exec(last.content ?? "")?.[0]) : 0;
  return { isPoured: verb === "pour", first, next: Math.min(count, first + Number(most ?? count)), count };
}

function* spoken({ isPoured, first, next, count }: Share): Generator<{ text: string; pauseMs: number }> {
  for (let index = first; index < next; index += 1) {
    if (isPoured) yield { text: poured(index), pauseMs: 0 };
    else yield { text: index === 0 ? "word0" : ` word${index}`, pauseMs: count > 1 ? wordMs : 0 };
  }
}

function request(reply: ModelReply, called: { name: string; arguments: string }): void {
  void reply.send({ tool_calls: [{ index: 0, id: "call_1", type: "function", function: called }] });
  reply.end("tool_calls");
}

function calculate(reply: ModelReply, expression: string): void {
  request(reply, { name: "calculator", arguments: JSON.stringify({ expression }) });
}

function toolCallOf(said: string): { name: string; arguments: string } | undefined {
  if (said === "use a tool") return { name: "calculator", arguments: '{"expression":"6*7"}' };
  const [, body, url] = /^post (\S+) to (\S+)$/.exec(said) ?? [];
  if (url === undefined) return undefined;
  return { name: "http_request", arguments: JSON.stringify({ method: "POST", url, body }) };
}

/** Answers a request as the paced model does. */
export async function pacedAnswer(asked: AskedCompletion, reply: ModelReply, listeners: ModelListeners = {}): Promise<void> {
  const { beforePouring, beforeEnding, pourMs = 1 } = listeners;
  const said = askedFor(asked);
  if (said.startsWith("hold")) return;
  const share = shareOf(asked);
  if (!asked.stream) {
    reply.whole([...spoken(share)].map(({ text }) => text).join(""));
    return;
  }
  const call = asked.messages.at(-1)?.role === "user" ? toolCallOf(said) : undefined;
  if (call !== undefined) {
    request(reply, call);
    return;
  }
  for (const { text, pauseMs } of spoken(share)) {
    if (reply.isLeft) return;
    await reply.send({ content: text });
    const waitMs = share.isPoured ? pourMs : pauseMs;
    if (waitMs > 0) await delay(waitMs);
    if (share.isPoured) await beforePouring?.();
  }
  if (share.next < share.count) {
    calculate(reply, `${share.next}+0`);
    return;
  }
  if (share.isPoured) await beforeEnding?.();
  reply.end();
}

/** Hooks into the model's replies. */
export interface ModelListeners {
  /** Called with each question. */
  onAsked?(said: string): void;
  /** Called with the question when its caller closes the connection before the end of the reply. */
  onClosed?(said: string): void;
  /** Holds a poured reply after its first piece until it resolves. */
  beforePouring?(): Promise<void>;
  /** Holds a poured reply after its last piece, before its end. */
  beforeEnding?(): Promise<void>;
  /** Milliseconds between two pieces of a poured reply; default 1. */
  readonly pourMs?: number;
}

/** Holds replies while it is closed. */
export class PourGate {
  readonly #held: (() => void)[] = [];
  #isClosed = false;

  /** Number of replies that it holds. */
  get waiting(): number {
    return this.#held.length;
  }

  /** Releases all held replies, or one after another, `pauseMs` apart. */
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

  /** Resolves once it is open. */
  async passed(): Promise<void> {
    if (this.#isClosed) await new Promise<void>((resolve) => this.#held.push(resolve));
  }
}

/**
 * A model on loopback. `say N` gets N words, one every 50 ms; `pour N` gets N pieces of 6 KiB, one every `pourMs` if
 * read that fast; `pour N by M` gets them in answers of M pieces with a calculation between; `hold` never gets an
 * answer; `use a tool` gets a calculation first, `post BODY to URL` a request that needs approval; all other messages
 * are answered at once. Text after a further space makes requests distinct.
 */
export function startPacedModel(listeners: ModelListeners = {}): Promise<ModelServer> {
  return startModelServer("paced", async (asked, reply) => {
    const said = askedFor(asked);
    listeners.onAsked?.(said);
    reply.onClosed((isWhole) => {
      if (!isWhole) listeners.onClosed?.(said);
    });
    await pacedAnswer(asked, reply, listeners);
  });
}
