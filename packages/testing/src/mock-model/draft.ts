import { createHash } from "node:crypto";
import type { AskedBody, AskedMessage } from "./asked.ts";
import { exampleOf } from "./example.ts";

/** A tool call of an answer; `arguments` is JSON text, unless a quirk breaks it. */
export interface DraftCall {
  readonly id: string;
  readonly name: string;
  readonly arguments: string;
}

/** An answer before it is put into a form. */
export interface Draft {
  readonly id: string;
  readonly model: string;
  readonly text: string;
  readonly calls: readonly DraftCall[];
  /** The words of the answer with the spaces before them. */
  readonly words: readonly string[];
  readonly finishReason: string | null;
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number; readonly total_tokens: number };
}

/** The parts of a plan that decide what the model says. */
export interface Saying {
  /** Number of words; undefined: the answer repeats the question. */
  words?: number;
  /** Kibibytes of text. */
  kibibytes?: number;
  /** Name of the tool that is called. */
  tool?: string;
  /** Calls in one round; default 1. */
  calls?: number;
  /** Rounds of calls; default 1. */
  rounds?: number;
  /** Arguments are cut in the first round, or in all. */
  badArguments?: "once" | "always";
  finishReason?: string | null;
}

/** The text of a message's content. */
export function textOf({ content }: AskedMessage): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content.map((part) => (typeof part?.text === "string" ? part.text : "")).join("");
}

/** The text of the user's last message. */
export function question({ messages }: AskedBody): string {
  const last = messages.findLast(({ role }) => role === "user");
  return last === undefined ? "" : textOf(last);
}

/** A short name of a request: the same for the same bytes. */
export function digestOf(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 12);
}

/** Messages since the user's last one: the rounds of this turn. */
function sinceUser({ messages }: AskedBody): readonly AskedMessage[] {
  return messages.slice(messages.findLastIndex(({ role }) => role === "user") + 1);
}

function argumentsFor(body: AskedBody, tool: string): string {
  const said = question(body);
  if (/^\s*\{/.test(said)) return said;
  if (tool === "calculator") return '{"expression":"2+3"}';
  const offered = body.tools?.find((one) => one?.function?.name === tool);
  return JSON.stringify(exampleOf(offered?.function?.parameters ?? {}));
}

function callsOf(body: AskedBody, saying: Saying, id: string): DraftCall[] {
  const { tool, calls = 1, rounds = 1, badArguments } = saying;
  if (tool === undefined || body.tool_choice === "none") return [];
  const done = sinceUser(body).filter(({ role }) => role === "assistant").length;
  if (done >= rounds) return [];
  const whole = argumentsFor(body, tool);
  const isBad = badArguments === "always" || (badArguments === "once" && done === 0);
  const given = isBad ? whole.slice(0, Math.max(1, whole.length - 2)) : whole;
  return Array.from({ length: calls }, (_, index) => ({ id: `call_${id}_${index}`, name: tool, arguments: given }));
}

function plainText(body: AskedBody, saying: Saying): string {
  if (saying.kibibytes !== undefined) return "word ".repeat((saying.kibibytes * 1024) / 5 + 1).slice(0, saying.kibibytes * 1024);
  if (saying.words !== undefined) return Array.from({ length: saying.words }, (_, index) => `word${index}`).join(" ");
  const format = body.response_format;
  if (format?.type === "json_schema") return JSON.stringify(exampleOf(format.json_schema?.schema ?? {}));
  if (format?.type === "json_object") return JSON.stringify({ answer: question(body) });
  const results = sinceUser(body).filter(({ role }) => role === "tool");
  if (results.length > 0) return `The tools said: ${results.map((one) => textOf(one)).join("; ")}`.slice(0, 2_000);
  return `You said: ${question(body)}`.slice(0, 2_000);
}

/** The answer to a request: the same request always gets the same one. */
export function draftOf(body: AskedBody, saying: Saying): Draft {
  const id = digestOf(body.messages);
  const calls = callsOf(body, saying, id);
  const text = calls.length > 0 ? "" : plainText(body, saying);
  const words = text.match(/\s*\S+|\s+$/g) ?? [];
  const callBytes = calls.reduce((sum, call) => sum + call.name.length + call.arguments.length, 0);
  const prompt_tokens = Math.ceil(JSON.stringify(body.messages).length / 4);
  const completion_tokens = Math.max(1, words.length + Math.ceil(callBytes / 4));
  return {
    id: `chatcmpl-${id}`,
    model: body.model,
    text,
    words,
    calls,
    finishReason: saying.finishReason === undefined ? (calls.length > 0 ? "tool_calls" : "stop") : saying.finishReason,
    usage: { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens },
  };
}
