import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { System } from "../e2e/system.ts";
import {
  callOf,
  calls,
  chunk,
  completion,
  isAnswered,
  refuses,
  type ScriptedEndpoint,
  says,
  startScriptedEndpoint,
  usageChunk,
} from "./scripted-endpoint.ts";
import { startAt } from "./stage.ts";
import { newUser, surfaces, type User } from "./user.ts";

let endpoint: ScriptedEndpoint;
let system: System;
let user: User;
beforeAll(async () => {
  endpoint = await startScriptedEndpoint();
  system = await startAt(endpoint.url);
  user = await newUser(system.baseUrl);
});
afterAll(async () => {
  await system.stop();
  await endpoint.close();
});

const sum = callOf("call_1", "calculator", '{"expression":"2+3"}');
const newest = () => endpoint.received.at(-1)?.body.messages ?? [];

describe("fields that the endpoint wants back", () => {
  test.each(surfaces)("reasoning_content comes back with its calls: %s", async (surface) => {
    endpoint.script = (body) => {
      const isMissing = body.messages.some(
        ({ role, tool_calls, reasoning_content }) => role === "assistant" && tool_calls?.length && !reasoning_content,
      );
      if (isMissing)
        return refuses(400, { message: "The `reasoning_content` in the thinking mode must be passed back to the API." });
      if (isAnswered(body)) return says(body, "It is 5.");
      const events = [
        chunk({ role: "assistant", content: null, reasoning_content: "I should " }),
        chunk({ content: null, reasoning_content: "calculate." }),
        chunk({ tool_calls: [{ index: 0, ...sum }] }),
        chunk({ content: "" }, "tool_calls"),
        usageChunk(),
      ];
      return body.stream
        ? { events }
        : { json: completion({ content: "", reasoning_content: "I should calculate.", tool_calls: [sum] }, "tool_calls") };
    };
    expect(await user.ask(surface, `thinks, ${surface}`)).toMatchObject({ text: "It is 5.", isWhole: true });
    expect(newest().find(({ tool_calls }) => tool_calls)?.reasoning_content).toBe("I should calculate.");
    if (surface !== "stored") return;
    const conversation = await user.newestConversation();
    expect(await user.ask(surface, "and again", "mock", { conversation })).toMatchObject({ isWhole: true });
    const { json } = await user.call("GET", `/v1/conversations/${conversation}`);
    expect(JSON.stringify(json.data.messages.map(({ content }: { content: string }) => content))).not.toContain("I should");
  });

  test.each(surfaces)("extra_content of a call comes back with it: %s", async (surface) => {
    const signed = { ...sum, extra_content: { google: { thought_signature: "c2ln" } } };
    endpoint.script = (body) => {
      const isMissing = body.messages.some(({ tool_calls }) =>
        tool_calls?.some((call) => JSON.stringify(call?.extra_content) !== '{"google":{"thought_signature":"c2ln"}}'),
      );
      if (isMissing)
        return {
          status: 400,
          json: [
            {
              error: {
                code: 400,
                message: "Function call is missing a thought_signature in functionCall parts.",
                status: "INVALID_ARGUMENT",
              },
            },
          ],
        };
      return isAnswered(body) ? says(body, "It is 5.") : calls(body, [signed], "stop");
    };
    expect(await user.ask(surface, `signs, ${surface}`)).toMatchObject({ text: "It is 5.", isWhole: true });
  });
});

describe("a conversation goes on", () => {
  /** Refuses roles that do not alternate, and calls without their results. */
  const strictly =
    (script: ScriptedEndpoint["script"]): ScriptedEndpoint["script"] =>
    (body, response) => {
      const { messages } = body;
      const spoken = messages.filter(({ role }) => role !== "system");
      const open = messages
        .flatMap(({ tool_calls }) => tool_calls ?? [])
        .filter((call) => !messages.some(({ tool_call_id }) => tool_call_id === call?.id));
      const isOdd = spoken.some(({ role }, index) => role === "user" && spoken[index + 1]?.role === "user") || open.length > 0;
      if (isOdd)
        return {
          status: 400,
          json: {
            object: "error",
            message: "conversation roles must alternate user/assistant",
            type: "BadRequestError",
            code: 400,
          },
        };
      return script(body, response);
    };

  test("after failed turns, with an endpoint whose roles must alternate", async () => {
    endpoint.script = strictly((body) => says(body, "hi"));
    expect((await user.say("one")).status).toBe(201);
    const conversation = await user.newestConversation();
    endpoint.script = () => refuses(400, { message: "boom" });
    for (const message of ["two", "three"]) expect((await user.say(message, { conversation })).status).toBe(400);
    endpoint.script = strictly((body) => says(body, "hi"));
    for (const message of ["four", "five"]) expect((await user.say(message, { conversation })).status).toBe(200);
    expect(JSON.stringify(newest())).toContain("five");
  });

  test("after a run that was cancelled between its call and the result", async () => {
    endpoint.script = strictly((body) =>
      isAnswered(body) ? says(body, "done") : calls(body, [callOf("c1", "delete_record", '{"id":1}')]),
    );
    const waiting = await user.say("delete it");
    expect(waiting.json.data.response).toBe("pending_approval");
    const conversation = waiting.json.data.conversation_id;
    const [run] = await user.runs(conversation);
    expect((await user.call("POST", `/v1/runs/${run.id}/cancel`)).json.data.run.status).toBe("cancelled");
    endpoint.script = strictly((body) => says(body, "hi"));
    expect((await user.say("next", { conversation })).status).toBe(200);
  });

  test("after a result and a message that are larger than the model's window", async () => {
    endpoint.script = (body) => {
      const characters = JSON.stringify(body.messages).length;
      if (characters > 500_000)
        return refuses(400, {
          message: `This model's maximum context length is 128000 tokens. However, your messages resulted in ${Math.ceil(characters / 4)} tokens.`,
          param: "messages",
          code: "context_length_exceeded",
        });
      return body.messages.at(-1)?.content === "read the file"
        ? calls(body, [callOf("c1", "large", '{"characters":2000000}')])
        : says(body, "hi");
    };
    expect((await user.say("hello")).status).toBe(201);
    const conversation = await user.newestConversation();
    expect((await user.say("read the file", { conversation })).status).toBe(200);
    for (const message of ["are you there?", "hello?"]) expect((await user.say(message, { conversation })).status).toBe(200);
    expect(JSON.stringify(newest())).toContain("are you there?");
  });
});

test("an answer that was cut says so in its message, its conversation, its run and its stream", async () => {
  const half = [chunk({ role: "assistant", content: "The first half of" }), chunk({}, "length"), usageChunk()];
  endpoint.script = () => ({ events: half });
  const { json } = await user.say("go");
  expect(json.data.message).toMatchObject({ content: "The first half of", finish_reason: "length" });
  const id = json.data.conversation_id;
  expect((await user.call("GET", `/v1/conversations/${id}`)).json.data.conversation.finish_reason).toBe("length");
  expect((await user.runs(id))[0]).toMatchObject({ status: "completed", finish_reason: "length" });
  const streamed = await user.say("go", { stream: true });
  expect(streamed.text).toMatch(/"type":"finish","delta":"length"/);
});
