import { setTimeout as delay } from "node:timers/promises";
import { WatchedText } from "../chaos/watched-text.ts";
import { eventData } from "../e2e/api.ts";
import type { Client } from "./load-client.ts";
import { words } from "./paced-model.ts";

/** Streams by their end; each stream is in exactly one count. */
export interface StreamCounts {
  /** Streams that ended properly, with their whole answer. */
  ended: number;
  /** Streams cut because their orchestrator ended; another one then answered the run. */
  handedOver: number;
  /** Streams that ended with an error event for another reason, while their run was answered. */
  outlived: number;
  /** Completions that ended with an error event. Nothing of them is stored. */
  cut: number;
  /** Streams that broke without a final event, and of which the rest came after `Last-Event-ID`. */
  readonly resumed: string[];
  /** Streams that failed before their first event: the client was given nothing that could be lost. */
  readonly refused: string[];
  /**
   * Lost: accepted messages without their complete answer in the end, and streams that broke after their first event
   * and cannot be resumed.
   */
  readonly broken: string[];
  /** Longest time from the last event of a handed-over stream to its complete answer, in milliseconds. */
  longestHandover: number;
}

/** Counts of no streams. */
export function noStreams(): StreamCounts {
  return { ended: 0, handedOver: 0, outlived: 0, cut: 0, resumed: [], refused: [], broken: [], longestHandover: 0 };
}

/** A stored turn or a completion, answered by this number of words. */
export interface StreamKind {
  readonly stored: boolean;
  readonly length: number;
}

/** How long a client waits, in milliseconds. */
export interface Patience {
  /** For the next event of a stream. */
  readonly silenceMs: number;
  /** For the answer of a stream that was cut. */
  readonly answerMs: number;
}

const usualPatience: Patience = { silenceMs: 60_000, answerMs: 60_000 };

/** A completion's request body. */
export function chat(content: string, stream: boolean) {
  return { model: "gpt-4o-mini", stream, messages: [{ role: "user", content }] };
}

/** An error in a few words. */
export function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return [code, message].filter(Boolean).join(" ");
}

/** An event of a stored turn or a chunk of a completion. */
interface Event {
  readonly type: string;
  readonly delta?: string;
  readonly event_id?: string;
  readonly since?: string;
  readonly conversation_id?: string;
  readonly run_id?: string;
  readonly choices?: { delta: { content?: string } }[];
}

/** A stream as its client received it. */
interface Received {
  readonly events: Event[];
  /** The final event: `[DONE]` or an error; undefined when the stream broke. */
  readonly end: string | undefined;
  /** Why the stream broke. */
  readonly fault: string;
}

const isError = (data: string | undefined) => data?.startsWith('{"error":') === true;

/** Sends a request and reads its stream until it ends, breaks, or has no event for `silenceMs`. */
async function receive(silenceMs: number, ask: (signal: AbortSignal) => ReturnType<Client["send"]>): Promise<Received> {
  const silence = new AbortController();
  const timer = setTimeout(() => silence.abort(new Error(`no event for ${silenceMs} ms`)), silenceMs);
  let text = "";
  let fault = "no final event";
  let count = 0;
  // An event ends with an empty line: the rest of the text is none.
  const complete = () => eventData(text.slice(0, text.lastIndexOf("\n\n") + 1));
  try {
    const response = await ask(silence.signal);
    if (response.statusCode !== 200) {
      const refusal = await response.body.text();
      return { events: [], end: undefined, fault: `${response.statusCode} ${refusal.slice(0, 200)}` };
    }
    const decoder = new TextDecoder();
    for await (const chunk of response.body) {
      text += decoder.decode(chunk as Uint8Array, { stream: true });
      const known = count;
      count = complete().length;
      if (count > known) timer.refresh();
    }
  } catch (error) {
    fault = reasonOf(silence.signal.aborted ? silence.signal.reason : error);
  } finally {
    clearTimeout(timer);
  }
  const data = complete();
  const isEnded = data.at(-1) === "[DONE]" || isError(data.at(-1));
  const events = (isEnded ? data.slice(0, -1) : data).map((one) => JSON.parse(one) as Event);
  return { events, end: isEnded ? data.at(-1) : undefined, fault };
}

