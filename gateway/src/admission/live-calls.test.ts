import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { AgentService } from "@turnwright/contract/agent/v1/agent_service";
import { CompletionService } from "@turnwright/contract/agent/v1/completion_service";
import { AuthService } from "@turnwright/contract/auth/v1/auth_service";
import { ErrorReason, reasonOf } from "@turnwright/platform/errors";
import { publishRevocation } from "@turnwright/platform/identity/revocations";
import { mount } from "@turnwright/platform/rpc/mount";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { alice, aliceKey, type Fixture, startFixture } from "../../testing/gateway.ts";

let entered: PromiseWithResolvers<void>;
let cancelled: PromiseWithResolvers<unknown>;
/** Signals of the calls that reached a handler, in order. */
let signals: AbortSignal[];
const untilCancelled = (signal: AbortSignal) => {
  signals.push(signal);
  entered.resolve();
  signal.addEventListener("abort", () => cancelled.resolve(signal.reason), { once: true });
  return new Promise<never>(() => {});
};
const unused = (() => {
  throw new Error("not called here");
}) as never;

const mounts = [
  mount(AuthService, {
    async logout() {
      await publishRevocation(gateway.bus, alice.tokenId);
      return {};
    },
    register: unused,
    login: unused,
    refresh: unused,
    listSessions: unused,
    revokeSession: unused,
    changePassword: unused,
    getCurrentUser: unused,
  }),
  mount(AgentService, {
    createConversation: (_request, ctx) => untilCancelled(ctx.signal),
    async *streamTurn(_request, ctx) {
      yield { type: "started" };
      await untilCancelled(ctx.signal);
    },
    sendMessage: unused,
    approveConversation: unused,
    decideApproval: unused,
    decideApprovals: unused,
    listAgents: unused,
  }),
  mount(CompletionService, {
    complete: (_request, ctx) => untilCancelled(ctx.signal),
    async *streamComplete(_request, ctx) {
      yield { frames: Buffer.from('data: {"choices":[]}\n\n') };
      await untilCancelled(ctx.signal);
    },
    listModels: unused,
  }),
];

let gateway: Fixture;
beforeEach(async () => {
  entered = Promise.withResolvers();
  cancelled = Promise.withResolvers();
  signals = [];
  gateway = await startFixture({ mounts });
});
afterEach(() => gateway.close());

const post = (path: string, body: object, key = aliceKey) =>
  fetch(gateway.url + path, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
const ended = { message: "The credential has ended.", type: "authentication_error", param: null, code: "INVALID_TOKEN" };

async function firstChunk(response: Response) {
  const reader = (response.body as ReadableStream<Uint8Array>).pipeThrough(new TextDecoderStream()).getReader();
  const first = await reader.read();
  return {
    first: first.value ?? "",
    async rest() {
      let text = "";
      for (let next = await reader.read(); !next.done; next = await reader.read()) text += next.value;
      return text;
    },
  };
}

describe("a credential that ends", () => {
  test.each([
    ["a completion", "/v1/chat/completions", { messages: [{ role: "user", content: "hi" }] }],
    ["a run", "/v1/conversations", { message: "hi" }],
  ])("ends %s in progress with 401, also in the mesh", async (_name, path, body) => {
    const answer = post(path, body);
    await entered.promise;
    expect(gateway.tokens.exchanges).toBe(1);
    await publishRevocation(gateway.bus, alice.tokenId);
    const response = await answer;
    expect(response.status).toBe(401);
    expect(await response.json()).toEqual({ success: false, error: ended });
    await cancelled.promise;
  });

  test.each([
    ["a completion", "/v1/chat/completions", { stream: true, messages: [{ role: "user", content: "hi" }] }],
    ["a run", "/v1/conversations", { stream: true, message: "hi" }],
  ])("ends %s in mid-stream with an error and without [DONE]", async (_name, path, body) => {
    const stream = await firstChunk(await post(path, body));
    expect(stream.first).toMatch(/^data: /);
    await publishRevocation(gateway.bus, alice.tokenId);
    expect(await stream.rest()).toBe(`data: ${JSON.stringify({ error: ended })}\n\n`);
    await cancelled.promise;
  });

  test("ends calls of Connect clients", async () => {
    const transport = createConnectTransport({ baseUrl: gateway.url, httpVersion: "1.1" });
    const client = createClient(AgentService, transport);
    const headers = { authorization: `Bearer ${aliceKey}` };
    const events = client.streamTurn({ message: "hi" }, { headers })[Symbol.asyncIterator]();
    await events.next();
    await publishRevocation(gateway.bus, alice.tokenId);
    await expect(events.next().catch((error: unknown) => reasonOf(error))).resolves.toBe(ErrorReason.INVALID_TOKEN);
    await cancelled.promise;
  });

  test("ends streams when the broadcast is lost: the gateway asks auth as well", async () => {
    const stream = await firstChunk(await post("/v1/conversations", { stream: true, message: "hi" }));
    gateway.tokens.known.delete(aliceKey);
    gateway.tokens.revoked.push(alice.tokenId);
    expect(await stream.rest()).toContain("The credential has ended.");
    expect((await post("/v1/conversations", { message: "hi" })).status).toBe(401);
  });

  test("lets the call that ended it get its response", async () => {
    for (const path of ["/v1/auth/logout", "/turnwright.auth.v1.AuthService/Logout"]) {
      expect((await post(path, {})).status).toBe(200);
    }
  });

  test("leaves other credentials' calls alone", async () => {
    const otherKey = "sk-other-0123456789abcdefghij";
    const other = { ...alice, tokenId: crypto.randomUUID() };
    gateway.tokens.known.set(otherKey, other);
    const body = { stream: true, message: "hi" };
    const stream = await firstChunk(await post("/v1/conversations", body));
    const othersStream = await firstChunk(await post("/v1/conversations", body, otherKey));
    await publishRevocation(gateway.bus, other.tokenId);
    expect(await othersStream.rest()).toContain("The credential has ended.");
    expect(signals.map(({ aborted }) => aborted)).toEqual([false, true]);
    await publishRevocation(gateway.bus, alice.tokenId);
    expect(await stream.rest()).toContain("The credential has ended.");
  });
});
