import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { AgentService } from "@turnwright/contract/agent/v1/agent_service";
import { mount } from "@turnwright/platform/rpc/mount";
import { Pool } from "undici";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { aliceKey, type Fixture, startFixture } from "../../testing/gateway.ts";

let gateway: Fixture;
let release: PromiseWithResolvers<void>;

beforeEach(async () => {
  release = Promise.withResolvers();
  const handlers = {
    listAgents: () => ({ agents: [] }),
    async *streamTurn() {
      yield { type: "started" };
      await release.promise;
      yield { type: "finish" };
    },
  };
  gateway = await startFixture({
    mounts: [mount(AgentService, handlers as never)],
    env: { SERVER_SHUTDOWN_TIMEOUT: "3s", RATE_LIMIT_ENABLED: "false" },
  });
});
afterEach(async () => {
  release.resolve();
  await gateway.close();
});

const headers = { authorization: `Bearer ${aliceKey}`, "content-type": "application/json" };

/** A stream whose first event has arrived; `rest` is its whole text. */
async function begunStream(): Promise<{ rest: Promise<string> }> {
  const response = await gateway.fetch("/v1/conversations", { method: "POST", headers, body: '{"message":"hi","stream":true}' });
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  const decoder = new TextDecoder();
  let text = decoder.decode((await reader.read()).value);
  const rest = async () => {
    for (let next = await reader.read(); !next.done; next = await reader.read()) text += decoder.decode(next.value);
    return text;
  };
  return { rest: rest() };
}

describe("a gateway that closes", () => {
  test("resets no kept connection: each is closed after a response, and new ones are refused", async () => {
    const pool = new Pool(gateway.url, { connections: 8 });
    let [served, toldToLeave] = [0, 0];
    const failures: unknown[] = [];
    const ask = async () => {
      for (;;) {
        try {
          const { statusCode, headers: received, body } = await pool.request({ method: "GET", path: "/v1/agents", headers });
          await body.dump();
          expect(statusCode).toBe(200);
          served += 1;
          if (received.connection === "close") toldToLeave += 1;
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "ECONNREFUSED") failures.push(error);
          return;
        }
      }
    };
    const clients = Array.from({ length: 8 }, ask);
    while (served < 50) await new Promise((resolve) => setImmediate(resolve));
    await gateway.close();
    await Promise.all(clients);
    await pool.destroy();
    expect(failures).toEqual([]);
    expect(toldToLeave).toBe(8);
  });

  test("serves one more request on an idle connection and announces its close", async () => {
    const pool = new Pool(gateway.url, { connections: 1 });
    const ask = () => pool.request({ method: "GET", path: "/v1/agents", headers });
    await (await ask()).body.dump();
    const closed = gateway.close();
    const { statusCode, headers: received, body } = await ask();
    await body.dump();
    expect([statusCode, received.connection]).toEqual([200, "close"]);
    await closed;
    await pool.destroy();
  });

  test("lets a stream finish", async () => {
    const { rest } = await begunStream();
    const closed = gateway.close();
    release.resolve();
    expect(await rest).toContain("data: [DONE]");
    await closed;
  });

  test("ends a stream that exceeds the limit with an error event, then its connection", async () => {
    const text = (await begunStream()).rest;
    await gateway.close();
    const events = (await text).trim().split("\n\n");
    expect(JSON.parse(events.at(-1)?.slice("data: ".length) ?? "")).toMatchObject({ error: { code: "UNAVAILABLE" } });
  });

  test("tells HTTP/2 clients to go away, and lets their requests in flight finish", async () => {
    const session = connectHttp2(gateway.url);
    const request = session.request({ ":method": "POST", ":path": "/v1/conversations", ...headers });
    request.setEncoding("utf8");
    request.end('{"message":"hi","stream":true}');
    await once(request, "data");
    const goaway = once(session, "goaway");
    const closed = gateway.close();
    expect((await goaway)[0]).toBe(0);
    release.resolve();
    let text = "";
    for await (const chunk of request) text += chunk;
    expect(text).toContain("data: [DONE]");
    await Promise.all([once(session, "close"), closed]);
  });
});
