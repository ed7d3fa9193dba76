import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type Call, checkRequest, lastText, type Refusal, type StrictRequest } from "./strict-request.ts";

/** The key that the endpoint accepts. */
export const endpointKey = "sk-endpoint-0123456789";

const usage = {
  prompt_tokens: 19,
  completion_tokens: 10,
  total_tokens: 29,
  prompt_tokens_details: { cached_tokens: 3, audio_tokens: 0 },
  completion_tokens_details: {
    reasoning_tokens: 2,
    audio_tokens: 0,
    accepted_prediction_tokens: 0,
    rejected_prediction_tokens: 0,
  },
};

/** Models that refuse, in OpenAI's words: `name`, or `name of client`, so that each client has a breaker of its own. */
const refusals: Readonly<Record<string, Refusal>> = {
  "no-such-model": {
    status: 404,
    message: "The model `no-such-model` does not exist or you do not have access to it.",
    type: "invalid_request_error",
    code: "model_not_found",
  },
  overflowing: {
    status: 400,
    message: "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.",
    type: "invalid_request_error",
    param: "messages",
    code: "context_length_exceeded",
  },
  unpaid: {
    status: 429,
    message: "You exceeded your current quota, please check your plan and billing details.",
    type: "insufficient_quota",
    code: "insufficient_quota",
  },
  crowded: {
    status: 429,
    message: "Rate limit reached for requests. Please try again in 1h.",
    type: "requests",
    code: "rate_limit_exceeded",
    headers: { "retry-after": "3600" },
  },
  unprocessable: { status: 422, message: "The image could not be read.", type: "invalid_request_error", param: "messages" },
};
const busy: Refusal = {
  status: 429,
  message: "Rate limit reached for requests. Please try again in 1s.",
  type: "requests",
  code: "rate_limit_exceeded",
  headers: { "retry-after": "1" },
};

/** A model endpoint that refuses what OpenAI refuses and answers in OpenAI's shapes. */
export interface StrictEndpoint {
  /** `http://127.0.0.1:port/v1` */
  readonly url: string;
  /** The requests served, with those refused by a model's name. */
  readonly requests: readonly StrictRequest[];
  /** Refusals of malformed requests. */
  readonly faults: readonly Refusal[];
  /** Models whose names begin with `busy` and that refuse no more. */
  readonly free: Set<string>;
  /** Resolves when a request for an answer without an end has arrived; such models begin with `endless`. */
  asked(model: string): Promise<unknown>;
  /** Resolves when the client of that answer has left. */
  left(model: string): Promise<unknown>;
  close(): Promise<void>;
}

/**
 * Says something to a request: "calculate X" calls the server's calculator, a tool that the last user names is called,
 * results are repeated, a schema gets its instance, "endless" never ends, everything else is echoed.
 */
function answerTo(request: StrictRequest): { text?: string; calls?: Call[] } {
  const words = lastText(request, "user");
  if (request.messages.at(-1)?.role === "tool") return { text: `The tool says: ${lastText(request, "tool")}` };
  const names = (request.tools ?? []).map((tool) => tool.function?.name ?? "");
  const call = (name: string, args: object): Call => ({
    id: `call_${"0".repeat(20)}${request.messages.length}`,
    type: "function",
    function: { name, arguments: JSON.stringify(args) },
  });
  const expression = /^calculate (.+)$/i.exec(words)?.[1];
  if (expression !== undefined && names.includes("calculator"))
    return { text: "One moment. ", calls: [call("calculator", { expression })] };
  const named = names.find((name) => words.includes(name));
  if (named !== undefined) return { calls: [call(named, { city: "Paris" })] };
  if (request.response_format?.type === "json_schema") return { text: '{"city":"Paris","degrees":24}' };
  if (request.response_format?.type === "json_object") return { text: '{"json":true}' };
  return { text: `You said: ${words}` };
}

function head(request: StrictRequest) {
  return { id: "chatcmpl-BXyz0123", created: 1_700_000_000, model: `${request.model}-2026-01-01`, service_tier: "default" };
}

function whole(request: StrictRequest): string {
  const { text, calls } = answerTo(request);
  const message = {
    role: "assistant",
    content: text ?? null,
    refusal: null,
    annotations: [],
    ...(calls && { tool_calls: calls }),
  };
  const choices = [{ index: 0, message, logprobs: null, finish_reason: calls === undefined ? "stop" : "tool_calls" }];
  return JSON.stringify({ ...head(request), object: "chat.completion", choices, usage, system_fingerprint: "fp_44709d6fcb" });
}

