import { AIMessage, HumanMessage, ToolMessage } from "@langchain/core/messages";
import { ChatOpenAI, type ChatOpenAIFields } from "@langchain/openai";
import { describe, expect, test } from "vitest";
import { forecast } from "./openai-node.ts";
import { type ClientStage, model, weather } from "./stage.ts";

/** LangChain's chat model for the stage, without retries of its own. */
export function chatOf(stage: ClientStage, more: ChatOpenAIFields = {}): ChatOpenAI {
  return new ChatOpenAI({ model, apiKey: stage.key, maxRetries: 0, configuration: { baseURL: stage.url }, ...more });
}

/** Tests of an unmodified LangChain. */
export function describeLangChain(name: string, stageOf: () => ClientStage): void {
  const chat = (more?: ChatOpenAIFields) => chatOf(stageOf(), more);
  const lastSent = () => stageOf().endpoint.requests.at(-1);

  describe(name, () => {
    test("answers, with usage", async () => {
      const answer = await chat().invoke("hello");
      expect(answer.text).toBe("You said: hello");
      expect(answer.usage_metadata).toMatchObject({ input_tokens: 19, output_tokens: 10, total_tokens: 29 });
      expect(answer.response_metadata).toMatchObject({ finish_reason: "stop" });
    });

    test("answers with the server's tools", async () => {
      const answer = await chat().invoke("calculate 1337 * 42");
      expect(answer.text).toContain("56154");
      expect(answer.tool_calls).toEqual([]);
      expect(answer.usage_metadata?.total_tokens).toBe(58);
    });

    test("streams, with usage", async () => {
      let text = "";
      let total = 0;
      for await (const chunk of await chat().stream("hello")) {
        text += chunk.text;
        total += chunk.usage_metadata?.total_tokens ?? 0;
      }
      expect(text).toBe("You said: hello");
      expect(total).toBe(29);
    });

    test("calls its own tools, streamed or not, and goes on with their results", async () => {
      const bound = chat().bindTools([{ type: "function", function: weather }]);
      const question = new HumanMessage("get_weather of Paris");
      const first = await bound.invoke([question]);
      const [call] = first.tool_calls ?? [];
      expect(call).toMatchObject({ name: "get_weather", args: { city: "Paris" } });
      let streamed: Awaited<ReturnType<typeof bound.invoke>> | undefined;
      for await (const chunk of await bound.stream([question])) streamed = streamed?.concat(chunk) ?? chunk;
      expect(streamed?.tool_calls).toMatchObject([{ id: call?.id, name: "get_weather", args: { city: "Paris" } }]);
      const result = new ToolMessage({ tool_call_id: call?.id ?? "", content: "sunny" });
      const answer = await bound.invoke([
        question,
        new AIMessage({ content: "", tool_calls: [call ?? { name: "", args: {} }] }),
        result,
      ]);
      expect(answer.text).toBe("The tool says: sunny");
    });

    test.each(["jsonSchema", "jsonMode", "functionCalling"] as const)("gets structured output by %s", async (method) => {
      const question = method === "functionCalling" ? "forecast of Paris" : "How is Paris, in JSON?";
      const shape = method === "jsonSchema" ? forecast : forecast.partial().loose();
      const structured = chat().withStructuredOutput(shape, { method, name: "forecast" });
      const expected = {
        jsonSchema: { city: "Paris", degrees: 24 },
        jsonMode: { json: true },
        functionCalling: { city: "Paris" },
      };
      expect(await structured.invoke(question)).toEqual(expected[method]);
      const names = lastSent()?.tools?.map((tool) => tool.function?.name);
      expect(names).toEqual(method === "functionCalling" ? ["forecast"] : undefined);
    });

    test("ends the model's work when it is aborted", async () => {
      const { endpoint } = stageOf();
      const abort = new AbortController();
      const endless = `endless answer of ${name}`;
      const refused = expect(chat({ model: endless }).invoke("go", { signal: abort.signal })).rejects.toThrow(/abort/i);
      await endpoint.asked(endless);
      abort.abort();
      await Promise.all([refused, endpoint.left(endless)]);
    });

    test("tells wrong credentials and forbidden models apart", async () => {
      const stage = stageOf();
      await expect(chat({ apiKey: "sk-wrong" }).invoke("hello")).rejects.toMatchObject({ status: 401 });
      await expect(chat({ apiKey: stage.limitedKey, model: "gpt-other" }).invoke("hello")).rejects.toMatchObject({ status: 403 });
    });
  });
}
