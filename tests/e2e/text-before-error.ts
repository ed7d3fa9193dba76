import { ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { AgentService } from "@turnwright/contract/agent/v1/agent_service";
import { createGrpcTransport as createGrpcJsTransport } from "@turnwright/platform/rpc/grpc-transport";
import { type ScriptedReply, streamedFrames } from "@turnwright/testing/scripted-model";
import { beforeAll, describe, expect, test } from "vitest";
import { streamedEvents } from "./event-stream.ts";
import type { System } from "./system.ts";

const text = "Half an answer that breaks off";
const brokenAnswer = [
  ...streamedFrames({ text, finishReason: null, usage: null, withoutDone: true }),
  `data: ${JSON.stringify({ error: { message: "WORDS of the endpoint", code: 503 } })}\n\n`,
].join("");

/** Name of the model that always answers so. */
export const breakingModel = "breaking";

/** The answer of that model. */
export const textAndError: ScriptedReply = { raw: [brokenAnswer], contentType: "text/event-stream" };

/** Tests with a system whose endpoint gives `textAndError` under the name `breakingModel`. */
export function describeTextBeforeError(running: () => System): void {
  describe("text and failure that come in one write", () => {
    let token: string | undefined;

    beforeAll(async () => {
      const account = { email: "reader@example.com", password: "SecurePass123" };
      await post("/v1/auth/register", { ...account, name: "R" });
      const login = (await (await post("/v1/auth/login", account)).json()) as { data: { access_token: string } };
      token = login.data.access_token;
    });

    const post = (path: string, body: object, headers: Record<string, string> = {}) =>
      fetch(running().baseUrl + path, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          ...headers,
        },
        body: JSON.stringify(body),
      });

    test("reach clients of the OpenAI surface in this order", async () => {
      const body = { model: breakingModel, messages: [{ role: "user", content: "go" }], stream: true };
      let told = "";
      let error: { message?: string } = {};
      for await (const { data } of streamedEvents(await post("/v1/chat/completions", body, { "x-stream-format": "openai" }))) {
        expect(error).toEqual({});
        told += data.choices?.[0]?.delta?.content ?? "";
        error = data.error ?? {};
      }
      expect({ told, message: error.message }).toEqual({ told: text, message: "WORDS of the endpoint" });
    });

    test("reach clients of a stored run in this order", async () => {
      let told = "";
      let error: { message?: string } = {};
      for await (const { data } of streamedEvents(
        await post("/v1/conversations", { message: "go", model: breakingModel, stream: true }),
      )) {
        expect(error).toEqual({});
        if (data.type === "content") told += data.delta;
        error = data.error ?? {};
      }
      expect({ told, message: error.message }).toEqual({ told: text, message: "WORDS of the endpoint" });
    });

    test.each<[string, (url: string) => Transport]>([
      ["Connect", (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1" })],
      ["gRPC", (baseUrl) => createGrpcTransport({ baseUrl })],
      ["gRPC with grpc-js", (baseUrl) => createGrpcJsTransport({ addresses: [new URL(baseUrl).host] })],
    ])("reach clients of %s in this order", async (_protocol, open) => {
      const transport = open(running().baseUrl);
      const agent = createClient(AgentService, transport);
      let told = "";
      let error: unknown;
      try {
        for await (const { type, delta } of agent.streamTurn(
          { message: "go", model: breakingModel },
          { headers: { authorization: `Bearer ${token}` } },
        )) {
          if (type === "content") told += delta;
          // A reader with work to do is behind the wire.
          await new Promise((resolve) => setImmediate(resolve));
        }
      } catch (thrown) {
        error = thrown;
      }
      if ("close" in transport) (transport.close as () => void)();
      expect({ told, message: error instanceof ConnectError ? error.rawMessage : error }).toEqual({
        told: text,
        message: "WORDS of the endpoint",
      });
    });
  });
}
