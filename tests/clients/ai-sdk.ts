import { createOpenAI, type OpenAIProvider } from "@ai-sdk/openai";
import { APICallError, generateText, jsonSchema, Output, stepCountIs, streamText, tool } from "ai";
import { describe, expect, test } from "vitest";
import { forecast } from "./openai-node.ts";
import { type ClientStage, model, weather } from "./stage.ts";

/** The AI SDK's provider for the stage. */
export function providerOf(stage: ClientStage, apiKey = stage.key): OpenAIProvider {
  return createOpenAI({ baseURL: stage.url, apiKey });
}

/** The error of a call, as the AI SDK tells it. */
export async function callError(work: PromiseLike<unknown>): Promise<APICallError> {
  try {
    await work;
  } catch (error) {
    if (APICallError.isInstance(error)) return error;
    throw error;
  }
  throw new Error("The call was not refused.");
}

/** Tests of an unmodified AI SDK. */
export function describeAiSdk(name: string, stageOf: () => ClientStage): void {
  const chat = (id = model) => providerOf(stageOf()).chat(id);
  const tools = {
    get_weather: tool({
      description: weather.description,
      inputSchema: jsonSchema<{ city: string }>(weather.parameters as Parameters<typeof jsonSchema>[0]),
      execute: ({ city }) => `${city} is sunny`,
    }),
  };

  describe(name, () => {
    test("generates text, with usage", async () => {
      const { text, usage, finishReason } = await generateText({ model: chat(), prompt: "hello" });
      expect(text).toBe("You said: hello");
      expect(usage).toMatchObject({ inputTokens: 19, outputTokens: 10, totalTokens: 29 });
      expect(finishReason).toBe("stop");
    });

    test("generates text with the server's tools", async () => {
      const { text, toolCalls, usage } = await generateText({ model: chat(), prompt: "calculate 1337 * 42" });
      expect(text).toContain("56154");
      expect(toolCalls).toEqual([]);
      expect(usage.totalTokens).toBe(58);
    });

    test("streams text, with usage", async () => {
      const result = streamText({ model: chat(), prompt: "hello" });
      let text = "";
      for await (const piece of result.textStream) text += piece;
      expect(text).toBe("You said: hello");
      expect((await result.usage).totalTokens).toBe(29);
    });

    test("runs its own tools, streamed or not", async () => {
      const call = { tools, stopWhen: stepCountIs(3), prompt: "get_weather of Paris" };
      expect((await generateText({ model: chat(), ...call })).text).toBe("The tool says: Paris is sunny");
      expect(await streamText({ model: chat(), ...call }).text).toBe("The tool says: Paris is sunny");
    });

    test("generates an object, for which no tools are offered", async () => {
      const call = { prompt: "How is Paris?", output: Output.object({ schema: forecast }) };
      expect((await generateText({ model: chat(), ...call })).output).toEqual({ city: "Paris", degrees: 24 });
      expect(stageOf().endpoint.requests.at(-1)).not.toHaveProperty("tools");
      expect(await streamText({ model: chat(), ...call }).output).toEqual({ city: "Paris", degrees: 24 });
    });

    test("ends the model's work when it is aborted", async () => {
      const { endpoint } = stageOf();
      const abort = new AbortController();
      const endless = `endless answer of ${name}`;
      const refused = expect(generateText({ model: chat(endless), prompt: "go", abortSignal: abort.signal })).rejects.toThrow(
        /abort/i,
      );
      await endpoint.asked(endless);
      abort.abort();
      await Promise.all([refused, endpoint.left(endless)]);
    });

    test("tells wrong credentials and forbidden models apart", async () => {
      const stage = stageOf();
      const refused = (key: string, id: string) =>
        callError(generateText({ model: providerOf(stage, key).chat(id), prompt: "hello", maxRetries: 0 }));
      expect(await refused("sk-wrong", model)).toMatchObject({ statusCode: 401, isRetryable: false });
      expect(await refused(stage.limitedKey, "gpt-other")).toMatchObject({ statusCode: 403, isRetryable: false });
    });
  });
}
