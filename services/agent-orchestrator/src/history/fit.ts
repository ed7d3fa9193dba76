import type { Message } from "@turnwright/contract/conversation/v1/conversation";
import { type Exchange, isUnanswered, type Round } from "./exchanges.ts";
import { shortened, shortenedBytes } from "./left-out.ts";

/** Bytes of each message beyond its texts: role, punctuation and field names. */
const frameBytes = 24;
/** Bytes of text that have as many tokens as an image has with most models. */
const imageBytes = 4_096;
/** The least that is left of a shortened text, in bytes. */
const leastTextBytes = 256;
/** The largest part of the messages that fit which may be cut to keep the beginning the same. */
const largestCut = 1 / 4;

/** Exchanges that fit. */
export interface Fitted {
  readonly exchanges: readonly Exchange[];
  /** Their size in bytes; larger than the room when even the newest round does not fit. */
  readonly bytes: number;
}

/** The most bytes of each text of a message. */
interface Limits {
  /** Of the result of a tool. */
  readonly result: number;
  /** Of what the user or the assistant said. */
  readonly text: number;
}

interface Sizes {
  readonly content: number;
  /** Of all the rest. */
  readonly rest: number;
}

/** Sizes are asked for often, and to measure a long text takes time. Messages do not change. */
const measured = new WeakMap<Message, Sizes>();

function sizesOf(message: Message): Sizes {
  const known = measured.get(message);
  if (known !== undefined) return known;
  let rest = frameBytes + message.providerFields.length;
  for (const { id, function: call } of message.toolCalls) {
    rest += frameBytes + 2 * id.length + (call?.name.length ?? 0) + Buffer.byteLength(call?.arguments ?? "");
  }
  for (const { type, text } of message.parts) rest += frameBytes + (type === "image" ? imageBytes : Buffer.byteLength(text));
  const sizes = { content: Buffer.byteLength(message.content), rest };
  measured.set(message, sizes);
  return sizes;
}

function messageBytes(message: Message | undefined, limit: number): number {
  if (message === undefined) return frameBytes;
  const { content, rest } = sizesOf(message);
  return shortenedBytes(content, limit) + rest;
}

function roundBytes({ answer, results }: Round, limits: Limits): number {
  return results.reduce((bytes, result) => bytes + messageBytes(result, limits.result), messageBytes(answer, limits.text));
}

function exchangeBytes({ said, rounds }: Exchange, limits: Limits): number {
  return rounds.reduce((bytes, round) => bytes + roundBytes(round, limits), messageBytes(said, limits.text));
}

function cutMessage<T extends Message | undefined>(message: T, limit: number): T {
  if (message === undefined) return message;
  return sizesOf(message).content <= limit ? message : { ...message, content: shortened(message.content, limit) };
}

function cutRound({ answer, results }: Round, limits: Limits): Round {
  return { answer: cutMessage(answer, limits.text), results: results.map((result) => cutMessage(result, limits.result)) };
}

function cutExchange({ said, rounds }: Exchange, limits: Limits): Exchange {
  return { said: cutMessage(said, limits.text), rounds: rounds.map((round) => cutRound(round, limits)) };
}

/**
 * The exchange that is being answered. The user's message is whole. The newest results get half of the room each,
 * earlier ones an eighth; while that is too much, first the earlier and then the newest are halved. Then the oldest
 * rounds go.
 */
function fitCurrent({ said, rounds }: Exchange, room: number): Fitted {
  const saidBytes = messageBytes(said, Number.POSITIVE_INFINITY);
  const newest = rounds.at(-1);
  let kept = rounds.slice(0, -1);
  let last = Math.floor(room / 2);
  let earlier = Math.floor(room / 8);
  const lastLimits = () => ({ result: last, text: Math.floor(room / 4) });
  const earlierLimits = () => ({ result: earlier, text: earlier });
  const newestBytes = () => (newest === undefined ? 0 : roundBytes(newest, lastLimits()));
  const size = () => kept.reduce((bytes, round) => bytes + roundBytes(round, earlierLimits()), saidBytes + newestBytes());
  while (size() > room && (earlier > leastTextBytes || last > leastTextBytes)) {
    if (earlier > leastTextBytes) earlier = Math.floor(earlier / 2);
    else last = Math.floor(last / 2);
  }
  let bytes = size();
  let dropped = 0;
  for (const round of kept) {
    if (bytes <= room) break;
    bytes -= roundBytes(round, earlierLimits());
    dropped += 1;
  }
  kept = kept.slice(dropped);
  const cut = [
    ...kept.map((round) => cutRound(round, earlierLimits())),
    ...(newest === undefined ? [] : [cutRound(newest, lastLimits())]),
  ];
  return { exchanges: [{ said, rounds: cut }], bytes };
}

function numberOf({ said, rounds }: Exchange): number {
  return (said ?? rounds[0]?.answer)?.sequenceNumber ?? 0;
}

/** Index of the exchange with which a history begins that does not reach back to the first message. */
function stableStart(exchanges: readonly Exchange[]): number {
  const first = exchanges[0] === undefined ? 0 : numberOf(exchanges[0]);
  if (first <= 1) return 0;
  const messages = exchanges.reduce((sum, { rounds }) => sum + 1 + rounds.length, 0);
  const step = 2 ** Math.floor(Math.log2(Math.max(1, messages * largestCut)));
  const start = Math.ceil(first / step) * step;
  const index = exchanges.findIndex((exchange, at) => numberOf(exchange) >= start || at === exchanges.length - 1);
  return Math.max(0, index);
}

/**
 * The newest exchanges that fit in so many bytes; the last one, which is being answered, in any case. In those before,
 * a result gets a sixteenth of the room at most and any other text a quarter. An unanswered message that is too large
 * is skipped, because it may be the reason why its run failed.
 *
 * Once the oldest have to go, they go in steps of up to a quarter: the beginning then stays the same for many calls,
 * and endpoints that keep the beginning of a prompt in a cache find it there.
 */
export function fit(exchanges: readonly Exchange[], room: number): Fitted {
  const current = exchanges.at(-1);
  if (current === undefined) return { exchanges: [], bytes: 0 };
  const fitted = fitCurrent(current, room);
  const kept = [...fitted.exchanges];
  let { bytes } = fitted;
  const limits = {
    result: Math.max(leastTextBytes, Math.floor(room / 16)),
    text: Math.max(leastTextBytes, Math.floor(room / 4)),
  };
  for (const exchange of exchanges.slice(0, -1).reverse()) {
    const more = exchangeBytes(exchange, limits);
    if (bytes + more > room) {
      if (isUnanswered(exchange)) continue;
      break;
    }
    bytes += more;
    kept.unshift(cutExchange(exchange, limits));
  }
  const start = stableStart(kept);
  for (const exchange of kept.slice(0, start)) bytes -= exchangeBytes(exchange, limits);
  return { exchanges: kept.slice(start), bytes };
}
