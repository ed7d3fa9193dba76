import { createHash } from "node:crypto";
import type { Message } from "@turnwright/contract/conversation/v1/conversation";
import type { Exchange, Round } from "./exchanges.ts";
import { type Giver, isFrom, readFields, type StoredFields } from "./provider-fields.ts";

/** Demands of an endpoint beyond OpenAI's format, as learned from its answers. */
export interface Demands {
  /** Assistant messages with calls must have `reasoning_content`. */
  readonly reasoning: boolean;
  /** `content` must be text, also next to calls. */
  readonly text: boolean;
  /** Ids of calls must have nine letters or digits. */
  readonly shortIds: boolean;
  /** No fields beyond OpenAI's, not even those that it gave. */
  readonly bare: boolean;
  /** No images; those of the message that is being answered are sent all the same, and may be refused. */
  readonly noImages: boolean;
}

/** The demands of an endpoint that has made none. */
export const noDemands: Demands = { reasoning: false, text: false, shortIds: false, bare: false, noImages: false };

/** The endpoint that a request is made for. */
export interface Receiver extends Giver {
  readonly demands: Demands;
}

/** A message in the format of the model's request. */
export type ModelMessage = Readonly<Record<string, unknown>> & { readonly role: string };

const unansweredNote = "[This message was not answered.]";
const emptyAnswerNote = "[The answer was empty.]";
const blankMessageNote = "[The message is blank.]";
const imageNote = "[An image is left out here: this model takes none.]";
const missingMessageNote = "[Earlier messages of this conversation are left out.]";
const noResult = JSON.stringify({ error: "This call has no result: its run ended before it." });
const emptyResult = JSON.stringify({ result: "" });

/** Names that all endpoints accept. */
const plainName = /^[A-Za-z0-9_-]{1,64}$/;
/** Ids that all endpoints accept, but those that demand short ones. */
const plainId = /^[A-Za-z0-9_.:-]{1,64}$/;
const shortId = /^[A-Za-z0-9]{9}$/;

/** A tool's name as every endpoint accepts it: characters that some refuse become underscores. */
export function plainToolName(name: string): string {
  return plainName.test(name) ? name : name.replaceAll(/[^A-Za-z0-9_-]/g, "_").slice(0, 64) || "unnamed";
}

/** An id made of another one: the same each time. */
function madeId(id: string, length: number): string {
  return createHash("sha256").update(id).digest("hex").slice(0, length);
}

/** Ids that the receiver gave go back as they came. */
function idFor(id: string, isOwn: boolean, { demands }: Receiver): string {
  if (demands.shortIds) return shortId.test(id) ? id : madeId(id, 9);
  return isOwn || plainId.test(id) ? id : `call_${madeId(id, 24)}`;
}

/** Arguments as JSON text of an object: many endpoints read them, and refuse a request for those of one old call. */
function argumentsText(text: string): string {
  if (text.trim() === "") return "{}";
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return text;
  } catch {
    // Told below.
  }
  return JSON.stringify({ invalid_arguments: text.slice(0, 1_000) });
}

function textOr(text: string, note: string): string {
  return text.trim() === "" ? note : text;
}

interface ParsedAnswer {
  readonly stored: StoredFields | undefined;
  /** Of its calls, as they are sent. */
  readonly arguments: readonly string[];
}

/** Each call of a run sends its messages again. They do not change, and parsing a large one takes time. */
const parsed = new WeakMap<Message, ParsedAnswer>();

function parsedAnswer(answer: Message): ParsedAnswer {
  const known = parsed.get(answer);
  if (known !== undefined) return known;
  const made = {
    stored: readFields(answer.providerFields),
    arguments: answer.toolCalls.map((call) => argumentsText(call.function?.arguments ?? "")),
  };
  parsed.set(answer, made);
  return made;
}

function answerMessages({ answer, results }: Round, receiver: Receiver): ModelMessage[] {
  const { content, toolCalls } = answer;
  const { stored, arguments: args } = parsedAnswer(answer);
  const isOwn = isFrom(stored, receiver);
  const { demands } = receiver;
  const sentBack = isOwn && !demands.bare ? stored : undefined;
  const extra = sentBack?.message;
  if (toolCalls.length === 0) return [{ ...extra, role: "assistant", content: textOr(content, emptyAnswerNote) }];
  const ids = toolCalls.map(({ id }) => idFor(id, isOwn, receiver));
  const message = {
    ...(demands.reasoning && !demands.bare ? { reasoning_content: "" } : {}),
    ...extra,
    role: "assistant",
    content: content !== "" || demands.text ? content : null,
    tool_calls: toolCalls.map(({ function: call }, index) => ({
      ...sentBack?.calls[index],
      id: ids[index],
      type: "function",
      function: { name: plainToolName(call?.name ?? ""), arguments: args[index] },
    })),
  };
  const answers = results.map((result, index) => ({
    role: "tool",
    tool_call_id: ids[index],
    content: result === undefined ? noResult : textOr(result.content, emptyResult),
  }));
  return [message, ...answers];
}

/** Whether an answer of this side came with reasoning that it may demand back. */
export function gaveReasoning(message: Message, giver: Giver): boolean {
  // Most messages have no such text, and parsing is spared.
  if (!message.providerFields.includes('"reasoning_content"')) return false;
  const { stored } = parsedAnswer(message);
  return isFrom(stored, giver) && "reasoning_content" in stored.message;
}

/**
 * The content of a user's message: its text and its parts, in OpenAI's form; as one text where no image is sent, which
 * every endpoint takes.
 */
function userContent({ content, parts }: Message, withImages: boolean): unknown {
  const text = textOr(content, blankMessageNote);
  if (parts.length === 0) return text;
  const sent = parts.map(({ type, text: more, imageUrl }) => {
    if (type !== "image") return { type: "text", text: textOr(more, blankMessageNote) };
    return withImages ? { type: "image_url", image_url: { url: imageUrl } } : { type: "text", text: imageNote };
  });
  const all = [{ type: "text", text }, ...sent];
  return all.every((part) => "text" in part) ? all.map((part) => part.text).join("\n\n") : all;
}

/**
 * Exchanges as messages of a request that strict endpoints accept: the system's first, then the user's and the
 * assistant's in turn, each call with its result, no text empty, and no name or id that they refuse.
 */
export function modelMessages(system: string, exchanges: readonly Exchange[], receiver: Receiver): ModelMessage[] {
  const messages: ModelMessage[] = [{ role: "system", content: system }];
  for (const [index, { said, rounds }] of exchanges.entries()) {
    const isLast = index === exchanges.length - 1;
    const withImages = isLast || !receiver.demands.noImages;
    messages.push({ role: "user", content: said === undefined ? missingMessageNote : userContent(said, withImages) });
    for (const [at, round] of rounds.entries()) {
      // Two answers in a row: a message of the user between them is missing.
      if (rounds[at - 1]?.results.length === 0) messages.push({ role: "user", content: missingMessageNote });
      messages.push(...answerMessages(round, receiver));
    }
    // An exchange that ended with results was broken off before the model read them.
    if (!isLast && (rounds.at(-1)?.answer.toolCalls.length ?? 1) > 0) {
      messages.push({ role: "assistant", content: unansweredNote });
    }
  }
  return messages;
}
