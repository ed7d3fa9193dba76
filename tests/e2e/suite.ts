import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Api, ApiError } from "./api.ts";
import { type EffectCounter, startEffectCounter } from "./effect-counter.ts";
import type { System } from "./system.ts";

/** Starts the system under test. Tools may reach `allowedHost` although it is a loopback address. */
export type StartSystem = (allowedHost: string) => Promise<System>;

const chat = (content: string) => ({ model: "gpt-4o-mini", messages: [{ role: "user", content }] });

async function refusal(work: Promise<unknown>): Promise<ApiError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof ApiError) return error;
    throw error;
  }
  throw new Error("The call was not refused.");
}

/** The limit on bodies in the tested systems, above that on messages between parts with the default. */
export const bodyLimit = 16_777_216;

/** A chat with a picture, of `bytes` bytes in all. */
function chatWithPicture(bytes: number): object {
  const chatOf = (data: string) => ({
    model: "gpt-4o-mini",
    messages: [
      {
        role: "user",
        content: [
          { type: "text", text: "What is this?" },
          { type: "image_url", image_url: { url: `data:image/png;base64,${data}` } },
        ],
      },
    ],
  });
  return chatOf("A".repeat(bytes - JSON.stringify(chatOf("")).length));
}

/**
 * The end-to-end suite: the same expectations for every shape of the system and every protocol. The system starts once,
 * and each protocol's client registers a user. `describeMore` adds tests of the same system.
 */
export function describeSystem(
  shape: string,
  start: StartSystem,
  clients: Readonly<Record<string, (system: System) => Api>>,
  describeMore: (running: () => System) => void = () => {},
): void {
  describe(`Turnwright as ${shape}`, () => {
    let effects: EffectCounter;
    let system: System;

    beforeAll(async () => {
      effects = await startEffectCounter();
      system = await start(effects.host);
    }, 120_000);

    afterAll(async () => {
      await system?.stop();
      await effects?.close();
    });

    for (const [protocol, apiOf] of Object.entries(clients)) {
      describeClient(protocol, () => ({ effects, system, api: apiOf(system) }));
    }
    describeMore(() => system);
  });
}

