import { setTimeout as delay } from "node:timers/promises";
import { type AskedCompletion, type ModelReply, type ModelServer, startModelServer } from "@turnwright/testing/model-server";
import { answerOf, scriptOf } from "./scenario.ts";

/** A model that answers each message by the script in it: the same question always gets the same answer. */
export interface ChaosModel extends ModelServer {
  /** Number of questions so far. */
  readonly asked: () => number;
}

/** The chunks streamed in answer to a conversation, and the finish reason. */
function answerTo({ messages }: AskedCompletion, effectUrl: string): { deltas: object[]; finishReason: string } {
  const at = messages.findLastIndex((message) => message.role === "user");
  const script = scriptOf(messages[at]?.content ?? "");
  if (script === undefined) return { deltas: [{ content: "no script" }], finishReason: "stop" };
  // Each round of calls is one assistant message.
  const done = messages.slice(at + 1).filter((message) => message.role === "assistant").length;
  const round = script.rounds[done];
  if (round !== undefined) {
    const args = JSON.stringify({ url: effectUrl, ms: script.ms });
    const deltas = round.map((name, index) => ({
      tool_calls: [{ index, id: `m${script.number}r${done}c${index}`, type: "function", function: { name, arguments: args } }],
    }));
    return { deltas, finishReason: "tool_calls" };
  }
  const words = answerOf(script).split(" ");
  return { deltas: words.map((word, index) => ({ content: index === 0 ? word : ` ${word}` })), finishReason: "stop" };
}

async function stream(reply: ModelReply, { deltas, finishReason }: ReturnType<typeof answerTo>): Promise<void> {
  for (const [index, delta] of deltas.entries()) {
    if (reply.isLeft) return;
    await reply.send(delta);
    if (index % 4 === 3) await delay(5);
  }
  reply.end(finishReason);
}

/** Starts the model on loopback. */
export async function startChaosModel(effectUrl: string): Promise<ChaosModel> {
  let asked = 0;
  const server = await startModelServer("chaos", async (question, reply) => {
    asked += 1;
    await stream(reply, answerTo(question, effectUrl));
  });
  return { ...server, asked: () => asked };
}
