import type { AskedBody } from "./asked.ts";
import type { ErrorForm, Refusal } from "./refusal.ts";
import { type Answer, type Choice, choicesOf, type Fields, type Reply } from "./reply.ts";

/** A habit of some endpoints. */
export interface Quirk {
  /** A line for the documentation. */
  readonly about: string;
  /** Changes an answer of status 200. */
  readonly alter?: (reply: Reply) => void;
  /** Refuses a body. */
  readonly refuse?: (body: AskedBody) => (Refusal & { readonly form?: ErrorForm }) | undefined;
}

/** Quirks by name. */
export type Quirks = Readonly<Record<string, Quirk>>;

/** A delta's or a message's calls. */
export const callsIn = (fields: Fields | null | undefined): Fields[] =>
  Array.isArray(fields?.tool_calls) ? (fields.tool_calls as Fields[]) : [];

/** Deltas and messages of an answer, the message of the completion last. */
export function fieldsOf(reply: Reply): Fields[] {
  return choicesOf(reply).flatMap(({ delta, message }) => [delta, message].filter((one) => one != null) as Fields[]);
}

/** A chunk with the same head as the others. */
export function chunkLike(reply: Reply, choices: Choice[] | null): Answer {
  const head = reply.events.find((event): event is Answer => typeof event === "object");
  return { ...head, choices };
}

/** A chunk with one delta. */
export const deltaChunk = (reply: Reply, delta: Fields, finish_reason: unknown = null): Answer =>
  chunkLike(reply, [{ index: 0, delta, finish_reason }]);

/** Replaces the calls of a stream by events of its own, one list for each call, and those of the completion. */
export function rewriteCalls(
  reply: Reply,
  events: (call: { id: string; name: string; arguments: string }, index: number) => Fields[],
  whole: (call: Fields, index: number) => unknown = (call) => call,
): void {
  const isCall = (event: Answer | string) => typeof event === "object" && callsIn(event.choices?.[0]?.delta).length > 0;
  const at = reply.events.findIndex(isCall);
  if (at >= 0) {
    const rewritten = reply.draft.calls.flatMap((call, index) =>
      events(call, index).map((tool_call) => deltaChunk(reply, { tool_calls: [tool_call] })),
    );
    const kept = reply.events.filter((event) => !isCall(event));
    kept.splice(at, 0, ...rewritten);
    reply.events = kept;
  }
  const message = choicesOf(reply).find((choice) => choice.message != null)?.message;
  if (message != null && Array.isArray(message.tool_calls)) message.tool_calls = callsIn(message).map(whole);
}

/** Replaces the text of a stream by these deltas, and the content of the completion. */
export function rewriteText(reply: Reply, deltas: readonly Fields[], message: Fields): void {
  const isText = (event: Answer | string) =>
    typeof event === "object" && typeof event.choices?.[0]?.delta?.content === "string" && event.choices[0].delta.content !== "";
  const at = reply.events.findIndex(isText);
  if (at >= 0) {
    const kept = reply.events.filter((event) => !isText(event));
    kept.splice(at, 0, ...deltas.map((delta) => deltaChunk(reply, delta)));
    reply.events = kept;
  }
  for (const choice of choicesOf(reply)) if (choice.message != null) Object.assign(choice.message, message);
}

/** Puts events before the first text or call of a stream, and fields into the message. */
export function openWith(reply: Reply, deltas: readonly Fields[], message: Fields): void {
  reply.events.splice(1, 0, ...deltas.map((delta) => deltaChunk(reply, delta)));
  for (const choice of choicesOf(reply)) if (choice.message != null) Object.assign(choice.message, message);
}
