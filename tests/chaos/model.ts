import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { answerOf, scriptOf } from "./scenario.ts";

interface ModelMessage {
  readonly role: string;
  readonly content: string | null;
}

/** A model that answers each message by the script that it carries: the same question has the same answer, however often it is asked. */
export interface ChaosModel {
  readonly url: string;
  /** Questions so far. */
  readonly asked: () => number;
  close(): Promise<void>;
}

const head = { id: "chatcmpl-chaos", object: "chat.completion.chunk", created: 1_700_000_000, model: "chaos" };

function frame(delta: object, finish: string | null = null): string {
  return `data: ${JSON.stringify({ ...head, choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
}

/** What the model streams for a conversation, piece by piece. */
function piecesFor(messages: readonly ModelMessage[], effectUrl: string): string[] {
  const at = messages.findLastIndex((message) => message.role === "user");
  const script = scriptOf(messages[at]?.content ?? "");
  if (script === undefined) return [frame({ content: "no script" }), frame({}, "stop")];
  // Each round of calls is one message of the assistant.
  const done = messages.slice(at + 1).filter((message) => message.role === "assistant").length;
  const round = script.rounds[done];
  if (round !== undefined) {
    const args = JSON.stringify({ url: effectUrl, ms: script.ms });
    const calls = round.map((name, index) =>
      frame({
        tool_calls: [{ index, id: `m${script.number}r${done}c${index}`, type: "function", function: { name, arguments: args } }],
      }),
    );
    return [...calls, frame({}, "tool_calls")];
  }
  const words = answerOf(script).split(" ");
  return [...words.map((word, index) => frame({ content: index === 0 ? word : ` ${word}` })), frame({}, "stop")];
}

async function stream(response: ServerResponse, pieces: readonly string[]): Promise<void> {
  response.writeHead(200, { "content-type": "text/event-stream" });
  for (const [index, piece] of pieces.entries()) {
    if (response.destroyed) return;
    response.write(piece);
    if (index % 4 === 3) await delay(5);
  }
  const usage = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 };
  response.end(`data: ${JSON.stringify({ ...head, choices: [], usage })}\n\ndata: [DONE]\n\n`);
}

/** Starts the model on loopback. */
export async function startChaosModel(effectUrl: string): Promise<ChaosModel> {
  let asked = 0;
  const server = createServer(async (request, response) => {
    response.on("error", () => {});
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer);
      asked += 1;
      const { messages } = JSON.parse(Buffer.concat(chunks).toString("utf8")) as { messages: ModelMessage[] };
      await stream(response, piecesFor(messages, effectUrl));
    } catch {
      // The client is gone, killed in the middle of its question.
      response.destroy();
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked: () => asked,
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}
