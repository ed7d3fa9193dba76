import type { Message } from "@turnwright/contract/conversation/v1/conversation";

/** A message with tool calls and the tool messages that answer them; or any other message alone. */
interface Round {
  readonly messages: Message[];
  /** Ids of calls without an answer so far. */
  readonly unanswered: Set<string>;
}

/** Bytes of a message's texts. */
function bytesOf({ content, providerFields, toolCalls, parts }: Message): number {
  const others = parts.flatMap(({ text, imageUrl }) => [text, imageUrl]);
  const texts = [content, providerFields, ...others, ...toolCalls.map((call) => call.function?.arguments ?? "")];
  return texts.reduce((bytes, text) => bytes + Buffer.byteLength(text), 0);
}

/**
 * The newest whole rounds among `messages` (oldest first), `limit` messages at most. Models refuse an answer without
 * its call and a call without its answer. A round that an interrupted run left incomplete is dropped. `keepLast` keeps
 * the last round whatever its size and gaps, because a resumed run is about to answer it. `maxBytes`: the most bytes of
 * the rounds together.
 */
export function wholeRounds(
  messages: readonly Message[],
  limit: number,
  { keepLast = false, maxBytes = Number.POSITIVE_INFINITY }: { keepLast?: boolean; maxBytes?: number } = {},
): Message[] {
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
  let bytes = 0;
  for (const [index, round] of [...rounds.entries()].reverse()) {
    const isLast = keepLast && index === rounds.length - 1;
    if (round.unanswered.size > 0 && !isLast) continue;
    if (maxBytes !== Number.POSITIVE_INFINITY) bytes += round.messages.reduce((sum, message) => sum + bytesOf(message), 0);
    if ((count + round.messages.length > limit || bytes > maxBytes) && !isLast) break;
    kept.push(round.messages);
    count += round.messages.length;
  }
  return kept.reverse().flat();
}