function textOf({ stored }: StreamKind, events: readonly Event[]): string {
  if (!stored) return events.map(({ choices }) => choices?.[0]?.delta.content ?? "").join("");
  const watched = new WatchedText();
  for (const event of events) watched.take(event);
  return watched.text;
}

interface StoredTurn {
  readonly data: { messages: { role: string; content: string }[] };
}

/** Waits until a conversation has its answer; polls through gateways that may fail meanwhile. */
async function answered(client: Client, token: string, conversationId: string, text: string, withinMs: number): Promise<boolean> {
  for (const until = Date.now() + withinMs; Date.now() < until; await delay(100)) {
    const path = `/v1/conversations/${conversationId}`;
    const { data } = await client.call<StoredTurn>("GET", path, { token }).catch(() => ({ data: { messages: [] } }));
    if (data.messages.at(-1)?.role === "assistant") return data.messages.at(-1)?.content === text;
  }
  return false;
}

/** Reads the rest of a run's stream, on as many connections as it takes; returns all its events once it has ended. */
async function resumed(
  client: Client,
  token: string,
  first: readonly Event[],
  { silenceMs, answerMs }: Patience,
): Promise<Event[] | undefined> {
  const events = [...first];
  const runId = events.find(({ run_id }) => run_id !== undefined)?.run_id;
  if (runId === undefined) return undefined;
  for (const until = Date.now() + answerMs; Date.now() < until; await delay(100)) {
    const after = events.findLast(({ event_id }) => event_id !== undefined)?.event_id ?? "";
    const ask = (signal: AbortSignal) =>
      client.send("GET", `/v1/runs/${runId}/events`, { token, signal, headers: { "last-event-id": after } });
    const rest = await receive(silenceMs, ask);
    events.push(...rest.events);
    if (rest.end === "[DONE]") return events;
  }
  return undefined;
}

/** Streams a stored turn or a completion and counts it by its end. */
export async function countStream(
  client: Client,
  token: string,
  counts: StreamCounts,
  kind: StreamKind,
  patience: Patience = usualPatience,
): Promise<void> {
  const said = `say ${kind.length}`;
  const whole = words(kind.length).join(" ");
  const [path, body] = kind.stored
    ? ["/v1/conversations", { message: said, stream: true }]
    : ["/v1/chat/completions", chat(said, true)];
  const { events, end, fault } = await receive(patience.silenceMs, (signal) =>
    client.send("POST", path, { token, body, signal }),
  );
  if (end === "[DONE]") {
    if (textOf(kind, events) === whole) counts.ended += 1;
    else counts.broken.push("stream that ended without its whole answer");
    return;
  }
  const why = end?.slice(0, 200) ?? fault;
  if (events.length === 0) {
    counts.refused.push(`stream refused: ${why}`);
    return;
  }
  if (!kind.stored) {
    if (isError(end)) counts.cut += 1;
    else counts.broken.push(`completion without a final event: ${why}`);
    return;
  }
  const cutAt = performance.now();
  if (end === undefined) {
    const all = await resumed(client, token, events, patience);
    if (all !== undefined && textOf(kind, all) === whole) counts.resumed.push(`stream resumed after: ${why}`);
    else counts.broken.push(`stream that cannot be resumed after: ${why}`);
    return;
  }
  const conversationId = events.find(({ conversation_id }) => conversation_id !== undefined)?.conversation_id ?? "";
  if (!(await answered(client, token, conversationId, whole, patience.answerMs))) {
    counts.broken.push(`run without an answer after ${why}`);
  } else if (end.includes("RUN_HANDED_OVER")) {
    counts.handedOver += 1;
    counts.longestHandover = Math.max(counts.longestHandover, performance.now() - cutAt);
  } else counts.outlived += 1;
}

/** Streams that did not end properly. */
export function failedStreams({ handedOver, outlived, cut, resumed, refused, broken }: StreamCounts): number {
  return handedOver + outlived + cut + resumed.length + refused.length + broken.length;
}
