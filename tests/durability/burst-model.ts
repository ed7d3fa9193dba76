import { setTimeout as delay } from "node:timers/promises";
import {
  type AskedCompletion,
  askedFor,
  type ModelReply,
  type ModelServer,
  startModelServer,
} from "@turnwright/testing/model-server";

/** The model's answer to a message. */
export function answerTo(message: string): string {
  return `this is the answer to ${message}`;
}

/**
 * A model on loopback that records which questions of a conversation are open at the same time. Messages begin with the
 * name of their conversation: `c1 …`.
 */
export interface BurstModel extends ModelServer {
  /** Number of questions so far. */
  readonly asked: number;
  /** Questions that arrived while another one of the same conversation was open. */
  readonly overlaps: readonly string[];
  /** Whether a question of the conversation is open. */
  isOpen(conversation: string): boolean;
  /** Holds the answers to a conversation until the returned function is called. */
  hold(conversation: string): () => void;
  /** Sets the milliseconds between two words. */
  pace(ms: number): void;
}

const ofBurst = /^[a-z]+-\d+ /;

/**
 * Starts the model, which sends a word every 10 ms. With `others`, it answers only messages of conversations such as
 * `reject-0`, and `others` answers all other messages.
 */
export async function startBurstModel(
  others?: (asked: AskedCompletion, reply: ModelReply) => Promise<void>,
): Promise<BurstModel> {
  let wordMs = 10;
  const open = new Map<string, number>();
  const gates = new Map<string, Promise<void>>();
  const overlaps: string[] = [];
  let asked = 0;

  async function answer(said: string, reply: ModelReply): Promise<void> {
    const conversation = said.split(" ", 1)[0] ?? "";
    asked += 1;
    const others = open.get(conversation) ?? 0;
    if (others > 0) overlaps.push(said);
    open.set(conversation, others + 1);
    // Fires when the driver ends the reply, as well as when the client does.
    reply.onClosed(() => open.set(conversation, (open.get(conversation) ?? 1) - 1));
    await gates.get(conversation);
    for (const [index, word] of answerTo(said).split(" ").entries()) {
      if (reply.isLeft) return;
      await reply.send({ content: index === 0 ? word : ` ${word}` });
      await delay(wordMs);
    }
    reply.end();
  }

  const { url, close } = await startModelServer("burst", (question, reply) => {
    const said = askedFor(question);
    return others === undefined || ofBurst.test(said) ? answer(said, reply) : others(question, reply);
  });
  return {
    url,
    close,
    get asked() {
      return asked;
    },
    overlaps,
    isOpen: (conversation) => (open.get(conversation) ?? 0) > 0,
    hold(conversation) {
      const gate = Promise.withResolvers<void>();
      gates.set(conversation, gate.promise);
      return () => {
        gates.delete(conversation);
        gate.resolve();
      };
    },
    pace(ms) {
      wordMs = ms;
    },
  };
}
