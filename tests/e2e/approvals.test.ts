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
    // The same decision again succeeds without a further effect; another one is told which one stands.
    expect(answers.map((answer) => answer.status)).toEqual(Array(10).fill(200));
    for (const { body } of answers) {
      expect(body.data).toEqual({ ...answers[0]?.body.data, conversation_id: approval.conversation_id, status: "approved" });
      expect(body.data.response).not.toBeNull();
    }
    expect(effects.bodies).toEqual(["goodbye"]);
    for (const other of [
      { approved: false, reason: "edited" },
      { approved: true, reason: "other", arguments: { ...args, body: "goodbye" } },
      { approved: true, reason: "edited" },
    ]) {
      const { status, body } = await decide(other);
      expect(status).toBe(409);
      expect(body.error).toMatchObject({
        code: "APPROVAL_DECIDED",
        param: "approved",
        message: expect.stringContaining("by A "),
      });
      const standing = { id: approval.id, status: "approved", reason: "edited", decided_by_name: "A", decided_via: "login" };
      expect(body.error.approval).toMatchObject({ ...standing, is_edited: true });
      expect(Date.parse(body.error.approval.decided_at)).toBeGreaterThan(Date.now() - 60_000);
    }
    expect(effects.bodies).toEqual(["goodbye"]);

    const { data } = (await call("GET", `/v1/approvals/${approval.id}`)).body;
    expect(data.approval).toMatchObject({ status: "approved", reason: "edited", arguments: approval.arguments });
    expect(data.approval).toMatchObject({ decided_by_name: "A", decided_via: "login" });
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

describe("a decision that does not wait", () => {
  const send = async (path: string, body: string) => {
    const headers = { "content-type": "application/json", authorization: `Bearer ${token}` };
    const response = await fetch(system.baseUrl + path, { method: "POST", headers, body });
    // biome-ignore lint/suspicious/noExplicitAny: answers of every route, read by their fields
    return { status: response.status, body: (await response.json()) as any };
  };

  test("is answered with the stored approval, whose arguments stay byte for byte, and its run goes on", async () => {
    const approval = await parked("one");
    const edited = `{"method" : "POST", "url":${JSON.stringify(effects.url)},"body":"9007199254740993 \\u0041"}`;
    const text = `{"approved":true,"wait":false,"via":"console","arguments":${edited}}`;
    const path = `/v1/approvals/${approval.id}/decision`;
    const first = await send(path, text);
    expect(first).toMatchObject({ status: 200, body: { data: { status: "approved", response: null } } });
    expect(first.body.data.approval).toMatchObject({ status: "approved", decided_via: "console", edited_arguments: edited });
    expect((await send(path, text)).body).toEqual(first.body);
    await expect.poll(() => effects.bodies.at(-1)).toBe("9007199254740993 A");
    expect(effects.bodies.filter((body) => body === "9007199254740993 A")).toHaveLength(1);
  });

  test("on several calls has a result for each, in the order of the request", async () => {
    const [one, two, three] = [await parked("first"), await parked("second"), await parked("third")];
    const decisions = [
      { approval_id: three.id, approved: false, reason: "no" },
      { approval_id: "01985f3c-7a10-7b3e-9d55-2f6c1e0a4b11", approved: true },
      { approval_id: one.id, approved: true },
      { approval_id: two.id, approved: true, arguments: { method: "STEAL", url: effects.url } },
    ];
    const all = (body: object) => call("POST", "/v1/approvals/decisions", body);
    const { status, body } = await all({ decisions });
    expect(status).toBe(200);
    const { results } = body.data;
    expect(results.map((one: { status: string }) => one.status)).toEqual(["rejected", "error", "approved", "error"]);
    expect(results.map((one: { error?: { code: string } }) => one.error?.code)).toEqual([
      undefined,
      "NOT_FOUND",
      undefined,
      "APPROVAL_ERROR",
    ]);
    expect(results[0].approval).toMatchObject({ id: three.id, status: "rejected", decided_by_name: "A", arguments: "" });
    expect(results[1].approval ?? null).toBeNull();
    expect(results[3]).toMatchObject({ error: { param: "method" }, approval: { id: two.id, status: "pending" } });
    await expect.poll(() => effects.bodies.includes("first")).toBe(true);

    const again = (await all({ decisions: [decisions[0], { ...decisions[2], approved: false }] })).body.data.results;
    expect(again).toMatchObject([{ status: "rejected" }, { status: "error", error: { code: "APPROVAL_DECIDED" } }]);
    for (const wrong of [
      { decisions: [] },
      { decisions: Array(51).fill(decisions[0]) },
      { decisions: [decisions[0], { approval_id: three.id.toUpperCase(), approved: true }] },
      { decisions: [{ approval_id: two.id }] },
      { decisions: [{ approval_id: two.id, approved: true, reason: "x".repeat(2_001) }] },
    ]) {
      expect((await all(wrong)).status).toBe(400);
    }
    expect((await call("GET", `/v1/approvals/${two.id}`)).body.data.approval.status).toBe("pending");
    expect(effects.bodies.filter((body) => body === "first")).toHaveLength(1);
    expect(effects.bodies).not.toContain("third");
  });
});

