import { EventEmitter, once } from "node:events";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { AgentService } from "@turnwright/contract/agent/v1/agent_service";
import { afterEach, describe, expect, test } from "vitest";
import { testClients } from "../../testing/plane.ts";
import { ErrorReason, reasonOf } from "../errors.ts";
import { createLogger } from "../logger.ts";
import { type GrpcServer, startGrpcServer } from "./grpc-server.ts";
import { createGrpcTransport } from "./grpc-transport.ts";
import { mount } from "./mount.ts";

const logger = createLogger({ service: "test", level: "silent" });
const conversationId = "0190a000-0000-7000-8000-0000000000c0";
const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

type Handlers = Record<string, (request: never, context: HandlerContext) => unknown>;

async function serve(handlers: Handlers, port = 0): Promise<GrpcServer> {
  const mounts = [mount(AgentService, handlers as never)];
  const server = await startGrpcServer({ mounts, interceptors: [], host: "127.0.0.1", port, logger });
  cleanups.push(() => server.close(0));
  return server;
}

function connect(...ports: number[]) {
  const transport = createGrpcTransport({ addresses: ports.map((port) => `127.0.0.1:${port}`) });
  cleanups.push(() => transport.close());
  return { transport, agent: testClients(transport).agent };
}
const open = (...ports: number[]) => connect(...ports).agent;

const codeOf = (error: unknown) => (error instanceof ConnectError ? error.code : undefined);
const send = { conversationId, message: "hi" };

describe("a service with two instances", () => {
  test("fails no call, repeatable or not, while instances restart under load", async () => {
    let handled = 0;
    const answer = async () => {
      handled += 1;
      await new Promise((resolve) => setImmediate(resolve));
      return { response: "done" };
    };
    const handlers = { sendMessage: answer, listAgents: async () => (await answer()) && { agents: [] } };
    const servers = [await serve(handlers), await serve(handlers)];
    const agents = [1, 2].map(() => open(...servers.map(({ port }) => port)));
    let isOver = false;
    let calls = 0;
    const failures: unknown[] = [];
    const work = Array.from({ length: 16 }, async (_, index) => {
      const agent = agents[index % 2] as (typeof agents)[0];
      while (!isOver) {
        calls += 1;
        const call =
          index % 3 === 0 ? agent.listAgents({}, { timeoutMs: 10_000 }) : agent.sendMessage(send, { timeoutMs: 10_000 });
        await call.catch((error: unknown) => failures.push(error));
      }
    });
    for (let term = 0; term < 12; term += 1) {
      const server = servers[term % 2] as GrpcServer;
      const before = handled;
      await server.close(5_000);
      servers[term % 2] = await serve(handlers, server.port);
      // The other instance follows at once: clients may not have found the new one yet.
      while (handled < before + 20) await new Promise((resolve) => setImmediate(resolve));
    }
    isOver = true;
    await Promise.all(work);
    expect(failures).toEqual([]);
    expect(handled).toBe(calls);
  }, 60_000);

  test("repeats a cut call on the other instance if and only if its method is idempotent", async () => {
    const began = new EventEmitter();
    const begun = { first: 0, second: 0 };
    const held = (instance: "first" | "second") => async () => {
      begun[instance] += 1;
      if (instance === "second") return { agents: [], response: "second" };
      began.emit("begun");
      return new Promise(() => {});
    };
    for (const [method, code] of [
      ["listAgents", undefined],
      ["sendMessage", Code.Unavailable],
    ] as const) {
      begun.first = 0;
      begun.second = 0;
      const first = await serve({ [method]: held("first") });
      const agent = open(first.port);
      const started = once(began, "begun");
      const call = (method === "listAgents" ? agent.listAgents({}) : agent.sendMessage(send)).then(() => undefined, codeOf);
      await started;
      await first.close(0);
      await serve({ [method]: held("second") }, first.port);
      const failed = await call;
      expect(begun).toEqual({ first: 1, second: code === undefined ? 1 : 0 });
      if (code === undefined) expect(failed).toBeUndefined();
      else expect(failed).toBe(code);
    }
  });

  test("that is cut off tells the clients of its streams that it is away, not that they have cancelled", async () => {
    const server = await serve({
      async *streamTurn() {
        yield { type: "content", delta: "begun" };
        await new Promise(() => {});
      },
    });
    const failed: unknown[] = [];
    try {
      for await (const { delta } of open(server.port).streamTurn(send)) {
        expect(delta).toBe("begun");
        await server.close(0);
      }
    } catch (error) {
      failed.push(codeOf(error), reasonOf(error));
    }
    expect(failed).toEqual([Code.Unavailable, ErrorReason.UNAVAILABLE]);
  });

  test("is awaited briefly when it cannot be reached at all", async () => {
    const server = await serve({ sendMessage: async () => ({ response: "there" }) });
    const { port } = server;
    await server.close(0);
    const agent = open(port);
    const waiting = agent.sendMessage(send);
    // Refused by now: a connection to a closed port fails at once.
    await new Promise((resolve) => setImmediate(resolve));
    const again = await serve({ sendMessage: async () => ({ response: "there" }) }, port);
    expect((await waiting).response).toBe("there");
    await again.close(0);
    const startedAt = performance.now();
    expect(codeOf(await agent.sendMessage(send).catch((error: unknown) => error))).toBe(Code.Unavailable);
    expect(performance.now() - startedAt).toBeLessThan(5_000);
  });
});

describe("an instance that closes", () => {
  test("lets calls finish when it closes, accepts no more, and reports it by its health", async () => {
    const began = new EventEmitter();
    let finish = () => {};
    const server = await serve({
      sendMessage: () => {
        began.emit("begun");
        return new Promise((resolve) => {
          finish = () => resolve({ response: "finished" });
        });
      },
    });
    const { agent, transport } = connect(server.port);
    await transport.checkHealth();
    server.setServing(false);
    const reasonFor = (work: Promise<unknown>) => work.then(() => undefined, reasonOf);
    expect(await reasonFor(transport.checkHealth())).toBe(ErrorReason.UNAVAILABLE);
    const started = once(began, "begun");
    const call = agent.sendMessage(send, { timeoutMs: 5_000 });
    await started;
    const closed = server.close();
    finish();
    expect((await call).response).toBe("finished");
    await closed;
    expect(await reasonFor(agent.sendMessage(send, { timeoutMs: 5_000 }))).toBe(ErrorReason.UNAVAILABLE);
  });

  test("cuts calls that exceed the time limit of the close", async () => {
    const began = new EventEmitter();
    const server = await serve({
      sendMessage: () => {
        began.emit("begun");
        return new Promise(() => {});
      },
    });
    const started = once(began, "begun");
    const call = open(server.port)
      .sendMessage(send, { timeoutMs: 5_000 })
      .then(() => undefined, codeOf);
    await started;
    await server.close(10);
    expect([Code.Unavailable, Code.Canceled, Code.Internal]).toContain(await call);
  });
});
