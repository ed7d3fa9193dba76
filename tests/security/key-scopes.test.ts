import { create, type DescMethodUnary, type DescService, getOption, type Message } from "@bufbuild/protobuf";
import { createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { Access, scopes as scopesOption } from "@turnwright/contract/auth/v1/access";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describeProtos } from "../../packages/contract/tools/openapi/described-protos.ts";
import { type Entry, entriesOfServices } from "./contract-routes.ts";
import { services as contractServices } from "./contract-services.ts";
import { ask, requestOf } from "./entry-requests.ts";
import { send } from "./requests.ts";
import { type Account, type Stage, startStage } from "./stage.ts";

let services: readonly DescService[];
let entries: Entry[];
let scopeNames: string[];
let stage: Stage;
let owner: Account;

beforeAll(async () => {
  services = describeProtos().services;
  entries = entriesOfServices(services).filter((entry) => entry.access === Access.USER);
  scopeNames = [...new Set(entries.flatMap(({ method }) => getOption(method, scopesOption)))].sort();
  stage = await startStage();
  owner = await stage.account();
}, 120_000);
afterAll(() => stage?.stop());

const keyWith = async (scopes: readonly string[], init: object = {}, maker = owner.accessToken) =>
  (await stage.call<{ key: string }>("POST", "/v1/api-keys", maker, { name: "k", scopes, ...init })).key;

const lacks = "This API key lacks the scope";
const needsLogin = "This call needs a login";

/** The expected response to a key with these scopes, from the method's own annotation. */
function expected(method: Entry["method"], scopes: readonly string[]): "in" | typeof lacks | typeof needsLogin {
  const needed = getOption(method, scopesOption);
  if (needed.length === 0) return needsLogin;
  return scopes.length === 0 || needed.some((scope) => scopes.includes(scope)) ? "in" : lacks;
}

const answered = (status: number, body: string) =>
  status === 403 && body.includes(lacks) ? lacks : status === 403 && body.includes(needsLogin) ? needsLogin : "in";

describe("scope × route", () => {
  test("a key reaches the methods of its scopes and is told the missing scope elsewhere", async () => {
    const lists = [...scopeNames.map((scope) => [scope]), [], ["conversations:read", "usage"]];
    const keys = await Promise.all(lists.map(async (scopes) => ({ scopes, key: await keyWith(scopes) })));
    const wrong: string[] = [];
    let cells = 0;
    for (const entry of entries) {
      const request = requestOf(entry);
      await Promise.all(
        keys.map(async ({ scopes, key }) => {
          const headers = { ...request.headers, authorization: `Bearer ${key}` };
          const { status, body } = await ask(stage.baseUrl, entry, { ...request, headers, firstPiece: entry.isStream });
          const is = answered(status, body);
          if (is !== expected(entry.method, scopes)) wrong.push(`${entry.name} with ${scopes}: ${status} ${body.slice(0, 200)}`);
          if (is === lacks && !getOption(entry.method, scopesOption).every((scope) => body.includes(scope))) {
            wrong.push(`${entry.name} with ${scopes} does not name the missing scope: ${body}`);
          }
          cells += 1;
        }),
      );
    }
    console.log(`scope × route: ${entries.length} routes × ${lists.length} lists = ${cells} cells, ${wrong.length} wrong`);
    expect(wrong).toEqual([]);
    expect(cells).toBeGreaterThan(1_000);
  }, 120_000);

  test("the same holds over gRPC and gRPC-web", async () => {
    const { baseUrl } = stage;
    const transports = [createGrpcTransport({ baseUrl }), createGrpcWebTransport({ baseUrl, httpVersion: "1.1" })];
    const methods = contractServices
      .flatMap((service) => service.methods)
      .filter((method) =>
        entries.some((entry) => entry.method.parent.typeName === method.parent.typeName && entry.method.name === method.name),
      )
      .filter((method) => method.methodKind === "unary");
    const wrong: string[] = [];
    let cells = 0;
    for (const scopes of [["conversations:read"], ["approvals"], ["usage"]]) {
      const key = await keyWith(scopes);
      for (const transport of transports) {
        for (const method of methods) {
          const message = await transport
            .unary(
              method as DescMethodUnary,
              undefined,
              10_000,
              { authorization: `Bearer ${key}` },
              create(method.input) as Message as never,
            )
            .then(
              () => "",
              (error: Error) => error.message,
            );
          const is = message.includes(lacks) ? lacks : message.includes(needsLogin) ? needsLogin : "in";
          if (is !== expected(method, scopes)) wrong.push(`${method.parent.name}.${method.name} with ${scopes}: ${message}`);
          cells += 1;
        }
      }
    }
    console.log(`scope × method over gRPC and gRPC-web: ${cells} cells, ${wrong.length} wrong`);
    expect(wrong).toEqual([]);
  }, 120_000);

  test("paths that the gateway answers itself require the scope as well", async () => {
    const status = async (scope: string) => {
      const headers = { authorization: `Bearer ${await keyWith([scope])}` };
      return (await send(stage.baseUrl, { method: "GET", path: "/v1/models/gpt-4o-mini", headers })).status;
    };
    expect([await status("usage"), await status("models")]).toEqual([403, 200]);
  });
});

