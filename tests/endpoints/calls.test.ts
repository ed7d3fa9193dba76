import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { System } from "../e2e/system.ts";
import {
  askedIn,
  callOf,
  calls,
  isAnswered,
  resultsIn,
  type ScriptedEndpoint,
  says,
  startScriptedEndpoint,
} from "./scripted-endpoint.ts";
import { startAt } from "./stage.ts";
import { eventually, newUser, surfaces, type User } from "./user.ts";

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

const ended = async (conversation: string) =>
  (
    await eventually(
      () => user.runs(conversation),
      ([run]) => !["queued", "running"].includes(run?.status),
    )
  )[0];

describe("a call that cannot run", () => {
  test.each([
    ["without a name", callOf("c", "", "{}")],
    ["with a name of 150 characters", callOf("c", "x".repeat(150), "{}")],
    ["with a name of 250 characters", callOf("c", "y".repeat(250), "{}")],
    ["with NUL in its name", callOf("c", "calc\0ulator", "{}")],
    ["with half a surrogate pair in its name", callOf("c", "calc\ud800", "{}")],
    ["with 300 KiB of arguments", callOf("c", "calculator", `{"expression":"${"1+".repeat(153_600)}1"}`)],
    ["with NUL in its arguments", callOf("c", "calculator", '{"expression":"1\u0000"}')],
    ["with an id of 500 characters", callOf("i".repeat(500), "nothing", "{}")],
    ["with NUL in its id", callOf("a\0b", "nothing", "{}")],
  ])("is answered to the model, and the conversation goes on: %s", async (name, call) => {
    endpoint.script = (body) =>
      isAnswered(body) || askedIn(body) === "hello again" ? says(body, "recovered") : calls(body, [call]);
    for (const surface of surfaces) {
      const message = `${name}, ${surface}`;
      expect(await user.ask(surface, message)).toMatchObject({ text: "recovered", isWhole: true });
      const about = endpoint.about(message);
      expect(about).toHaveLength(2);
      expect(resultsIn(about[1]?.body)).toEqual([expect.stringContaining("error")]);
    }
    const conversation = await user.newestConversation();
    expect(await ended(conversation)).toMatchObject({ status: "completed" });
    expect((await user.say("hello again", { conversation })).status).toBe(200);
  });

  test.each(["length", "content_filter"])("because the answer was cut never runs: %s", async (finish) => {
    endpoint.script = (body) =>
      isAnswered(body) ? says(body, "done") : calls(body, [callOf("c", "calculator", '{"expression":"100"}')], finish);
    for (const surface of surfaces) {
      const message = `cut at ${finish}, ${surface}`;
      expect((await user.ask(surface, message)).finishReason).toBe(finish);
      expect(endpoint.about(message)).toHaveLength(1);
    }
    expect(await ended(await user.newestConversation())).toMatchObject({ status: "completed", finish_reason: finish });
  });
});

describe("integers that a tool would round", () => {
  test("are refused to the model with the field's name, and never wait for approval", async () => {
    endpoint.script = (body) =>
      isAnswered(body) ? says(body, "done") : calls(body, [callOf("c", "delete_record", '{"id": 9007199254740993}')]);
    expect(await user.ask("stored", "delete a large one")).toMatchObject({ text: "done" });
    expect(resultsIn(endpoint.about("delete a large one")[1]?.body)).toEqual([expect.stringMatching(/id: .*exact/)]);
    expect((await user.call("GET", "/v1/approvals?status=pending")).json.data.approvals).toEqual([]);
  });

  test("in text stay as they are, edited too", async () => {
    endpoint.script = (body) =>
      isAnswered(body) ? says(body, "done") : calls(body, [callOf("c", "delete_record", '{"id": "9007199254740993"}')]);
    for (const [body, id] of [
      ['{"approved":true}', "9007199254740993"],
      ['{"approved":true,"arguments":{"id":"9007199254740995"}}', "9007199254740995"],
    ]) {
      await user.say(`delete ${id}`);
      const [approval] = (await user.call("GET", "/v1/approvals?status=pending")).json.data.approvals;
      expect(approval.arguments).toBe('{"id": "9007199254740993"}');
      expect((await user.call("POST", `/v1/approvals/${approval.id}/decision`, body)).status).toBe(200);
      const result = await eventually(
        async () => resultsIn(endpoint.received.at(-1)?.body),
        (results) => results.length === 1,
      );
      expect(result).toEqual([JSON.stringify({ deleted: id })]);
    }
  });
});

describe("an approval", () => {
  const paused = async (name: string) => {
    endpoint.script = (body) =>
      isAnswered(body) ? says(body, "done") : calls(body, [callOf("c1", "delete_record", '{"id":1}')]);
    const made = await user.call("POST", "/v1/api-keys", { name });
    const { key, api_key } = made.json.data;
    const waiting = await user.withKey(key).say("delete it");
    expect(waiting.json.data.response).toBe("pending_approval");
    return { keyId: api_key.id, conversation: waiting.json.data.conversation_id };
  };

  test("after the key of its run was revoked runs nothing", async () => {
    const { keyId, conversation } = await paused("revoked");
    await user.call("DELETE", `/v1/api-keys/${keyId}`);
    const asked = endpoint.received.length;
    const refused = await eventually(
      () => user.call("POST", `/v1/conversations/${conversation}/approve`, { approved: true }),
      ({ status }) => status !== 200,
    );
    expect(refused.status).toBe(409);
    expect(endpoint.received.length).toBe(asked);
    expect((await user.runs(conversation))[0]).toMatchObject({ status: "failed", error: expect.stringContaining("revoked") });
  });

  test("by a key without the tool is refused", async () => {
    const { conversation } = await paused("approver");
    const narrow = await user.call("POST", "/v1/api-keys", { name: "narrow", allowed_tools: ["calculator"] });
    const approved = await user
      .withKey(narrow.json.data.key)
      .call("POST", `/v1/conversations/${conversation}/approve`, { approved: true });
    expect([approved.status, approved.json.error.code]).toEqual([403, "TOOL_NOT_ALLOWED"]);
    expect((await user.runs(conversation))[0].status).toBe("waiting");
  });
});