test("the inbox has what waits, with the effect and schema of the tool and the key that asks", async () => {
  const made = await call("POST", "/v1/api-keys", { name: "ci" });
  const login = token;
  token = made.body.data.key;
  const approval = await parked("inbox");
  // A key without may_approve decides on no call of its own, in a list either.
  const own = { approval_id: approval.id, approved: true };
  const refused = await call("POST", "/v1/approvals/decisions", { decisions: [own] }).finally(() => {
    token = login;
  });
  expect(refused.body.data.results).toMatchObject([
    { status: "error", error: { code: "FORBIDDEN", param: "may_approve" }, approval: { status: "pending" } },
  ]);
  const { data } = (await call("GET", "/v1/inbox?order=newest&limit=1")).body;
  expect(data.items).toMatchObject([
    {
      id: approval.id,
      kind: "approval",
      status: "pending",
      title: expect.stringContaining("saying inbox"),
      agent_type: "general",
      requested_by_name: "ci",
      calls: [{ tool_name: "http_request", effect: "once", arguments: approval.arguments }],
      before: [{ role: "user", text: expect.stringContaining("saying inbox") }],
    },
  ]);
  expect(data.tools).toMatchObject([{ name: "http_request", effect: "once", version: data.items[0].calls[0].tool_version }]);
  expect(data.tools[0].parameters.properties).toHaveProperty("method");
  expect(data.counts.approvals).toBeGreaterThan(0);
  expect(data.next_cursor).not.toBe("");
  await call("POST", `/v1/approvals/${approval.id}/decision`, { approved: false, wait: false });
  const decided = (await call("GET", "/v1/inbox?show=decided&limit=1")).body.data;
  expect(decided.items).toMatchObject([{ id: approval.id, status: "rejected", decided_by_name: "A", decided_via: "login" }]);
  for (const wrong of ["show=all", "order=best", "limit=101", "cursor=x"]) {
    expect((await call("GET", `/v1/inbox?${wrong}`)).status).toBe(400);
  }
});

test("a tool is tried at once, or after a decision, exactly once, by credentials that may use it", async () => {
  const now = await call("POST", "/v1/tools/calculator/try", { arguments: { expression: "1337 * 42" } });
  expect(now).toMatchObject({ status: 200, body: { data: { status: "completed", run_id: "", approval: null } } });
  expect(JSON.parse(now.body.data.output_json)).toEqual({ expression: "1337 * 42", result: 56154 });

  const path = "/v1/tools/http_request/try";
  const body = { arguments: { method: "POST", url: effects.url, body: "a trial" } };
  const { data } = (await call("POST", path, body)).body;
  expect(data).toMatchObject({
    status: "waiting",
    approval: { run_id: data.run_id, tool_name: "http_request", status: "pending" },
  });
  expect(JSON.parse(data.approval.arguments)).toEqual(body.arguments);
  const decided = await call("POST", `/v1/approvals/${data.approval.id}/decision`, { approved: true });
  expect(decided.body.data).toMatchObject({ status: "approved", response: expect.stringContaining("has ended") });
  expect(effects.bodies.filter((one) => one === "a trial")).toHaveLength(1);
  const { run } = (await call("GET", `/v1/runs/${data.run_id}`)).body.data;
  expect(run).toMatchObject({ status: "completed", usage: { total_tokens: 0 }, tool_calls: 1 });

  expect((await call("POST", "/v1/tools/nothing/try", {})).body.error).toMatchObject({ code: "TOOL_ERROR" });
  expect(await call("POST", path, { arguments: { method: "STEAL" } })).toMatchObject({ status: 400 });
  const narrow = await call("POST", "/v1/api-keys", { name: "narrow", allowed_tools: ["calculator"] });
  const login = token;
  token = narrow.body.data.key;
  const refused = await call("POST", path, body).finally(() => {
    token = login;
  });
  expect(refused.status).toBe(403);
});
