import type { Message } from "../../api/types.ts";
import type { CallPart, Part } from "./live-run.ts";

/** A message of the person, or the answer to it. */
export type Entry =
  | {
      readonly kind: "user";
      readonly sequence: number;
      readonly text: string;
      readonly at: string | null;
      readonly runId: string;
    }
  | {
      readonly kind: "answer";
      readonly runId: string;
      readonly parts: readonly Part[];
      readonly model: string;
      readonly tokens: number;
      readonly at: string | null;
    };

type Answer = Extract<Entry, { kind: "answer" }>;

const callOf = ({ id, function: called }: Message["tool_calls"][number]): CallPart => ({
  kind: "call",
  id,
  name: called?.name ?? "",
  arguments: called?.arguments ?? "",
  result: undefined,
  state: "done",
  ms: undefined,
});

function withMessage(answer: Answer, message: Message): Answer {
  if (message.role === "tool") {
    const parts = answer.parts.map((part) =>
      part.kind === "call" && part.id === message.tool_call_id ? { ...part, result: message.content } : part,
    );
    return { ...answer, parts };
  }
  const text: Part[] = message.content === "" ? [] : [{ kind: "text", text: message.content }];
  return {
    ...answer,
    parts: [...answer.parts, ...text, ...message.tool_calls.map(callOf)],
    model: message.model === "" ? answer.model : message.model,
    tokens: answer.tokens + message.prompt_tokens + message.completion_tokens,
    at: message.created_at,
  };
}

/** Stored messages as a thread: each message of the person, and one answer of all that came after it. */
export function threadOf(messages: readonly Message[]): Entry[] {
  const entries: Entry[] = [];
  for (const message of messages) {
    if (message.role === "user") {
      const { sequence_number, content, created_at, run_id } = message;
      entries.push({ kind: "user", sequence: sequence_number, text: content, at: created_at, runId: run_id });
      continue;
    }
    if (message.role !== "assistant" && message.role !== "tool") continue;
    const last = entries.at(-1);
    const answer: Answer =
      last?.kind === "answer"
        ? last
        : { kind: "answer", runId: message.run_id, parts: [], model: "", tokens: 0, at: message.created_at };
    if (last?.kind === "answer") entries.pop();
    entries.push(withMessage(answer, message));
  }
  return entries;
}

/**
 * The run whose answer is not whole among the stored messages: its stream tells it from the beginning. Empty: the last
 * answer is whole.
 */
export function openRunOf(messages: readonly Message[], isWaiting: boolean): string {
  const last = messages.at(-1);
  if (last === undefined) return "";
  const isWhole = last.role === "assistant" && last.tool_calls.length === 0 && !isWaiting;
  return isWhole ? "" : last.run_id;
}
