import type OpenAI from "openai";
import { describe, expect, test } from "vitest";
import { ask, clientOf, type OpenAiNode } from "./openai-node.ts";
import type { ClientStage } from "./stage.ts";

type Choices = [OpenAI.ChatCompletionChunk.Choice];

/** The loop of OpenAI's own examples, which trusts every chunk to have a choice. */
export function describePlainLoop(name: string, release: OpenAiNode, stageOf: () => ClientStage): void {
  describe(`the plain loop of ${name}`, () => {
    test("reads a stream in which the server runs tools", async () => {
      const stream = await clientOf(release, stageOf()).chat.completions.create({ ...ask("calculate 1337 * 42"), stream: true });
      let text = "";
      let roles = 0;
      const finished: string[] = [];
      const ids = new Set<string>();
      for await (const chunk of stream) {
        const [{ delta, finish_reason }] = chunk.choices as Choices;
        text += delta.content ?? "";
        ids.add(chunk.id);
        if (delta.role !== undefined) roles += 1;
        if (finish_reason !== null) finished.push(finish_reason);
        expect(delta.tool_calls).toBeUndefined();
      }
      expect(text).toMatch(/^One moment. The tool says: .*56154/);
      expect({ roles, finished, ids: ids.size }).toEqual({ roles: 1, finished: ["stop"], ids: 1 });
    });

    test("reads usage of all model calls in the last chunk, which alone has no choices", async () => {
      const options = { stream: true, stream_options: { include_usage: true } } as const;
      const chunks: OpenAI.ChatCompletionChunk[] = [];
      const { completions } = clientOf(release, stageOf()).chat;
      for await (const chunk of await completions.create({ ...ask("calculate 1337 * 42"), ...options })) chunks.push(chunk);
      expect(chunks.pop()).toMatchObject({ choices: [], usage: { prompt_tokens: 38, completion_tokens: 20, total_tokens: 58 } });
      expect(chunks.every(({ choices }) => choices.length === 1)).toBe(true);
    });

    test("reads calls of the client's own tools", async () => {
      const tools = [{ type: "function" as const, function: { name: "get_weather" } }];
      const stream = await clientOf(release, stageOf()).chat.completions.create({ ...ask("get_weather"), tools, stream: true });
      let args = "";
      let last: string | null = null;
      for await (const chunk of stream) {
        const [{ delta, finish_reason }] = chunk.choices as Choices;
        for (const call of delta.tool_calls ?? []) args += call.function?.arguments ?? "";
        last = finish_reason ?? last;
      }
      expect([args, last]).toEqual(['{"city":"Paris"}', "tool_calls"]);
    });
  });
}
