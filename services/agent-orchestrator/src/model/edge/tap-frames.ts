import { StreamFormat } from "@turnwright/contract/agent/v1/completion_service";
import type { CheckedChunk } from "./checked-chunk.ts";
import type { ModelToolCall } from "./chunk.ts";
import { clientChoice, clientChunk } from "./client-chunk.ts";
import { encoded } from "./frame-splitter.ts";
import type { SaidChoice, TapChoice, ToldFinish } from "./tap-choice.ts";

/** Id, model and time of a stream, for chunks of our own. */
export interface TapEnvelope {
  readonly id?: string;
  readonly created?: number;
  readonly model?: string;
}

/** A frame as a binary string. */
function event(value: object): string {
  return encoded(`data: ${JSON.stringify(value)}\n\n`);
}

/** A chunk of our own with one choice. */
function ownChunk({ id, created, model }: TapEnvelope, index: number, delta: object, reason: string | null): object {
  return { id, object: "chat.completion.chunk", created, model, choices: [{ index, delta, finish_reason: reason }] };
}

/** Writes the frames of a client's stream that are not spliced, as binary strings. */
export class TapFrames {
  readonly #format: StreamFormat;
  readonly #id: string | undefined;

  /** `id`: the id for every chunk, when it is not the endpoint's. */
  constructor(format: StreamFormat, id: string | undefined) {
    this.#format = format;
    this.#id = id;
  }

  /** The content of a chunk. `plain`: its frame, when that is the client's as it is. */
  said(chunk: CheckedChunk, said: readonly SaidChoice[], plain: string | undefined): string {
    const isOwn = plain === undefined || this.#id !== undefined;
    if (this.#format === StreamFormat.OPENAI && !isOwn) return `${plain}\n\n`;
    const text = said.map(({ choice }) => choice.text + choice.refusal).find((words) => words !== "");
    const seed = text === undefined ? undefined : { type: "content", delta: text };
    if (this.#format === StreamFormat.SEED) return seed === undefined ? "" : event(seed);
    const choices = () => said.map(({ choice, delta }) => clientChoice(choice, delta(), null));
    const value = isOwn ? clientChunk(chunk, this.#id, choices()) : { ...chunk.fields, usage: undefined };
    return event(this.#format === StreamFormat.OPENAI ? value : { ...seed, ...value });
  }

  /** A call as a whole, in the formats that have such frames. */
  toolCall({ id, type, function: called }: ModelToolCall, envelope: TapEnvelope): string {
    const seed = { type: "tool_call", tool_call: { id, type, function: called } };
    if (this.#format === StreamFormat.OPENAI) return "";
    return event(this.#format === StreamFormat.SEED ? seed : { ...seed, ...ownChunk(envelope, 0, {}, null) });
  }

  /** The end of an answer. The seed's finish frame carries the usage: it is written at the end of the completion. */
  finish(choice: TapChoice, withCalls: boolean, envelope: TapEnvelope): string {
    const { finish, index, hasRole } = choice;
    const reason = choice.reason(withCalls);
    if (this.#format === StreamFormat.SEED || reason === "") return "";
    const delta = hasRole ? {} : { role: "assistant", content: "" };
    choice.hasRole = true;
    const seed = this.#format === StreamFormat.OPENAI ? {} : { type: "finish", delta: reason };
    if (finish === undefined) return event({ ...seed, ...ownChunk(envelope, index, delta, reason) });
    const isOwn = finish.frame === undefined || !hasRole || reason !== finish.choice.finishReason || this.#id !== undefined;
    if (this.#format === StreamFormat.OPENAI && !isOwn) return `${finish.frame}\n\n`;
    return event({ ...seed, ...this.#rewritten(finish, delta, reason) });
  }

  #rewritten({ chunk, choice, isSaid }: ToldFinish, delta: object, reason: string): object {
    const written = clientChoice(choice, delta as Record<string, unknown>, reason);
    return clientChunk(chunk, this.#id, [isSaid && choice.fields.logprobs ? { ...written, logprobs: null } : written]);
  }
}
