import { join } from "node:path";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { AgentService } from "@turnwright/contract/agent/v1/agent_service";
import { detailOf } from "@turnwright/platform/errors";
import { type ScriptedModel, startScriptedModel } from "@turnwright/testing/scripted-model";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { jsonCaller } from "../json-call.ts";
import { startAllInOne } from "./all-in-one.ts";
import type { System } from "./system.ts";

let model: ScriptedModel;
let system: System;
let token: string;

beforeAll(async () => {
  model = await startScriptedModel();
  const env = { LLM_BASE_URL: model.url, TOOLS_DIR: join(import.meta.dirname, "tools") };
  system = await startAllInOne(env);
  const account = '{"email":"exact@example.com","password":"SecurePass123"}';
  await call("POST", "/v1/auth/register", account.replace("}", ',"name":"E"}'));
  token = (await call("POST", "/v1/auth/login", account)).body.data.access_token;
});
afterAll(async () => {
  await system.stop();
  await model.close();
});

/** Sends a request. The body is text, so that it arrives byte for byte. */
const call = jsonCaller(
  () => system.baseUrl,
  () => token,
);

/** Starts a run whose call waits for approval; returns the approval's id. */
async function parked(args: string): Promise<string> {
  model.reply({ calls: [{ id: "call_1", name: "delete_record", arguments: args }] });
  expect((await call("POST", "/v1/conversations", '{"message":"Delete it"}')).body.data.response).toBe("pending_approval");
  const [approval] = (await call("GET", "/v1/approvals")).body.data.approvals;
  expect(approval.arguments).toBe(args);
  return approval.id;
}
const readBy = (index: number) => String(model.requests[index]?.body.messages.at(-1)?.content);
const decide = async (id: string, decision: string) => {
  const asked = model.requests.length;
  model.reply({ text: "Done." });
  const { status, body } = await call("POST", `/v1/approvals/${id}/decision`, decision);
  return { status, body, result: readBy(asked) };
};

describe("the arguments that a person approves", () => {
  test.each([
    '{"id":"9007199254740995"}',
    '{ "note" : "as it is",\n "id":9007199254740991 }',
    '{"id":1.50}',
    '{"id":100000000000000000000}',
    '{"id":1.0}',
    '{"id":12.34500e-1}',
    '{"id":"9007199254740993.00","note":"[9007199254740993]"}',
  ])("are stored and run byte for byte: %s", async (edited) => {
    const id = await parked('{"id": 1}');
    const { status, result } = await decide(id, `{"approved":true, "arguments" : ${edited} }`);
    expect(status).toBe(200);
    expect(JSON.parse(result)).toEqual({ deleted: JSON.parse(edited).id });
    expect((await call("GET", `/v1/approvals/${id}`)).body.data.approval).toMatchObject({
      arguments: '{"id": 1}',
      edited_arguments: edited,
    });
  });

  test.each([
    ['{"id":9007199254740995}', "id"],
    ['{"id":1e400}', "id"],
    ['{"id":9007199254740990.7}', "id"],
    ['{"id":1,"note":[1,{"deep":18446744073709551615}]}', "note.1.deep"],
    ['{"id":1,"id":2}', "id"],
    ["[1]", "arguments"],
  ])("are refused if the tool would receive different ones: %s", async (edited, param) => {
    const id = await parked('{"id": 2}');
    const refused = await call("POST", `/v1/approvals/${id}/decision`, `{"approved":true,"arguments":${edited}}`);
    expect(refused).toMatchObject({ status: 400, body: { error: { param } } });
    expect((await call("GET", `/v1/approvals/${id}`)).body.data.approval).toMatchObject({
      status: "pending",
      edited_arguments: "",
    });
    const { result } = await decide(id, '{"approved":true}');
    expect(JSON.parse(result)).toEqual({ deleted: 2 });
  });

  test.each([
    '{"id": 9007199254740993}',
    '{"id":-9007199254740993}',
    '{"id":9007199254740993e0}',
    '{"id":9007199254740990.7}',
    '{"id":1.00000000000000000001}',
    '{"id":1e400}',
    '{"id":1e-400}',
    '{"id":1,"id":2}',
    '{"id":1,"\\u0069d":2}',
    "{}",
  ])("are never those of a call that cannot run as written: %s", async (args) => {
    const asked = model.requests.length;
    model.reply({ calls: [{ id: "call_1", name: "delete_record", arguments: args }] }, { text: "I see." });
    const { data } = (await call("POST", "/v1/conversations", '{"message":"Delete it"}')).body;
    expect(data.response).toBe("I see.");
    expect(JSON.parse(readBy(asked + 1))).toEqual({ error: expect.stringMatching(/^id: /) });
    expect((await call("GET", "/v1/approvals")).body.data.approvals).toEqual([]);
  });

  test("may be sent as text on the other protocols, which refuse numbers that lost digits", async () => {
    const id = await parked('{"id": 3}');
    const agent = createClient(AgentService, createConnectTransport({ baseUrl: system.baseUrl, httpVersion: "1.1" }));
    const options = { headers: { authorization: `Bearer ${token}` } };
    for (const useBinaryFormat of [true, false]) {
      const transport = createConnectTransport({ baseUrl: system.baseUrl, httpVersion: "1.1", useBinaryFormat });
      const request = { approvalId: id, approved: true, arguments: { id: 2 ** 53 } };
      const refusal = await createClient(AgentService, transport).decideApproval(request, options).catch(detailOf);
      expect(refusal).toMatchObject({ param: "arguments" });
    }
    const argumentsJson = ' {"id" : "9007199254740997"}';
    const asked = model.requests.length;
    model.reply({ text: "Done." });
    await agent.decideApproval({ approvalId: id, approved: true, argumentsJson }, options);
    expect(JSON.parse(readBy(asked))).toEqual({ deleted: "9007199254740997" });
    expect((await call("GET", `/v1/approvals/${id}`)).body.data.approval.edited_arguments).toBe(argumentsJson);
  });
});
