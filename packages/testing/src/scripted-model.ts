import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** Token counts of a scripted reply, in OpenAI's format. */
export interface ScriptedUsage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
}

/** A call in a scripted reply; `arguments` is JSON text. */
export interface ScriptedCall {
  id: string;
  name: string;
  arguments: string;
}

/** One response of the scripted model. The request chooses whether it is streamed. */
export interface ScriptedReply {
  /** Streamed word by word. */
  text?: string;
  calls?: readonly ScriptedCall[];
  /** Default: `tool_calls` with calls, else `stop`; null: the response never finishes. */
  finishReason?: string | null;
  /** Default: 10 + 5 tokens; null: no usage is reported. */
  usage?: ScriptedUsage | null;
  id?: string;
  model?: string;
  /** Default 200. Any other status sends `error` instead of a completion. */
  status?: number;
  headers?: Record<string, string>;
  /** The message in an error body. */
  error?: string;
  /** Sent unchanged, in these pieces, instead of a completion. */
  raw?: readonly (string | Uint8Array)[];
  contentType?: string;
  /** Uses CR LF line endings. */
  crlf?: boolean;
  /** Omits `[DONE]`. */
  withoutDone?: boolean;
  /** Delays the response, headers included, until this resolves. */
  beforeHeaders?: Promise<unknown>;
  /** Sends this many pieces, then waits for the gate. */
  pauseAfter?: { pieces: number; gate: Promise<unknown> };
  /** Cuts the connection after this many pieces. */
  cutAfter?: number;
}

/** A recorded request to the model. */
export interface ScriptedRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** The body as received; empty for GET. */
  readonly bytes: Buffer;
  /** The body as JSON. */
  readonly body: Record<string, unknown> & { messages: { role: string; [field: string]: unknown }[] };
  /** Resolves when the connection closes; true when the client disconnected before the response ended. */
  readonly aborted: Promise<boolean>;
}

/** A model endpoint of a test. */
export interface ScriptedModel {
  /** `http://127.0.0.1:port`, without `/v1`. */
  readonly url: string;
  /** The requests so far, in order. */
  readonly requests: readonly ScriptedRequest[];
  /** Adds replies; each answers one request, in order. Further requests get status 500, or the reply of `answer`. */
  reply(...replies: ScriptedReply[]): void;
  /** Resolves with the request of this index once it has arrived. */
  request(index: number): Promise<ScriptedRequest>;
  /** Closes the server and every connection. */
  close(): Promise<void>;
}

/** The pieces of a streamed reply, one frame each. */
export function streamedFrames(reply: ScriptedReply): string[] {
  const end = reply.crlf ? "\r\n\r\n" : "\n\n";
  const head = {
    id: reply.id ?? "chatcmpl-scripted",
    object: "chat.completion.chunk",
    created: 1_700_000_000,
    model: reply.model ?? "scripted",
  };
  const chunk = (delta: object, finish: string | null = null) =>
    `data: ${JSON.stringify({ ...head, choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }] })}${end}`;
  const frames = [chunk({ role: "assistant", content: "" })];
  for (const word of reply.text?.match(/\s*\S+|\s+/g) ?? []) frames.push(chunk({ content: word }));
  for (const [index, call] of (reply.calls ?? []).entries()) {
    const half = Math.ceil(call.arguments.length / 2);
    const piece = (args: string) => ({ function: { arguments: args } });
    frames.push(chunk({ tool_calls: [{ index, id: call.id, type: "function", function: { name: call.name, arguments: "" } }] }));
    frames.push(chunk({ tool_calls: [{ index, ...piece(call.arguments.slice(0, half)) }] }));
    frames.push(chunk({ tool_calls: [{ index, ...piece(call.arguments.slice(half)) }] }));
  }
  if (reply.finishReason !== null) frames.push(chunk({}, finishReasonOf(reply)));
  const usage = usageOf(reply);
  if (usage !== null) frames.push(`data: ${JSON.stringify({ ...head, choices: [], usage })}${end}`);
  if (!reply.withoutDone) frames.push(`data: [DONE]${end}`);
  return frames;
}

