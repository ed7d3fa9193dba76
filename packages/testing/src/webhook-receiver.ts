import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A received message. */
export interface ReceivedMessage {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** The body, byte for byte. */
  readonly body: string;
  /** The body, parsed. */
  readonly json: { type: string; timestamp: string; data: Record<string, string> };
}

/** Answers a message; without an answer, the request stays open. */
export type Receive = (message: ReceivedMessage, response: ServerResponse) => void;

/** A receiver of webhooks on loopback. */
export interface WebhookReceiver {
  /** `127.0.0.1:port` */
  readonly host: string;
  readonly url: string;
  /** All messages so far. */
  readonly received: readonly ReceivedMessage[];
  /** Sets the answer to further messages; 204 until then. */
  answer(receive: Receive): void;
  /** The messages selected by `which`, once there are `count`; rejects after ten seconds. */
  arrived(count: number, which?: (message: ReceivedMessage) => boolean): Promise<ReceivedMessage[]>;
  close(): Promise<void>;
}

/** Starts a receiver. */
export async function startWebhookReceiver(): Promise<WebhookReceiver> {
  const received: ReceivedMessage[] = [];
  const watchers = new Set<() => void>();
  let receive: Receive = (_message, response) => response.writeHead(204).end();
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString("utf8");
    const message = {
      path: request.url ?? "",
      headers: request.headers as Record<string, string>,
      body,
      json: JSON.parse(body),
    };
    received.push(message);
    receive(message, response);
    for (const watcher of watchers) watcher();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    host,
    url: `http://${host}/hook`,
    received,
    answer(next) {
      receive = next;
    },
    async arrived(count, which = () => true) {
      const { promise, resolve, reject } = Promise.withResolvers<ReceivedMessage[]>();
      const watcher = () => {
        const found = received.filter(which);
        if (found.length >= count) resolve(found);
      };
      const timer = setTimeout(() => {
        const found = received.filter(which).length;
        reject(new Error(`${found} of ${count} messages arrived within ten seconds`));
      }, 10_000);
      watchers.add(watcher);
      watcher();
      return promise.finally(() => {
        clearTimeout(timer);
        watchers.delete(watcher);
      });
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
