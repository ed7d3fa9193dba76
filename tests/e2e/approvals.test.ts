import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { jsonCaller } from "../json-call.ts";
import { startAllInOne } from "./all-in-one.ts";
import { type EffectCounter, startEffectCounter } from "./effect-counter.ts";
import type { System } from "./system.ts";

let effects: EffectCounter;
let system: System;
let token: string;

beforeAll(async () => {
  effects = await startEffectCounter();
  system = await startAllInOne({ TOOLS_ALLOWED_HOSTS: effects.host });
  const account = { email: "approver@example.com", password: "SecurePass123" };
  await call("POST", "/v1/auth/register", { ...account, name: "A" });
  token = (await call("POST", "/v1/auth/login", account)).body.data.access_token;
});
afterAll(async () => {
  await system.stop();
  await effects.close();
});

const call = jsonCaller(
  () => system.baseUrl,
  () => token,
);

/** Starts a run that waits for approval; returns the approval. */
async function parked(text: string) {
  const { body } = await call("POST", "/v1/conversations", { message: `Send an HTTP request to ${effects.url} saying ${text}` });
  expect(body.data.response).toBe("pending_approval");
  const { approvals } = (await call("GET", "/v1/approvals")).body.data;
  const approval = approvals.find((one: { conversation_id: string }) => one.conversation_id === body.data.conversation_id);
  expect(approval).toMatchObject({ tool_name: "http_request", status: "pending", edited_arguments: "" });
  return approval as { id: string; conversation_id: string; arguments: string };
}

describe("an approval", () => {
  test("may be decided once, also with other arguments, which are validated", async () => {
    const approval = await parked("hello");
    const decide = (body: object) => call("POST", `/v1/approvals/${approval.id}/decision`, body);
    const args = JSON.parse(approval.arguments);

    const wrong = await decide({ approved: true, arguments: { ...args, method: "STEAL" } });
    expect(wrong).toMatchObject({ status: 400, body: { error: { param: "method" } } });
    expect((await decide({ reason: "?" })).status).toBe(400);
    expect((await decide({ approved: false, arguments: args })).status).toBe(400);
    expect(effects.bodies).toEqual([]);

    const answers = await Promise.all(
      Array.from({ length: 10 }, () => decide({ approved: true, reason: "edited", arguments: { ...args, body: "goodbye" } })),
    );
    expect(answers.map((answer) => answer.status).sort()).toEqual([200, ...Array(9).fill(409)]);
    const won = answers.find((answer) => answer.status === 200);
    expect(won?.body.data).toMatchObject({ conversation_id: approval.conversation_id, status: "approved" });
    expect(effects.bodies).toEqual(["goodbye"]);

    const { data } = (await call("GET", `/v1/approvals/${approval.id}`)).body;
    expect(data.approval).toMatchObject({ status: "approved", reason: "edited", arguments: approval.arguments });
    expect(JSON.parse(data.approval.edited_arguments)).toEqual({ ...args, body: "goodbye" });
    expect((await call("GET", "/v1/approvals")).body.data.approvals).toEqual([]);
    expect((await call("GET", "/v1/approvals?status=approved")).body.data.approvals).toHaveLength(1);
  });

  test("that is rejected runs nothing, and the answer says so", async () => {
    const approval = await parked("never");
    const before = effects.bodies.length;
    const { status, body } = await call("POST", `/v1/approvals/${approval.id}/decision`, { approved: false, reason: "no" });
    expect(status).toBe(200);
    expect(body.data.status).toBe("rejected");
    expect(effects.bodies).toHaveLength(before);
  });
});
