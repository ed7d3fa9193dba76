import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { AskedBody } from "@turnwright/testing/mock-model/asked";

/** A request that the endpoint has received. */
export interface Received {
  readonly body: AskedBody;
  readonly bytes: Buffer;
  readonly headers: IncomingHttpHeaders;
  /** Milliseconds of a monotonic clock. */
  readonly at: number;
  /** Resolves when the connection closes; true when that was before the end of the answer. */
  readonly left: Promise<boolean>;
}

/** An answer: an object, the events of a stream (texts go out as they are), or bytes. */
export interface Sent {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly json?: unknown;
  readonly events?: readonly unknown[];
  /** Default true. */
  readonly isDoneSent?: boolean;
  readonly raw?: string | Uint8Array;
}

/** Answers a request; undefined: it writes to the response itself. */
export type Script = (body: AskedBody, response: ServerResponse) => Sent | undefined;

/** An endpoint whose script a test replaces. */
export interface ScriptedEndpoint {
  readonly url: string;
  readonly received: Received[];
  script: Script;
  /** Requests whose newest user message is this. */
  about(message: string): Received[];
  close(): Promise<void>;
}

const head = { id: "chatcmpl-1", created: 1_700_000_000, model: "mock" };
export const told = { prompt_tokens: 10, completion_tokens: 2, total_tokens: 12 };

/** A chunk with one delta. */
export const chunk = (delta: unknown, finish_reason: string | null = null, more: object = {}) => ({
  ...head,
  object: "chat.completion.chunk",
  choices: [{ index: 0, delta, finish_reason }],
  ...more,
});

/** The chunk with the counts. */
export const usageChunk = (usage: unknown = told) => ({ ...chunk({}), choices: [], usage });

/** A completion with one message. */
export const completion = (message: object, finish_reason = "stop", more: object = {}) => ({
  ...head,
  object: "chat.completion",
  choices: [{ index: 0, message: { role: "assistant", content: null, ...message }, finish_reason }],
  usage: told,
  ...more,
});

/** A call of a tool; the arguments are JSON text. */
export const callOf = (id: string, name: string, args: string) => ({ id, type: "function", function: { name, arguments: args } });

/** A good answer with text, in the form that was asked for. */
export const says = (body: AskedBody, content: string): Sent =>
  body.stream
    ? { events: [chunk({ role: "assistant", content: "" }), chunk({ content }), chunk({}, "stop"), usageChunk()] }
    : { json: completion({ content }) };

/** A good answer with calls. */
export const calls = (body: AskedBody, tool_calls: readonly object[], finish = "tool_calls"): Sent =>
  body.stream
    ? {
        events: [
          chunk({ role: "assistant", content: null, tool_calls: tool_calls.map((call, index) => ({ index, ...call })) }),
          chunk({}, finish),
          usageChunk(),
        ],
      }
    : { json: completion({ tool_calls }, finish) };

/** An error in OpenAI's form. */
export const refuses = (status: number, error: object, headers: Record<string, string> = {}): Sent => ({
  status,
  headers,
  json: { error: { type: "invalid_request_error", param: null, code: null, ...error } },
});

/** Whether the last message is a tool's result. */
export const isAnswered = (body: AskedBody) => body.messages.at(-1)?.role === "tool";

/** The text of the newest user message. */
export const askedIn = (body: AskedBody) => String(body.messages.findLast(({ role }) => role === "user")?.content ?? "");

/** The results that the model reads after the newest user message. */
export const resultsIn = (body: AskedBody | undefined) => {
  const messages = body?.messages ?? [];
  const newest = messages.slice(messages.findLastIndex(({ role }) => role === "user") + 1);
  return newest.filter(({ role }) => role === "tool").map(({ content }) => String(content));
};

/** The bytes of a stream of events. */
export const framesOf = (events: readonly unknown[], isDoneSent = true) =>
  events.map((event) => (typeof event === "string" ? event : `data: ${JSON.stringify(event)}\n\n`)).join("") +
  (isDoneSent ? "data: [DONE]\n\n" : "");

function send(response: ServerResponse, sent: Sent): void {
  const { status = 200, headers = {}, json, events, isDoneSent, raw } = sent;
  if (events !== undefined) {
    response.writeHead(status, { "content-type": "text/event-stream", ...headers });
    response.end(framesOf(events, isDoneSent));
  } else if (json !== undefined) {
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(JSON.stringify(json));
  } else {
    response.writeHead(status, headers);
    response.end(raw ?? "");
  }
}

/** Starts the endpoint on loopback. Until a test gives it a script, it says "ok". */
export async function startScriptedEndpoint(): Promise<ScriptedEndpoint> {
  const received: Received[] = [];
  const endpoint = { script: (body: AskedBody) => says(body, "ok") } as { script: Script };
  const server = createServer(async (request, response) => {
    response.on("error", () => {});
    const left = new Promise<boolean>((resolve) => response.once("close", () => resolve(!response.writableFinished)));
    try {
      const parts: Buffer[] = [];
      for await (const part of request) parts.push(part as Buffer);
      if (request.method === "GET") return send(response, { json: { object: "list", data: [{ id: "mock", object: "model" }] } });
      const bytes = Buffer.concat(parts);
      const body = JSON.parse(bytes.toString("utf8")) as AskedBody;
      received.push({ body, bytes, headers: request.headers, at: performance.now(), left });
      const sent = endpoint.script(body, response);
      if (sent !== undefined) send(response, sent);
    } catch {
      response.destroy();
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return Object.assign(endpoint, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received,
    about: (message: string) => received.filter(({ body }) => askedIn(body) === message),
    async close() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  });
}