/** The body of a whole reply. */
export function wholeCompletion(reply: ScriptedReply): string {
  const calls = reply.calls?.map(({ id, name, arguments: args }) => ({
    id,
    type: "function",
    function: { name, arguments: args },
  }));
  const message = { role: "assistant", content: reply.text ?? null, ...(calls === undefined ? {} : { tool_calls: calls }) };
  const usage = usageOf(reply);
  return JSON.stringify({
    id: reply.id ?? "chatcmpl-scripted",
    object: "chat.completion",
    created: 1_700_000_000,
    model: reply.model ?? "scripted",
    choices: [{ index: 0, message, finish_reason: finishReasonOf(reply) }],
    ...(usage === null ? {} : { usage }),
  });
}

function finishReasonOf(reply: ScriptedReply): string | null {
  return reply.finishReason === undefined ? (reply.calls === undefined ? "stop" : "tool_calls") : reply.finishReason;
}

function usageOf(reply: ScriptedReply): ScriptedUsage | null {
  return reply.usage === undefined ? { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 } : reply.usage;
}

async function send(response: ServerResponse, reply: ScriptedReply, streamed: boolean): Promise<void> {
  await reply.beforeHeaders;
  if (response.destroyed) return;
  const status = reply.status ?? 200;
  const type = reply.contentType ?? (streamed && status === 200 ? "text/event-stream" : "application/json");
  response.writeHead(status, { "content-type": type, ...reply.headers });
  response.flushHeaders();
  const failure = JSON.stringify({ error: { message: reply.error ?? "scripted failure", type: "scripted" } });
  const pieces = reply.raw ?? (status !== 200 ? [failure] : streamed ? streamedFrames(reply) : [wholeCompletion(reply)]);
  for (const [sent, piece] of pieces.entries()) {
    if (sent === reply.cutAfter) break;
    if (sent === reply.pauseAfter?.pieces) await reply.pauseAfter.gate;
    if (response.destroyed) return;
    // Each piece is flushed separately: the client receives the pieces as scripted.
    await new Promise<void>((resolve) => response.write(piece, () => resolve()));
  }
  if (reply.cutAfter === undefined) response.end();
  else response.destroy();
}

/**
 * Starts a model endpoint on 127.0.0.1 with scripted replies; it also lists `models` under `/v1/models`. `answer`
 * replies to requests beyond the script, for tests with an unknown number of requests.
 */
export async function startScriptedModel(
  options: { models?: readonly string[]; answer?: (request: ScriptedRequest) => ScriptedReply } = {},
): Promise<ScriptedModel> {
  const { answer = () => ({ status: 500, error: "the script has no reply for this request" }) } = options;
  const requests: ScriptedRequest[] = [];
  const replies: ScriptedReply[] = [];
  const waiting: { index: number; resolve: (request: ScriptedRequest) => void }[] = [];

  const server = createServer(async (incoming, response) => {
    const aborted = new Promise<boolean>((resolve) => response.once("close", () => resolve(!response.writableFinished)));
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of incoming) chunks.push(chunk as Buffer);
    } catch {
      return;
    }
    const bytes = Buffer.concat(chunks);
    const body = (bytes.length === 0 ? {} : JSON.parse(bytes.toString("utf8"))) as ScriptedRequest["body"];
    const request = { method: incoming.method ?? "", path: incoming.url ?? "", headers: incoming.headers, bytes, body, aborted };
    requests.push(request);
    for (const { index, resolve } of waiting) if (index < requests.length) resolve(requests[index] as ScriptedRequest);
    if (incoming.method === "GET" && incoming.url?.endsWith("/models") && options.models !== undefined) {
      const data = options.models.map((id) => ({ id, object: "model", created: 1_700_000_000, owned_by: "scripted" }));
      await send(response, { raw: [JSON.stringify({ object: "list", data })] }, false);
      return;
    }
    await send(response, replies.shift() ?? answer(request), body.stream === true);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    reply: (...more) => void replies.push(...more),
    request(index) {
      const request = requests[index];
      if (request !== undefined) return Promise.resolve(request);
      return new Promise((resolve) => waiting.push({ index, resolve }));
    },
    async close() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