describe("a key with few scopes", () => {
  const post = async (path: string, key: string, body: object, accept = "application/json") =>
    send(stage.baseUrl, {
      method: "POST",
      path,
      headers: { authorization: `Bearer ${key}`, accept },
      body: JSON.stringify(body),
    });
  const get = (path: string, key: string) =>
    send(stage.baseUrl, { method: "GET", path, headers: { authorization: `Bearer ${key}` } });
  const message = "What is 6 * 7?";

  test("conversations:read allows reading and following but no change", async () => {
    const key = await keyWith(["conversations:read"]);
    const { run } = await stage.call<{ run: { id: string; conversation_id: string } }>("POST", "/v1/runs", owner.accessToken, {
      message,
    });
    const events = await get(`/v1/runs/${run.id}/events`, key);
    expect(events.status).toBe(200);
    expect(events.body).toContain('"type":"finish"');
    for (const path of [`/v1/conversations/${run.conversation_id}`, "/v1/conversations", "/v1/runs", "/v1/approvals"]) {
      expect((await get(path, key)).status).toBe(200);
    }
    const before = await get(`/v1/conversations/${run.conversation_id}`, key);
    const tries = [
      post("/v1/conversations", key, { message }),
      post("/v1/conversations", key, { message, stream: true }, "text/event-stream"),
      post(`/v1/conversations/${run.conversation_id}/messages`, key, { message }),
      post(`/v1/conversations/${run.conversation_id}/runs`, key, { message }),
      post(`/v1/runs/${run.id}/cancel`, key, {}),
      post("/v1/chat/completions", key, { messages: [{ role: "user", content: "hi" }], stream: true }, "text/event-stream"),
      send(stage.baseUrl, {
        method: "DELETE",
        path: `/v1/conversations/${run.conversation_id}`,
        headers: { authorization: `Bearer ${key}` },
      }),
    ];
    for (const answer of await Promise.all(tries)) {
      expect(answer.status).toBe(403);
      expect(JSON.parse(answer.body).error).toMatchObject({ code: "FORBIDDEN", param: "scopes" });
    }
    expect((await get(`/v1/conversations/${run.conversation_id}`, key)).body).toBe(before.body);
  });

  test("works without further scopes for the calls between services", async () => {
    const writer = await keyWith(["conversations:write"]);
    const turn = await post("/v1/conversations", writer, { message });
    expect(turn.status).toBe(201);
    expect(JSON.parse(turn.body).data.response).toContain("42");
    const runner = await keyWith(["runs"]);
    const { run } = JSON.parse((await post("/v1/runs", runner, { message })).body).data;
    const waited = JSON.parse((await get(`/v1/runs/${run.id}/wait`, runner)).body).data;
    expect(waited.run).toMatchObject({ status: "completed" });
    const approver = await keyWith(["approvals"]);
    const parked = await stage.call<{ conversation_id: string }>("POST", "/v1/conversations", owner.accessToken, {
      message: "Send an HTTP request to http://example.com/ saying hello",
    });
    const refused = await post(`/v1/conversations/${parked.conversation_id}/approve`, approver, { approved: false });
    expect(refused.status).toBe(200);
    expect(JSON.parse(refused.body).data).toMatchObject({ status: "rejected", conversation: { id: parked.conversation_id } });
  });

  test("creates no key with more scopes, and its children are limited to theirs", async () => {
    const maker = await keyWith(["keys", "runs"]);
    const more = await post("/v1/api-keys", maker, { name: "k", scopes: ["runs", "usage"] });
    expect(more.status).toBe(403);
    expect(JSON.parse(more.body).error).toMatchObject({ param: "scopes" });
    const heir = await keyWith([], {}, maker);
    expect((await get("/v1/usage", heir)).status).toBe(403);
    expect((await get("/v1/runs", heir)).status).toBe(200);
    const approving = await post("/v1/api-keys", maker, { name: "k", may_approve: true });
    expect(approving.status).toBe(403);
    expect(JSON.parse(approving.body).error).toMatchObject({ param: "may_approve" });
  });

  test("is limited to changed scopes within a second after an operator changed them", async () => {
    const key = await keyWith([]);
    expect((await get("/v1/usage", key)).status).toBe(200);
    const { rows } = await stage.database.query<{ id: string }>(
      "update auth.user_tokens set scopes = '{runs}' where prefix = $1 returning id",
      [key.slice(0, 10)],
    );
    const changedAt = performance.now();
    expect(rows).toHaveLength(1);
    await expect.poll(async () => (await get("/v1/usage", key)).status, { timeout: 5_000, interval: 20 }).toBe(403);
    console.log(`scopes changed by SQL apply after ${Math.round(performance.now() - changedAt)} ms`);
    expect((await get("/v1/runs", key)).status).toBe(200);
  });
});