function describeClient(protocol: string, running: () => { effects: EffectCounter; system: System; api: Api }): void {
  describe(`over ${protocol}`, () => {
    let effects: EffectCounter;
    let system: System;
    let api: Api;
    let token: string;
    const email = `e2e-${randomUUID()}@example.com`;
    const password = "correct-horse-battery";

    beforeAll(async () => {
      ({ effects, system, api } = running());
      await api.register(email.toUpperCase(), password);
      token = (await api.login(email, password)).accessToken;
    });

    test("refuses a second account with the same address, a wrong password and a missing or forged token", async () => {
      expect((await refusal(api.register(email, password))).message).toMatch(/email/i);
      expect((await refusal(api.login(email, "wrong-password"))).unauthenticated).toBe(true);
      expect((await refusal(api.listTools(`${token.slice(0, -4)}AAAA`))).unauthenticated).toBe(true);
      expect((await refusal(api.listTools("garbage"))).unauthenticated).toBe(true);
    });

    test("refreshes a session, and refuses a refresh token as an access token", async () => {
      const session = await api.login(email, password);
      expect(session.expiresIn).toBe(900);
      expect((await refusal(api.listTools(session.refreshToken))).unauthenticated).toBe(true);
      const renewed = await api.refresh(session.refreshToken);
      expect(await api.listTools(renewed.accessToken)).toContain("calculator");
    });

    test("lists tools, and executes them singly and in a batch", async () => {
      expect(await api.listTools(token)).toEqual(
        expect.arrayContaining(["calculator", "current_time", "fetch_url", "http_request", "web_search"]),
      );
      expect(await api.executeTool(token, "calculator", { expression: "1337 * 42" })).toEqual({
        expression: "1337 * 42",
        result: 56154,
      });
      expect(
        await api.batchTools(token, [
          { name: "calculator", args: { expression: "2+2" } },
          { name: "calculator", args: { expression: "1/0" } },
        ]),
      ).toEqual([
        { expression: "2+2", result: 4 },
        { expression: "1/0", error: expect.any(String) },
      ]);
      expect((await refusal(api.executeTool(token, "no_such_tool", {}))).notFound).toBe(true);
      expect((await refusal(api.executeTool(token, "calculator", { expression: 5 }))).message).toMatch(/expression/);
    });

    test("does not run a tool that needs approval when it is called directly", async () => {
      await refusal(api.executeTool(token, "http_request", { method: "POST", url: effects.url, body: "direct" }));
      expect(effects.bodies).not.toContain("direct");
    });

    test("completes a chat with a server-side tool", async () => {
      const answer = await api.complete(token, chat("What is 1337 * 42?"));
      expect(answer.content).toMatch(/56,?154/);
      expect(answer.totalTokens).toBeGreaterThan(0);
      expect(answer.toolCalls).toEqual([]);
    });

    test("returns calls of the client's own tools as tool calls", async () => {
      const tools = [
        {
          type: "function",
          function: { name: "get_weather", parameters: { type: "object", properties: { city: { type: "string" } } } },
        },
      ];
      const answer = await api.complete(token, { ...chat("Weather?"), tools, tool_choice: "required" });
      expect(answer.toolCalls).toEqual(["get_weather"]);
    });

    test("streams a completion as OpenAI's chunks with the seed's fields beside them", async () => {
      const { frames, done } = await api.streamComplete(token, chat("Tell me a story"));
      expect(done).toBe(true);
      const chunks = frames.map((frame) => JSON.parse(frame));
      const seed = chunks
        .filter((chunk) => chunk.type === "content")
        .map((chunk) => chunk.delta)
        .join("");
      const openai = chunks.map((chunk) => chunk.choices?.[0]?.delta?.content ?? "").join("");
      expect(seed.length).toBeGreaterThan(10);
      expect(openai).toBe(seed);
      expect(chunks.some((chunk) => chunk.choices?.[0]?.finish_reason === "stop")).toBe(true);
    });

    test("streams the answer after a server-side tool ran", async () => {
      const { frames, done } = await api.streamComplete(token, chat("What is 1337 * 42?"));
      expect(done).toBe(true);
      const text = frames.map((frame) => JSON.parse(frame).choices?.[0]?.delta?.content ?? "").join("");
      expect(text).toMatch(/56,?154/);
    });

    test("takes bodies up to the configured limit, and none beyond it", async () => {
      const { content } = await api.complete(token, chatWithPicture(bodyLimit));
      expect(content).toContain("What is this?");
      const { done } = await api.streamComplete(token, chatWithPicture(10_000_000));
      expect(done).toBe(true);
      expect((await refusal(api.complete(token, chatWithPicture(bodyLimit + 1)))).message).toMatch(/larger than/);
    });

    test("names the field of a bad completion", async () => {
      const empty = await refusal(api.complete(token, { model: "gpt-4o-mini", messages: [] }));
      expect(empty.invalid).toBe(true);
      expect(empty.message).toMatch(/messages/);
      const role = await refusal(api.complete(token, { model: "gpt-4o-mini", messages: [{ role: "wizard", content: "hi" }] }));
      expect(role.message).toMatch(/messages\[0\]\.role/);
    });

    test("stores a conversation: question, tool round, answer, next question", async () => {
      const first = await api.createConversation(token, "What is 1337 * 42?");
      expect(first.response).toMatch(/56,?154/);
      expect(first.message).toBe(first.response);
      const second = await api.sendMessage(token, first.conversationId, "Thank you");
      expect(second.response.length).toBeGreaterThan(0);
      const record = await api.getConversation(token, first.conversationId);
      expect(record.roles).toEqual(["user", "assistant", "tool", "assistant", "user", "assistant"]);
      expect(record.sequenceNumbers).toEqual([1, 2, 3, 4, 5, 6]);
      expect(record.contents[0]).toBe("What is 1337 * 42?");
      expect(record.status).toBe("active");
      const listed = await api.listConversations(token);
      expect(listed.ids[0]).toBe(first.conversationId);
      expect(listed.total).toBe(listed.ids.length);
    });

    test("streams a run and stores the streamed answer", async () => {
      const turn = await api.streamTurn(token, "Tell me a story");
      expect(turn.types[0]).toBe("started");
      expect(turn.types.at(-1)).toBe("finish");
      const record = await api.getConversation(token, turn.conversationId);
      expect(record.contents.at(-1)).toBe(turn.text);
    });

    test("parks a run at a tool that needs approval, and continues once when it is approved", async () => {
      const body = `approved ${randomUUID()}`;
      const parked = await api.createConversation(token, `Send an HTTP request to ${effects.url} saying ${body}`);
      expect(parked.response).toBe("pending_approval");
      expect(parked.message).toBeUndefined();
      const waiting = await api.getConversation(token, parked.conversationId);
      expect(waiting.status).toBe("pending_approval");
      expect(waiting.pendingCalls).toHaveLength(1);
      expect(effects.bodies).not.toContain(body);
      await refusal(api.sendMessage(token, parked.conversationId, "Hello?"));

      const decided = await Promise.allSettled([
        api.approve(token, parked.conversationId, true, "Looks safe"),
        api.approve(token, parked.conversationId, true, "Looks safe"),
      ]);
      const winners = decided.filter((result) => result.status === "fulfilled");
      expect(winners).toHaveLength(1);
      expect(winners[0]?.value.status).toBe("approved");
      expect(winners[0]?.value.response.length).toBeGreaterThan(0);
      expect(effects.bodies.filter((text) => text === body)).toHaveLength(1);
      expect((await api.getConversation(token, parked.conversationId)).status).toBe("active");
    });

    test("does not run a rejected call, and tells the model", async () => {
      const body = `rejected ${randomUUID()}`;
      const parked = await api.createConversation(token, `Send an HTTP request to ${effects.url} saying ${body}`);
      const decided = await api.approve(token, parked.conversationId, false, "Not today");
      expect(decided.status).toBe("rejected");
      expect(effects.bodies).not.toContain(body);
      const record = await api.getConversation(token, parked.conversationId);
      expect(record.contents.join("\n")).toContain("Not today");
    });

    test("shows another user nothing", async () => {
      const mine = await api.createConversation(token, "Hello");
      const other = `other-${randomUUID()}@example.com`;
      await api.register(other, password);
      const theirs = (await api.login(other, password)).accessToken;
      expect((await refusal(api.getConversation(theirs, mine.conversationId))).notFound).toBe(true);
      expect((await refusal(api.sendMessage(theirs, mine.conversationId, "Hi"))).notFound).toBe(true);
      expect((await refusal(api.approve(theirs, mine.conversationId, true, ""))).message.length).toBeGreaterThan(0);
      expect(await api.listConversations(theirs)).toEqual({ ids: [], total: 0 });
    });

    test("refuses a malformed id and an unknown agent, and names the field", async () => {
      expect((await refusal(api.getConversation(token, "not-a-uuid"))).invalid).toBe(true);
      const unknown = await refusal(api.createConversation(token, "Hello", "wizard"));
      expect(unknown.invalid).toBe(true);
      expect(unknown.message).toMatch(/agent_type/);
    });

    test("never logs a password, a token or a prompt", () => {
      const log = system.log();
      expect(log).not.toContain(password);
      expect(log).not.toContain(token);
      expect(log).not.toContain("Tell me a story");
    });
  });
}
