import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** An OpenAI request, as far as the model reads it. */
export interface AskedCompletion {
  readonly stream?: boolean;
  readonly messages: readonly { role: string; content: string | null }[];
}

/** A model endpoint on loopback. */
export interface ModelServer {
  readonly url: string;
  /** Closes the server and all connections. */
  close(): Promise<void>;
}

const usage = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 };

/** The user's last message in the request; empty when there is none. */
export function askedFor({ messages }: AskedCompletion): string {
  return messages.findLast(({ role }) => role === "user")?.content ?? "";
}

/** The response to one request. */
export class ModelReply {
  readonly #response: ServerResponse;
  readonly #head: { id: string; created: number; model: string };

  constructor(response: ServerResponse, model: string) {
    this.#response = response;
    this.#head = { id: `chatcmpl-${model}`, created: 1_700_000_000, model };
  }

  /** Whether the client has disconnected. */
  get isLeft(): boolean {
    return this.#response.destroyed;
  }

  /**
   * Called when the connection closes, at the latest with the server; `isWhole` tells whether the response had ended.
   */
  onClosed(callback: (isWhole: boolean) => void): void {
    this.#response.once("close", () => callback(this.#response.writableFinished));
  }

  /**
   * Streams one chunk. Returns a promise when the client is behind: it settles when the client has read or
   * disconnected.
   */
  send(delta: object, finishReason: string | null = null): Promise<unknown> | undefined {
    this.begin();
    const chunk = { ...this.#head, object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason: finishReason }] };
    if (this.#response.write(`data: ${JSON.stringify(chunk)}\n\n`)) return undefined;
    const { promise, resolve } = Promise.withResolvers<void>();
    const done = () => {
      this.#response.off("drain", done);
      this.#response.off("close", done);
      resolve();
    };
    this.#response.once("drain", done).once("close", done);
    return promise;
  }

  /** Sends the head of a stream, once. */
  begin(): void {
    if (!this.#response.headersSent) this.#response.writeHead(200, { "content-type": "text/event-stream" });
  }

  /** Ends the stream. */
  end(finishReason = "stop"): void {
    void this.send({}, finishReason);
    const chunk = { ...this.#head, object: "chat.completion.chunk", choices: [], usage };
    this.#response.end(`data: ${JSON.stringify(chunk)}\n\ndata: [DONE]\n\n`);
  }

  /** Sends the complete response at once. */
  whole(content: string): void {
    const choices = [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }];
    this.#response.writeHead(200, { "content-type": "application/json" });
    this.#response.end(JSON.stringify({ ...this.#head, object: "chat.completion", choices, usage }));
  }
}

/** Starts a model whose responses come from a function; an exception closes the connection. */
export async function startModelServer(
  name: string,
  answer: (asked: AskedCompletion, reply: ModelReply) => Promise<void>,
): Promise<ModelServer> {
  const server = createServer(async (request, response) => {
    response.on("error", () => {});
    try {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      await answer(JSON.parse(Buffer.concat(chunks).toString("utf8")) as AskedCompletion, new ModelReply(response, name));
    } catch {
      // The client has disconnected.
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
