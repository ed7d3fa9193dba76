import type { Message } from "@turnwright/contract/conversation/v1/conversation";

/** A message of the assistant, with the results of its calls in the order of the calls. */
export interface Round {
  readonly answer: Message;
  /** One for each call; undefined: the call has no result. */
  readonly results: readonly (Message | undefined)[];
}

/** A user's message and all that answers it. Without the user's message where a context begins in the middle of one. */
export interface Exchange {
  readonly said: Message | undefined;
  readonly rounds: readonly Round[];
}

/** Whether an exchange has the user's message and no answer to it: its run failed or was cancelled. */
export function isUnanswered({ said, rounds }: Exchange): boolean {
  return said !== undefined && rounds.length === 0;
}

/**
 * Orders stored messages, oldest first, for an endpoint that takes nothing else: results follow their call in the order
 * of the calls, each once, and a result without its call is left out. The last exchange is the one to be answered.
 */
export function exchangesOf(messages: readonly Message[]): Exchange[] {
  const exchanges: { said: Message | undefined; rounds: Round[] }[] = [];
  let results: Map<string, Message> | undefined;
  let last: Round | undefined;
  const close = () => {
    if (last === undefined || results === undefined) return;
    const found = results;
    const ordered = last.answer.toolCalls.map(({ id }) => found.get(id));
    exchanges.at(-1)?.rounds.push({ answer: last.answer, results: ordered });
    last = undefined;
  };
  for (const message of messages) {
    if (message.role === "tool") {
      if (results !== undefined && !results.has(message.toolCallId)) results.set(message.toolCallId, message);
      continue;
    }
    close();
    if (message.role === "assistant") {
      if (exchanges.length === 0) exchanges.push({ said: undefined, rounds: [] });
      last = { answer: message, results: [] };
      results = new Map();
    } else {
      exchanges.push({ said: message, rounds: [] });
      results = undefined;
    }
  }
  close();
  return exchanges;
}
