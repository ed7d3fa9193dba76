import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

const head = { id: "chatcmpl-burst", object: "chat.completion.chunk", created: 1_700_000_000, model: "burst" };
const usage = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 };

/** What the model answers to a message. */
export function answerTo(message: string): string {
  return `this is the answer to ${message}`;
}

/** A model on loopback that sees which questions of a conversation are open at once. Messages begin with the conversation's name: `c1 …`. */
export interface BurstModel {
  readonly url: string;
  /** Questions so far. */
  readonly asked: number;
  /** Questions that came while another one of their conversation was open. */
  readonly overlaps: readonly string[];
  /** Keeps questions of a conversation unanswered until the returned function is called. */
  hold(conversation: string): () => void;
  /** From now on so many milliseconds lie between two words. */
  pace(ms: number): void;
  close(): Promise<void>;
}

/** Starts the model, which says a word each 10 ms. */
export async function startBurstModel(): Promise<BurstModel> {
  let wordMs = 10;
  const open = new Map<string, number>();
  const gates = new Map<string, Promise<void>>();
  const overlaps: string[] = [];
  let asked = 0;

  async function answer(response: ServerResponse, said: string): Promise<void> {
    const conversation = said.split(" ", 1)[0] ?? "";
    asked += 1;
    const others = open.get(conversation) ?? 0;
    if (others > 0) overlaps.push(said);
    open.set(conversation, others + 1);
    // Closed by the driver's end as well as by ours.
    response.once("close", () => open.set(conversation, (open.get(conversation) ?? 1) - 1));
    await gates.get(conversation);
    response.writeHead(200, { "content-type": "text/event-stream" });
    const send = (delta: object, finish: string | null = null) =>
      response.write(`data: ${JSON.stringify({ ...head, choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`);
    for (const [index, word] of answerTo(said).split(" ").entries()) {
      if (response.destroyed) return;
      send({ content: index === 0 ? word : ` ${word}` });
      await delay(wordMs);
    }
    send({}, "stop");
    response.end(`data: ${JSON.stringify({ ...head, choices: [], usage })}\n\ndata: [DONE]\n\n`);
  }

  const server = createServer(async (request, response) => {
    response.on("error", () => {});
    try {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const { messages } = JSON.parse(Buffer.concat(chunks).toString("utf8")) as {
        messages: { role: string; content: string }[];
      };
      await answer(response, messages.findLast(({ role }) => role === "user")?.content ?? "");
    } catch {
      // The driver has gone.
      response.destroy();
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get asked() {
      return asked;
    },
    overlaps,
    hold(conversation) {
      const gate = Promise.withResolvers<void>();
      gates.set(conversation, gate.promise);
      return () => {
        gates.delete(conversation);
        gate.resolve();
      };
    },
    pace(ms) {
      wordMs = ms;
    },
    async close() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
