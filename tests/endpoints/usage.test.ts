import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { System } from "../e2e/system.ts";
import { chunk, completion, framesOf, type ScriptedEndpoint, says, startScriptedEndpoint } from "./scripted-endpoint.ts";
import { startAt } from "./stage.ts";
import { chunksOf, eventually, newUser, surfaces, type User } from "./user.ts";

let endpoint: ScriptedEndpoint;
let system: System;
beforeAll(async () => {
  endpoint = await startScriptedEndpoint();
  endpoint.script = answers;
  system = await startAt(endpoint.url);
});
afterAll(async () => {
  await system.stop();
  await endpoint.close();
});

const counted = (user: User, requests: number) =>
  eventually(
    () => user.usage(),
    (total) => total.requests >= requests,
  );

const tells = (usage: unknown) => `counts ${JSON.stringify(usage)}`;

/** Answers "hello" with the counts that a message of the conversation names. */
const answers: ScriptedEndpoint["script"] = (body) => {
  const named = body.messages.map(({ content }) => String(content)).find((content) => content.startsWith("counts "));
  const usage: unknown = JSON.parse(named?.slice("counts ".length) ?? "null");
  return body.stream
    ? { events: [chunk({ role: "assistant", content: "hello" }), chunk({}, "stop"), { ...chunk({}), choices: [], usage }] }
    : { json: completion({ content: "hello" }, "stop", { usage }) };
};

describe("counts", () => {
  const odd: readonly unknown[] = [
    null,
    {},
    [],
    "none",
    { prompt_tokens: null, completion_tokens: null, total_tokens: null },
    { prompt_tokens: "12", completion_tokens: "3" },
    { prompt_tokens: 12.5, completion_tokens: 3.25, total_tokens: 15.75 },
    { prompt_tokens: -1, completion_tokens: -5, total_tokens: -6 },
    { prompt_tokens: 1e300, completion_tokens: 3e9, total_tokens: 1e300 },
    { prompt_tokens: { tokens: 3 }, completion_tokens: [4] },
    { total_tokens: 9 },
    { input_tokens: 5, output_tokens: 6 },
  ];
  test.concurrent.each(odd.map((one) => [JSON.stringify(one), one]))(
    "of an endpoint that tells %s are whole and estimated",
    async (_text, given) => {
      const user = await newUser(system.baseUrl);
      for (const surface of surfaces)
        expect(await user.ask(surface, tells(given))).toMatchObject({ text: "hello", isWhole: true });
      const conversation = await user.newestConversation();
      expect((await user.runs(conversation))[0]).toMatchObject({ status: "completed" });
      expect((await user.say("again", { conversation })).status).toBe(200);
      const messages = [{ role: "user", content: tells(given) }];
      const options = { messages, stream: true, stream_options: { include_usage: true } };
      const told = chunksOf((await user.chat(options, { headers: { "x-stream-format": "openai" } })).text).findLast(
        (one) => one.usage,
      )?.usage;
      for (const name of ["prompt_tokens", "completion_tokens", "total_tokens"]) {
        expect(Number.isSafeInteger(told?.[name])).toBe(true);
        expect(told[name]).toBeGreaterThan(0);
      }
      const total = await counted(user, 5);
      expect(total.requests).toBe(5);
      for (const count of [total.prompt_tokens, total.completion_tokens]) {
        expect(Number.isSafeInteger(count)).toBe(true);
        expect(count).toBeGreaterThan(0);
        expect(count).toBeLessThan(1_000_000);
      }
    },
  );

  test("of one user that are odd hold up no other user's", async () => {
    const [odd, good] = [await newUser(system.baseUrl), await newUser(system.baseUrl)];
    for (const given of [
      { prompt_tokens: -100, completion_tokens: -5 },
      { prompt_tokens: 12.5, completion_tokens: 3.25 },
    ]) {
      await odd.ask("completion", tells(given));
      const whole = tells({ prompt_tokens: 10, completion_tokens: 2, total_tokens: 12 });
      await good.ask("completion", whole);
      await good.ask("stored", whole);
    }
    expect(await counted(good, 4)).toMatchObject({ requests: 4, prompt_tokens: 40, completion_tokens: 8 });
    expect((await counted(odd, 2)).requests).toBe(2);
    expect((await fetch(`${system.baseUrl}/ready`)).status).toBe(200);
  });
});

test("a stream whose client left is counted, and so is a run that was cancelled", async () => {
  const user = await newUser(system.baseUrl);
  endpoint.script = (body, response) => {
    if (!body.stream) return says(body, "ok");
    response.writeHead(200, { "content-type": "text/event-stream" });
    let count = 0;
    const timer = setInterval(() => void response.write(framesOf([chunk({ content: ` word${count++}` })], false)), 20);
    response.on("close", () => clearInterval(timer));
    return undefined;
  };
  const asked = endpoint.received.length;
  await expect(user.chat({ stream: true }, { timeoutMs: 1_000 })).rejects.toThrow();
  expect(await endpoint.received[asked]?.left).toBe(true);
  const first = await counted(user, 1);
  expect(first.requests).toBe(1);
  expect(first.completion_tokens).toBeGreaterThan(20);
  const { json } = await user.call("POST", "/v1/runs", { message: "long" });
  await eventually(
    async () => endpoint.received.length,
    (count) => count > asked + 1,
  );
  expect((await user.call("POST", `/v1/runs/${json.data.run.id}/cancel`)).status).toBe(200);
  expect((await counted(user, 2)).requests).toBe(2);
});
