import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

const head = { id: "chatcmpl-paced", object: "chat.completion.chunk", created: 1_700_000_000, model: "paced" };
const usage = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 };
const wordMs = 50;

interface Asked {
  readonly stream?: boolean;
  readonly messages: readonly { role: string; content: string | null }[];
}

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

async function answer(
  response: ServerResponse,
  { stream, messages }: Asked,
  { beforePouring, beforeEnding, pourMs = 1 }: ModelListeners,
): Promise<void> {
  const at = messages.findLastIndex((message) => message.role === "user");
  const said = messages[at]?.content ?? "";
  if (said.startsWith("hold")) return;
  if (!stream) {
    const message = { role: "assistant", content: [...spoken(said)].map(({ text }) => text).join("") };
    const choices = [{ index: 0, message, finish_reason: "stop" }];
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ ...head, object: "chat.completion", choices, usage }));
    return;
  }
  response.writeHead(200, { "content-type": "text/event-stream" });
  const send = (delta: object, finish: string | null = null) =>
    response.write(`data: ${JSON.stringify({ ...head, choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`);
  const isCalling = said === "use a tool" && messages[at + 1] === undefined;
  if (isCalling) {
    const call = { name: "calculator", arguments: '{"expression":"6*7"}' };
    send({ tool_calls: [{ index: 0, id: "call_1", type: "function", function: call }] });
  } else {
    for (const { text, pauseMs, isPoured } of spoken(said)) {
      if (response.destroyed) return;
      if (!send({ content: text })) await Promise.race([once(response, "drain"), once(response, "close")]);
      const waitMs = isPoured ? pourMs : pauseMs;
      if (waitMs > 0) await delay(waitMs);
      if (isPoured) await beforePouring?.();
    }
    if (said.startsWith("pour")) await beforeEnding?.();
  }
  send({}, isCalling ? "tool_calls" : "stop");
  response.end(`data: ${JSON.stringify({ ...head, choices: [], usage })}\n\ndata: [DONE]\n\n`);
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
  #passage = Promise.withResolvers<void>();
  /** Those that it holds back. */
  waiting = 0;

  constructor() {
    this.open();
  }

  open(): void {
    this.#passage.resolve();
  }

  close(): void {
    this.#passage = Promise.withResolvers();
  }

  /** Resolves when it is open. */
  async passed(): Promise<void> {
    this.waiting += 1;
    await this.#passage.promise;
    this.waiting -= 1;
  }
}

/** A model that listens on loopback. */
export interface PacedModel {
  readonly url: string;
  close(): Promise<void>;
}

/**
 * A model on loopback: `say N` has it say N words, one each 50 ms; `pour N` pieces of 6 KiB, one each `pourMs`, if they are read as fast; `hold` nothing at
 * all, for ever; `use a tool` has it calculate first; anything else is answered at once. What follows behind a space distinguishes requests.
 */
export async function startPacedModel(listeners: ModelListeners = {}): Promise<PacedModel> {
  const server = createServer(async (request, response) => {
    response.on("error", () => {});
    try {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const asked = JSON.parse(Buffer.concat(chunks).toString("utf8")) as Asked;
      const said = asked.messages.findLast((message) => message.role === "user")?.content ?? "";
      listeners.onAsked?.(said);
      response.once("close", () => {
        if (!response.writableFinished) listeners.onClosed?.(said);
      });
      await answer(response, asked, listeners);
    } catch {
      // The client has gone.
      response.destroy();
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
