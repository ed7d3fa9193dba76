import type OpenAI from "openai";
import type { zodResponseFormat } from "openai/helpers/zod";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { type ClientStage, model, recordingFetch, weather } from "./stage.ts";

/** A release of openai-node. */
export interface OpenAiNode {
  readonly OpenAI: typeof OpenAI;
  readonly zodResponseFormat: typeof zodResponseFormat;
}

export const ask = (content: string, name = model) => ({ model: name, messages: [{ role: "user" as const, content }] });
export const forecast = z.object({ city: z.string(), degrees: z.number() });

/** A client of a release of openai-node, without retries of its own. */
export function clientOf({ OpenAI: Client }: OpenAiNode, stage: ClientStage, apiKey = stage.key): OpenAI {
  return new Client({ baseURL: stage.url, apiKey, maxRetries: 0 });
}

/** Tests of an unmodified release of openai-node. */
export function describeOpenAiNode(name: string, release: OpenAiNode, stageOf: () => ClientStage): void {
  const openai = () => clientOf(release, stageOf());
  const lastSent = () => stageOf().endpoint.requests.at(-1);

  describe(name, () => {
    test("completes a chat, with usage", async () => {
      const completion = await openai().chat.completions.create(ask("hello"));
      expect(completion.object).toBe("chat.completion");
      expect(completion.choices[0]).toMatchObject({ finish_reason: "stop", message: { content: "You said: hello" } });
      expect(completion.usage).toMatchObject({ prompt_tokens: 19, completion_tokens: 10, total_tokens: 29 });
    });

    test("completes a chat whose tools the server runs", async () => {
      const completion = await openai().chat.completions.create(ask("calculate 1337 * 42"));
      expect(completion.choices[0]?.message.content).toMatch(/^The tool says: .*56154/);
      expect(completion.choices[0]?.message.tool_calls).toBeUndefined();
      expect(completion.usage?.total_tokens).toBe(58);
    });

    test("streams usage on request, in a last chunk without choices", async () => {
      const chunks: OpenAI.ChatCompletionChunk[] = [];
      const options = { stream: true, stream_options: { include_usage: true } } as const;
      for await (const chunk of await openai().chat.completions.create({ ...ask("hello"), ...options })) chunks.push(chunk);
      const last = chunks.pop();
      expect(last).toMatchObject({ choices: [], usage: { total_tokens: 29 } });
      expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("")).toBe("You said: hello");
      expect(new Set(chunks.map(({ id }) => id))).toEqual(new Set([last?.id]));
      expect(chunks.every(({ usage }) => !usage)).toBe(true);
    });

    test("gets calls of its own tools, streamed or not, and goes on with their results", async () => {
      const request = { ...ask("get_weather of Paris"), tools: [{ type: "function" as const, function: weather }] };
      const first = await openai().chat.completions.create(request);
      const [choice] = first.choices;
      const call = choice?.message.tool_calls?.[0];
      expect(choice?.finish_reason).toBe("tool_calls");
      expect(call).toMatchObject({ type: "function", function: { name: "get_weather", arguments: '{"city":"Paris"}' } });
      const streamed = await openai().chat.completions.stream(request).finalChatCompletion();
      expect(streamed.choices[0]?.message.tool_calls?.[0]).toMatchObject({
        id: call?.id,
        function: { arguments: '{"city":"Paris"}' },
      });
      const result = { role: "tool" as const, tool_call_id: call?.id ?? "", content: "sunny" };
      const messages = [...request.messages, choice?.message ?? result, result];
      const answer = await openai().chat.completions.create({ ...request, messages });
      expect(answer.choices[0]?.message.content).toBe("The tool says: sunny");
    });

    test("runs its own tools by itself", async () => {
      const tool = { ...weather, parse: JSON.parse, function: ({ city }: { city: string }) => `${city} is sunny` };
      for (const stream of [false, true]) {
        const body = { ...ask("get_weather of Paris"), tools: [{ type: "function" as const, function: tool }] };
        const runner = stream
          ? openai().chat.completions.runTools({ ...body, stream })
          : openai().chat.completions.runTools({ ...body, stream });
        expect(await runner.finalContent()).toBe("The tool says: Paris is sunny");
      }
    });

    test("gets structured output, for which no tools are offered", async () => {
      const response_format = release.zodResponseFormat(forecast, "forecast");
      const parsed = await openai().chat.completions.parse({ ...ask("How is Paris?"), response_format });
      expect(parsed.choices[0]?.message.parsed).toEqual({ city: "Paris", degrees: 24 });
      expect(lastSent()).not.toHaveProperty("tools");
      const streamed = await openai()
        .chat.completions.stream({ ...ask("How is Paris?"), response_format })
        .finalChatCompletion();
      expect(streamed.choices[0]?.message.parsed).toEqual({ city: "Paris", degrees: 24 });
      const json = await openai().chat.completions.create({
        ...ask("calculate 1 + 1, in JSON"),
        response_format: { type: "json_object" },
      });
      expect(JSON.parse(json.choices[0]?.message.content ?? "")).toEqual({ json: true });
    });

    test("chooses whether the server's tools are offered, by a header or a field", async () => {
      const { completions } = openai().chat;
      const names = () => lastSent()?.tools?.map((tool) => tool.function?.name) ?? [];
      await completions.create(ask("hello"), { headers: { "X-Server-Tools": "off" } });
      expect(names()).toEqual([]);
      await completions.create({ ...ask("hello"), server_tools: "off" } as ReturnType<typeof ask>);
      expect(names()).toEqual([]);
      const json = { ...ask("calculate 6 * 7, in JSON"), response_format: { type: "json_object" as const } };
      await completions.create(json, { headers: { "X-Server-Tools": "on" } });
      expect(names()).toContain("calculator");
      await completions.create({ ...ask("hello"), tools: [] });
      expect(names()).toEqual([]);
      const refused = completions.create(ask("hello"), { headers: { "X-Server-Tools": "maybe" } });
      await expect(refused).rejects.toMatchObject({ status: 400, param: "X-Server-Tools" });
    });

    test("ends the model's work when it is aborted, streamed or not", async () => {
      const { endpoint } = stageOf();
      const streamed = `endless stream of ${name}`;
      for await (const _ of await openai().chat.completions.create({ ...ask("go", streamed), stream: true })) break;
      await endpoint.left(streamed);
      const abort = new AbortController();
      const whole = `endless answer of ${name}`;
      const answer = openai().chat.completions.create(ask("go", whole), { signal: abort.signal });
      const refused = expect(answer).rejects.toThrow(release.OpenAI.APIUserAbortError);
      await endpoint.asked(whole);
      abort.abort();
      await Promise.all([refused, endpoint.left(whole)]);
    });

    test("repeats a refused request after the time that the server names", async () => {
      const stage = stageOf();
      const busy = `busy ${name}`;
      const { fetch, attempts } = recordingFetch(({ status }) => status === 429 && stage.endpoint.free.add(busy));
      const client = new release.OpenAI({ baseURL: stage.url, apiKey: stage.key, fetch, maxRetries: 2 });
      const completion = await client.chat.completions.create(ask("hello", busy));
      expect(completion.choices[0]?.message.content).toBe("You said: hello");
      expect(attempts.map(({ status }) => status)).toEqual([429, 200]);
      const [first, second] = attempts;
      expect(first?.retryAfter).toBeGreaterThanOrEqual(1);
      expect((second?.startedAt ?? 0) - (first?.endedAt ?? 0)).toBeGreaterThanOrEqual((first?.retryAfter ?? 0) * 1_000 - 50);
    });

    test("gets an error of its own class for credentials", async () => {
      const { AuthenticationError, PermissionDeniedError } = release.OpenAI;
      const stage = stageOf();
      await expect(clientOf(release, stage, "sk-wrong").chat.completions.create(ask("hello"))).rejects.toThrow(
        AuthenticationError,
      );
      const limited = clientOf(release, stage, stage.limitedKey).chat.completions;
      expect((await limited.create(ask("hello"))).choices).toHaveLength(1);
      const refused = await limited.create(ask("hello", "gpt-other")).catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(PermissionDeniedError);
      expect(refused).toMatchObject({ status: 403, param: "model" });
    });

    test("lists the models", async () => {
      const ids: string[] = [];
      for await (const { id } of openai().models.list()) ids.push(id);
      expect(ids).toContain(model);
    });
  });
}
