import { afterAll, beforeAll, expect, test } from "vitest";
import type { Json } from "../json-call.ts";
import { startAllInOne } from "./all-in-one.ts";
import { type Api, restApi } from "./api.ts";
import { type EffectCounter, startEffectCounter } from "./effect-counter.ts";
import type { System } from "./system.ts";

const account = { email: "away@example.com", password: "SecurePass123" };
let effects: EffectCounter;
let system: System;
let api: Api;

beforeAll(async () => {
  effects = await startEffectCounter();
  const env = { TOOLS_ALLOWED_HOSTS: effects.host, APPROVAL_EXPIRY: "1s" };
  system = await startAllInOne(env);
  api = restApi(system.baseUrl);
});
afterAll(async () => {
  await system.stop();
  await effects.close();
});

test("a run whose approval expires continues without the call and answers", async () => {
  await api.register(account.email, account.password);
  const { accessToken } = await api.login(account.email, account.password);
  const parked = await api.createConversation(accessToken, `Send an HTTP request to ${effects.url} saying hello`);
  expect(parked.response).toBe("pending_approval");
  const get = async (path: string, init: RequestInit = {}): Promise<Json> => {
    const headers = { authorization: `Bearer ${accessToken}`, "content-type": "application/json" };
    return (await fetch(`${system.baseUrl}${path}`, { headers, ...init })).json();
  };
  const record = () => api.getConversation(accessToken, parked.conversationId);
  await expect.poll(async () => (await record()).roles, { timeout: 15_000 }).toEqual(["user", "assistant", "tool", "assistant"]);
  expect((await record()).contents.join("\n")).toContain("expired");
  expect((await record()).status).toBe("active");
  const [approval] = (await get("/v1/approvals?status=rejected")).data.approvals;
  expect(approval).toMatchObject({ reason: "expired", decided_by: "" });
  expect(Date.parse(approval.expires_at) - Date.parse(approval.created_at)).toBe(1_000);
  const late = await get(`/v1/approvals/${approval.id}/decision`, { method: "POST", body: '{"approved":true}' });
  expect(late.error).toMatchObject({ code: "APPROVAL_EXPIRED", message: expect.stringContaining("in time") });
  expect(effects.bodies).toEqual([]);
});
