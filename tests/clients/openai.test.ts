import OpenAI, { APIError, AuthenticationError, NotFoundError } from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startAllInOne } from "../e2e/all-in-one.ts";
import { restApi } from "../e2e/api.ts";
import type { System } from "../e2e/system.ts";

const weather = {
  type: "function" as const,
  function: {
    name: "get_weather",
    description: "The weather of a city.",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};

describe("unmodified openai-node", () => {
  let system: System;
  let openai: OpenAI;

  beforeAll(async () => {
    system = await startAllInOne();
    const api = restApi(system.baseUrl);
    await api.register("openai@example.com", "correct-horse-battery");
    const { accessToken } = await api.login("openai@example.com", "correct-horse-battery");
    const response = await fetch(`${system.baseUrl}/v1/api-keys`, {
      method: "POST",
      headers: { authorization: `Bearer ${accessToken}`, "content-type": "application/json" },
      body: JSON.stringify({ name: "openai-node", rate_limit_per_minute: 60 }),
    });
    const { data } = (await response.json()) as { data: { key: string } };
    openai = new OpenAI({ baseURL: `${system.baseUrl}/v1`, apiKey: data.key });
  }, 60_000);

  afterAll(async () => {
    await system?.stop();
  });

  const ask = (content: string) => ({ model: "gpt-4o-mini", messages: [{ role: "user" as const, content }] });

  test("completes a plain chat", async () => {
    const completion = await openai.chat.completions.create(ask("Tell me a story"));
    expect(completion.object).toBe("chat.completion");
    expect(completion.choices[0]?.finish_reason).toBe("stop");
    expect(completion.choices[0]?.message.content).toContain("Tell me a story");
    expect(completion.usage?.total_tokens).toBeGreaterThan(0);
  });

  test("streams a chat, with usage on request", async () => {
    const stream = await openai.chat.completions.create({
      ...ask("Tell me a story"),
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    let usage = 0;
    const ids = new Set<string>();
    for await (const chunk of stream) {
      ids.add(chunk.id);
      text += chunk.choices[0]?.delta.content ?? "";
      usage = chunk.usage?.total_tokens ?? usage;
    }
    expect(text).toContain("Tell me a story");
    expect(usage).toBeGreaterThan(0);
    expect(ids.size).toBe(1);
  });

  test("completes and streams a chat that uses the server's calculator", async () => {
    const completion = await openai.chat.completions.create(ask("What is 1337 * 42?"));
    expect(completion.choices[0]?.message.content).toContain("56154");
    const final = await openai.chat.completions.stream(ask("What is 1337 * 42?")).finalChatCompletion();
    expect(final.choices[0]?.message.content).toContain("56154");
    expect(final.choices[0]?.message.tool_calls ?? []).toEqual([]);
  });

  test("receives calls of its own tools, streamed or not, and continues with their results", async () => {
    const request = { ...ask("What does get_weather say of Paris?"), tools: [weather] };
    const first = await openai.chat.completions.create(request);
    const call = first.choices[0]?.message.tool_calls?.[0];
    if (call?.type !== "function") throw new Error("The model did not call the client's tool.");
    expect(call.function.name).toBe("get_weather");
    expect(first.choices[0]?.finish_reason).toBe("tool_calls");

    const streamed = await openai.chat.completions.stream(request).finalChatCompletion();
    const streamedCall = streamed.choices[0]?.message.tool_calls?.[0];
    expect(streamedCall?.type === "function" && streamedCall.function).toMatchObject({
      name: "get_weather",
      arguments: call.function.arguments,
    });

    const answer = await openai.chat.completions.create({
      ...request,
      messages: [
        ...request.messages,
        { role: "assistant", tool_calls: [call] },
        { role: "tool", tool_call_id: call.id, content: "Sunny, 24 degrees" },
      ],
    });
    expect(answer.choices[0]?.message.content).toContain("Sunny, 24 degrees");
  });

  test("maps errors to its own classes, with message, code and param", async () => {
    await expect(new OpenAI({ baseURL: `${system.baseUrl}/v1`, apiKey: "sk-wrong" }).models.list()).rejects.toThrow(
      AuthenticationError,
    );
    await expect(openai.models.retrieve("no-such-model")).rejects.toThrow(NotFoundError);
    const failure = await openai.chat.completions.create({ model: "gpt-4o-mini", messages: [] }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(APIError);
    expect(failure).toMatchObject({ status: 400, param: "messages", code: "INVALID_REQUEST" });
    const streamed = await openai.chat.completions
      .create({ model: "gpt-4o-mini", messages: [], stream: true })
      .catch((error: unknown) => error);
    expect(streamed).toMatchObject({ status: 400, param: "messages" });
  });

  test("lists models", async () => {
    const ids: string[] = [];
    for await (const model of openai.models.list()) ids.push(model.id);
    expect(ids).toContain("gpt-4o-mini");
    expect((await openai.models.retrieve("gpt-4o-mini")).object).toBe("model");
  });
});
