import type { AskedBody } from "./asked.ts";
import type { Draft } from "./draft.ts";

/** A delta or a message; quirks add fields to it and take some away. */
export type Fields = Record<string, unknown>;

/** A choice of a chunk or of a completion. */
export interface Choice extends Fields {
  index: number;
  finish_reason: unknown;
  delta?: Fields | null;
  message?: Fields | null;
}

/** A chunk of a stream, or a completion. */
export interface Answer extends Fields {
  choices: Choice[] | null;
}

/** An answer on its way to the client. Quirks change it in place. */
export interface Reply {
  readonly asked: AskedBody;
  readonly draft: Draft;
  isStreamed: boolean;
  /** A text is sent as it is; an object as one event. */
  events: (Answer | string)[];
  whole: Answer | Fields | readonly unknown[] | string;
  /** `data: [DONE]` ends the stream. */
  isDoneSent: boolean;
  /** The response stays open after its last byte. */
  isLeftOpen: boolean;
  status: number;
  headers: Record<string, string>;
  encoding?: "gzip" | "br" | "deflate";
  /** Writes the events as text; undefined: `data: ` and JSON, LF LF after each. */
  frame?: (event: string) => string;
  /** Text before the first byte. */
  prefix: string;
}

/** The parts of a delta, in the order in which they are sent. */
function deltasOf({ words, calls }: Draft): Fields[] {
  const deltas: Fields[] = [{ role: "assistant", content: calls.length > 0 ? null : "", refusal: null }];
  for (const content of words) deltas.push({ content });
  for (const [index, call] of calls.entries()) {
    const half = Math.ceil(call.arguments.length / 2);
    const piece = (text: string) => ({ tool_calls: [{ index, function: { arguments: text } }] });
    deltas.push({ tool_calls: [{ index, id: call.id, type: "function", function: { name: call.name, arguments: "" } }] });
    deltas.push(piece(call.arguments.slice(0, half)), piece(call.arguments.slice(half)));
  }
  return deltas;
}

/** An answer as OpenAI sends it: a stream when the request asks for one, else a completion. */
export function replyOf(asked: AskedBody, draft: Draft): Reply {
  const isStreamed = asked.stream === true;
  const head = {
    id: draft.id,
    created: 1_700_000_000,
    model: draft.model,
    service_tier: "default",
    system_fingerprint: "fp_mock",
  };
  const told = asked.stream_options?.include_usage === true;
  const chunk = (choices: Choice[], usage: object | null = null): Answer => ({
    ...head,
    object: "chat.completion.chunk",
    choices,
    ...(told ? { usage } : {}),
  });
  const choice = (delta: Fields, finish_reason: string | null = null) => [{ index: 0, delta, logprobs: null, finish_reason }];
  const events = deltasOf(draft).map((delta) => chunk(choice(delta)));
  events.push(chunk(choice({}, draft.finishReason)));
  if (told) events.push(chunk([], draft.usage));
  const tool_calls = draft.calls.map((call) => ({
    id: call.id,
    type: "function",
    function: { name: call.name, arguments: call.arguments },
  }));
  const message: Fields = {
    role: "assistant",
    content: draft.calls.length > 0 ? null : draft.text,
    refusal: null,
    annotations: [],
    ...(tool_calls.length > 0 ? { tool_calls } : {}),
  };
  return {
    asked,
    draft,
    isStreamed,
    events,
    whole: {
      ...head,
      object: "chat.completion",
      choices: [{ index: 0, message, logprobs: null, finish_reason: draft.finishReason }],
      usage: draft.usage,
    },
    isDoneSent: true,
    isLeftOpen: false,
    status: 200,
    headers: { "content-type": isStreamed ? "text/event-stream; charset=utf-8" : "application/json" },
    prefix: "",
  };
}

/** The choices of all chunks of a stream and of the completion, each with its delta or message. */
export function choicesOf(reply: Reply): Choice[] {
  const answers = [...reply.events, reply.whole].filter(
    (one): one is Answer => typeof one === "object" && "choices" in one && Array.isArray(one.choices),
  );
  return answers.flatMap((one) => one.choices ?? []);
}

/** The pieces of the body, one for each write. */
export function piecesOf(reply: Reply): string[] {
  const { isStreamed, whole, frame = (event: string) => `data: ${event}\n\n` } = reply;
  if (!isStreamed) {
    const text = reply.prefix + (typeof whole === "string" ? whole : JSON.stringify(whole));
    const size = Math.max(1, Math.ceil(text.length / 8));
    return text.match(new RegExp(`[^]{1,${size}}`, "g")) ?? [];
  }
  const pieces = reply.events.map((event) => (typeof event === "string" ? event : frame(JSON.stringify(event))));
  if (reply.isDoneSent) pieces.push(frame("[DONE]"));
  if (reply.prefix !== "") pieces.unshift(reply.prefix);
  return pieces;
}
