import { createHash } from "node:crypto";
import type { ModelToolCall } from "../edge/chunk.ts";
import type { ModelClient } from "../model-client.ts";
import { answerDemo, type DemoRequest } from "./demo-answer.ts";

/** The demo model's name in the list of models. */
export const demoModelName = "turnwright-demo";

const tokensOf = (text: string) => Math.max(1, Math.ceil(text.length / 4));

/** An answer of the demo model, to be sent whole or in pieces. */
function prepare(body: Uint8Array, defaultModel: string) {
  const request = JSON.parse(Buffer.from(body).toString("utf8")) as DemoRequest & { model?: string };
  const answer = answerDemo(request);
  const id = `chatcmpl-demo-${createHash("sha256").update(body).digest("hex").slice(0, 24)}`;
  const head = { id, created: Math.floor(Date.now() / 1000), model: request.model || defaultModel };
  const prompt = request.messages.reduce((sum, message) => sum + tokensOf(JSON.stringify(message.content ?? "")), 0);
  const completion = tokensOf("text" in answer ? answer.text : JSON.stringify(answer.calls));
  const usage = { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion };
  const calls: ModelToolCall[] =
    "text" in answer
      ? []
      : answer.calls.map(({ name, args }, index) => ({
          id: `call_${id.slice(-12)}_${index}`,
          type: "function",
          function: { name, arguments: JSON.stringify(args) },
        }));
  return {
    head,
    usage,
    calls,
    text: "text" in answer ? answer.text : null,
    finishReason: calls.length > 0 ? "tool_calls" : "stop",
  };
}

/** Makes a deterministic built-in model, so that every path of the system works without a key. */
export function createDemoModel(defaultModel: string): ModelClient {
  return {
    async complete(body, _signal, witness) {
      witness?.onSent();
      const { head, usage, calls, text, finishReason } = prepare(body, defaultModel);
      const message = { role: "assistant", content: text, ...(calls.length > 0 ? { tool_calls: calls } : {}) };
      const choices = [{ index: 0, message, finish_reason: finishReason }];
      return Buffer.from(JSON.stringify({ ...head, object: "chat.completion", choices, usage }));
    },

    async stream(body, signal, witness) {
      witness?.onSent();
      const { head, usage, calls, text, finishReason } = prepare(body, defaultModel);
      const chunk = (choices: object[], rest: object = {}) =>
        Buffer.from(`data: ${JSON.stringify({ ...head, object: "chat.completion.chunk", choices, ...rest })}\n\n`);
      const delta = (value: object, finish: string | null = null) => chunk([{ index: 0, delta: value, finish_reason: finish }]);
      return (async function* () {
        yield delta({ role: "assistant", content: "" });
        for (const word of text?.match(/\s*\S+/g) ?? []) {
          signal.throwIfAborted();
          yield delta({ content: word });
          // Lets the word be sent before the next one is made, as with a real model.
          await new Promise((resolve) => setImmediate(resolve));
        }
        if (calls.length > 0) yield delta({ tool_calls: calls.map((call, index) => ({ index, ...call })) });
        yield delta({}, finishReason);
        yield chunk([], { usage });
        yield Buffer.from("data: [DONE]\n\n");
      })();
    },

    listModels: async () => [demoModelName],
    close: async () => {},
  };
}
