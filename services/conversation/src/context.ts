import type { Message } from "@turnwright/contract/conversation/v1/conversation";

/** A message with tool calls and the tool messages that answer them; or any other message alone. */
interface Round {
  readonly messages: Message[];
  /** Ids of calls without an answer so far. */
  readonly unanswered: Set<string>;
}

/**
 * The newest whole rounds among `messages` (oldest first), `limit` messages at most. Models refuse an answer without
 * its call and a call without its answer. A round that an interrupted run left incomplete is dropped. `keepLast` keeps
 * the last round whatever its size and gaps, because a resumed run is about to answer it.
 */
export function wholeRounds(messages: readonly Message[], limit: number, keepLast = false): Message[] {
  const rounds: Round[] = [];
  for (const message of messages) {
    if (message.role !== "tool") {
      rounds.push({ messages: [message], unanswered: new Set(message.toolCalls.map(({ id }) => id)) });
      continue;
    }
    const round = rounds.at(-1);
    // The call is further back than `messages` reaches, so its answer is dropped.
    if (round?.unanswered.delete(message.toolCallId)) round.messages.push(message);
  }
  const kept: Message[][] = [];
  let count = 0;
  for (const [index, round] of [...rounds.entries()].reverse()) {
    const isLast = keepLast && index === rounds.length - 1;
    if (round.unanswered.size > 0 && !isLast) continue;
    if (count + round.messages.length > limit && !isLast) break;
    kept.push(round.messages);
    count += round.messages.length;
  }
  return kept.reverse().flat();
}
