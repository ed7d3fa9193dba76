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

async function answer(response: ServerResponse, { stream, messages }: Asked): Promise<void> {
  const at = messages.findLastIndex((message) => message.role === "user");
  const said = messages[at]?.content ?? "";
  const count = Number(/^say (\d+)$/.exec(said)?.[1] ?? 1);
  if (!stream) {
    const message = { role: "assistant", content: words(count).join(" ") };
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
    for (const [index, word] of words(count).entries()) {
      if (response.destroyed) return;
      send({ content: index === 0 ? word : ` ${word}` });
      if (count > 1) await delay(wordMs);
    }
  }
  send({}, isCalling ? "tool_calls" : "stop");
  response.end(`data: ${JSON.stringify({ ...head, choices: [], usage })}\n\ndata: [DONE]\n\n`);
}

/** A model on loopback: `say N` has it say N words, one each 50 ms; `use a tool` has it calculate first; anything else is answered at once. */
export async function startPacedModel(): Promise<{ url: string; close(): Promise<void> }> {
  const server = createServer(async (request, response) => {
    response.on("error", () => {});
    try {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      await answer(response, JSON.parse(Buffer.concat(chunks).toString("utf8")) as Asked);
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