/** The frames of a stream, as OpenAI cuts them. */
function frames(request: StrictRequest): string[] {
  const { text, calls } = answerTo(request);
  const withUsage = request.stream_options?.include_usage === true;
  const envelope = { ...head(request), object: "chat.completion.chunk", system_fingerprint: "fp_44709d6fcb" };
  const event = (choices: object[], counted: object | null = null) =>
    `data: ${JSON.stringify({ ...envelope, choices, ...(withUsage ? { usage: counted } : {}), obfuscation: "a1B2c3" })}\n\n`;
  const delta = (value: object, finish: string | null = null) =>
    event([{ index: 0, delta: value, logprobs: null, finish_reason: finish }]);
  const pieces = text?.match(/\s*\S+\s*$|\s*\S+/g) ?? [];
  const out = [delta({ role: "assistant", content: text === undefined ? null : "", refusal: null })];
  out.push(...pieces.map((piece) => delta({ content: piece })));
  for (const [index, call] of (calls ?? []).entries()) {
    const { name, arguments: args } = call.function;
    out.push(delta({ tool_calls: [{ index, id: call.id, type: "function", function: { name, arguments: "" } }] }));
    for (const piece of args.match(/.{1,5}/gs) ?? [])
      out.push(delta({ tool_calls: [{ index, function: { arguments: piece } }] }));
  }
  out.push(delta({}, calls === undefined ? "stop" : "tool_calls"));
  if (withUsage) out.push(event([], usage));
  out.push("data: [DONE]\n\n");
  return out;
}

function send(response: ServerResponse, { status, headers, message, type, param, code }: Refusal): void {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  const error = { message, type: type ?? "invalid_request_error", param: param ?? null, code: code ?? null };
  response.end(JSON.stringify({ error }));
}

/** Starts the endpoint on loopback. */
export async function startStrictEndpoint(models: readonly string[]): Promise<StrictEndpoint> {
  const requests: StrictRequest[] = [];
  const faults: Refusal[] = [];
  const free = new Set<string>();
  const endless = new Map<string, PromiseWithResolvers<ServerResponse>>();
  const endlessOf = (name: string) => {
    const known = endless.get(name) ?? Promise.withResolvers<ServerResponse>();
    endless.set(name, known);
    return known;
  };

  const refusalOf = ({ model }: StrictRequest): Refusal | undefined => {
    const [name = ""] = model.split(" of ", 1);
    if (Object.hasOwn(refusals, name)) return refusals[name];
    return model.startsWith("busy") && !free.has(model) ? busy : undefined;
  };

  const complete = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const checked = checkRequest(Buffer.concat(chunks).toString("utf8"));
    if ("refusal" in checked) {
      faults.push(checked.refusal);
      return send(response, checked.refusal);
    }
    const { request } = checked;
    requests.push(request);
    const refused = refusalOf(request);
    if (refused !== undefined) return send(response, refused);
    if (!request.stream) {
      response.writeHead(200, { "content-type": "application/json" });
      if (request.model.startsWith("endless")) endlessOf(request.model).resolve(response);
      else response.end(whole(request));
      return;
    }
    response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
    const all = frames(request);
    if (!request.model.startsWith("endless")) {
      response.end(all.join(""));
      return;
    }
    endlessOf(request.model).resolve(response);
    response.write(all.slice(0, 2).join(""));
  };

  const server = createServer((incoming, response) => {
    response.on("error", () => {});
    if (incoming.headers.authorization !== `Bearer ${endpointKey}`) {
      send(response, { status: 401, message: "Incorrect API key provided.", code: "invalid_api_key" });
    } else if (incoming.method === "GET") {
      const data = models.map((id) => ({ id, object: "model", created: 1_700_000_000, owned_by: "strict" }));
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ object: "list", data }));
    } else void complete(incoming, response).catch(() => response.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    requests,
    faults,
    free,
    asked: (name) => endlessOf(name).promise,
    async left(name) {
      const response = await endlessOf(name).promise;
      if (!response.destroyed) await once(response, "close");
    },
    async close() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
