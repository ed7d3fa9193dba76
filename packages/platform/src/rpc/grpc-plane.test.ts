import { EventEmitter, once } from "node:events";
import { Code, ConnectError, createClient, type HandlerContext } from "@connectrpc/connect";
import { AgentService } from "@turnwright/contract/agent/v1/agent_service";
import { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { afterEach, describe, expect, test } from "vitest";
import { testClients, testMounts } from "../../testing/plane.ts";
import { detailOf, ErrorReason, fail, reasonOf } from "../errors.ts";
import { createLogger } from "../logger.ts";
import { type GrpcServer, startGrpcServer } from "./grpc-server.ts";
import { createGrpcTransport } from "./grpc-transport.ts";
import { type Mount, mount } from "./mount.ts";

const logger = createLogger({ service: "test", level: "silent" });
const cleanups: (() => unknown)[] = [];
const timeoutMs = 5_000;
const conversationId = "0190a000-0000-7000-8000-0000000000c0";

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function serve(mounts: readonly Mount[], port = 0): Promise<GrpcServer> {
  const server = await startGrpcServer({ mounts, interceptors: [], host: "127.0.0.1", port, logger });
  cleanups.push(() => server.close(0));
  return server;
}

function open(...servers: Pick<GrpcServer, "port">[]) {
  const transport = createGrpcTransport({ addresses: servers.map(({ port }) => `127.0.0.1:${port}`) });
  cleanups.push(() => transport.close());
  return { transport, ...testClients(transport) };
}

type Handlers = Record<string, (request: { message: string }, context: HandlerContext) => unknown>;
const agentMount = (handlers: Handlers) => mount(AgentService, handlers as never);

async function caught(work: Promise<unknown>): Promise<ConnectError> {
  const error = await work.catch((cause: unknown) => cause);
  if (!(error instanceof ConnectError)) throw new Error("The call did not fail.");
  return error;
}

/** Facts seen by a handler, as promises. */
function witness() {
  const events = new EventEmitter();
  return {
    saw: (name: string, value?: unknown) => events.emit(name, value),
    seen: async (name: string) => (await once(events, name))[0] as unknown,
  };
}

describe("the gRPC plane", () => {
  test("carries a unary call with headers and trailers both ways", async () => {
    const server = await serve([
      agentMount({
        sendMessage({ message }, context) {
          context.responseHeader.set("x-answer", `to ${context.requestHeader.get("x-question")}`);
          context.responseHeader.set("x-bytes-bin", "AQID");
          context.responseTrailer.set("x-end", "done");
          return { response: message };
        },
      }),
    ]);
    const { agent } = open(server);
    let header = new Headers();
    let trailer = new Headers();
    const answer = await agent.sendMessage(
      { conversationId, message: "ünïcode" },
      {
        headers: { "x-question": "why" },
        onHeader: (headers) => {
          header = headers;
        },
        onTrailer: (trailers) => {
          trailer = trailers;
        },
      },
    );
    expect(answer.response).toBe("ünïcode");
    expect(header.get("x-answer")).toBe("to why");
    expect(header.get("x-bytes-bin")).toBe("AQID");
    expect(trailer.get("x-end")).toBe("done");
  });

  test("carries a stream, message by message, with trailers at its end", async () => {
    const server = await serve([
      agentMount({
        async *streamTurn({ message }, context) {
          for (const delta of message.split(" ")) yield { type: "content", delta };
          context.responseTrailer.set("x-end", "done");
        },
      }),
    ]);
    let trailer = new Headers();
    const deltas: string[] = [];
    const onTrailer = (trailers: Headers) => {
      trailer = trailers;
    };
    for await (const { delta } of open(server).agent.streamTurn({ message: "a b c" }, { timeoutMs, onTrailer }))
      deltas.push(delta);
    expect(deltas).toEqual(["a", "b", "c"]);
    expect(trailer.get("x-end")).toBe("done");
  });

  test("carries errors with their typed details, before and in the middle of a stream", async () => {
    const limited = fail(ErrorReason.RATE_LIMITED, "Slow down: 100 %.", { param: "message", retryAfterSeconds: 7 });
    const server = await serve([
      agentMount({
        sendMessage: () => Promise.reject(limited),
        async *streamTurn({ message }) {
          if (message === "late") yield { type: "content", delta: "one" };
          throw limited;
        },
      }),
    ]);
    const { agent } = open(server);
    const collect = async (message: string, deltas: string[]) => {
      for await (const { delta } of agent.streamTurn({ message }, { timeoutMs })) deltas.push(delta);
    };
    const deltas: string[] = [];
    const errors = [
      await caught(agent.sendMessage({ conversationId, message: "hi" }, { timeoutMs })),
      await caught(collect("early", deltas)),
      await caught(collect("late", deltas)),
    ];
    expect(deltas).toEqual(["one"]);
    for (const error of errors) {
      expect(error.rawMessage).toBe("Slow down: 100 %.");
      expect(error.code).toBe(Code.ResourceExhausted);
      expect(detailOf(error)).toMatchObject({ reason: ErrorReason.RATE_LIMITED, param: "message", retryAfterSeconds: 7 });
    }
  });

  test("sends any other error than a ConnectError as INTERNAL without its message", async () => {
    const server = await serve([agentMount({ sendMessage: () => Promise.reject(new Error("password=hunter2")) })]);
    const error = await caught(open(server).agent.sendMessage({ conversationId, message: "hi" }, { timeoutMs }));
    expect(error.code).toBe(Code.Internal);
    expect(error.rawMessage).not.toContain("hunter2");
  });

  test("ends a call at its deadline on both ends, and gives the handler the remaining time", async () => {
    const { saw, seen } = witness();
    let leftMs: number | undefined;
    const wait: Handlers[string] = (_request, context) => {
      leftMs = context.timeoutMs();
      return new Promise((_resolve, reject) => {
        context.signal.addEventListener("abort", () => {
          saw("aborted", reasonOf(context.signal.reason));
          reject(context.signal.reason);
        });
      });
    };
    const server = await serve([
      agentMount({
        sendMessage: wait,
        async *streamTurn(request, context) {
          yield (await wait(request, context)) as object;
        },
      }),
    ]);
    const { agent } = open(server);
    const streamed = async (options: { timeoutMs: number }) => {
      for await (const _event of agent.streamTurn({ message: "hi" }, options)) throw new Error("unexpected");
    };
    const sent = (options: { timeoutMs: number }) => agent.sendMessage({ conversationId, message: "hi" }, options);
    for (const call of [sent, streamed]) {
      const aborted = seen("aborted");
      leftMs = undefined;
      // On a busy machine a call may reach its deadline before its handler.
      for (let givenMs = 150; leftMs === undefined; givenMs *= 2) {
        expect(reasonOf(await caught(call({ timeoutMs: givenMs })))).toBe(ErrorReason.DEADLINE_EXCEEDED);
        expect(leftMs ?? 0).toBeLessThanOrEqual(givenMs);
      }
      // Either end may notice first: the server's deadline, or the client's cancellation.
      expect([ErrorReason.DEADLINE_EXCEEDED, ErrorReason.CANCELLED]).toContain(await aborted);
    }
  });

  test("cancels the handler when the caller aborts, or leaves a stream", async () => {
    const { saw, seen } = witness();
    const server = await serve([
      agentMount({
        sendMessage: (_request, context) => {
          saw("started");
          return new Promise((_resolve, reject) => {
            context.signal.addEventListener("abort", () => {
              saw("aborted");
              reject(context.signal.reason);
            });
          });
        },
        async *streamTurn(_request, context) {
          context.signal.addEventListener("abort", () => saw("aborted"));
          for (;;) yield { type: "content", delta: "more" };
        },
      }),
    ]);
    const { agent } = open(server);

    const controller = new AbortController();
    const [started, aborted] = [seen("started"), seen("aborted")];
    const call = caught(agent.sendMessage({ conversationId, message: "hi" }, { signal: controller.signal }));
    await started;
    controller.abort();
    expect((await call).code).toBe(Code.Canceled);
    await aborted;

    const streaming = new AbortController();
    const ended = seen("aborted");
    const stream = async () => {
      for await (const _event of agent.streamTurn({ message: "hi" }, { signal: streaming.signal })) streaming.abort();
    };
    expect((await caught(stream())).code).toBe(Code.Canceled);
    await ended;

    const before = AbortSignal.abort();
    expect((await caught(agent.sendMessage({ conversationId, message: "hi" }, { signal: before }))).code).toBe(Code.Canceled);
  });

  test("holds a handler back while nobody reads its stream", async () => {
    let produced = 0;
    const total = 400;
    const server = await serve([
      agentMount({
        async *streamTurn() {
          for (; produced < total; produced += 1) yield { type: "content", delta: "x".repeat(65_536) };
        },
      }),
    ]);
    const { agent, transport } = open(server);
    const messages = agent.streamTurn({ message: "hi" }, { timeoutMs: 20_000 })[Symbol.asyncIterator]();
    await messages.next();
    // Answered on the same connection after everything that the window admitted.
    await transport.checkHealth();
    expect(produced).toBeLessThan(total / 2);
    let received = 1;
    while (!(await messages.next()).done) received += 1;
    expect(received).toBe(total);
  });

  test("refuses a message beyond the limit, and an unknown method", async () => {
    const server = await startGrpcServer({
      mounts: testMounts(),
      interceptors: [],
      host: "127.0.0.1",
      port: 0,
      logger,
      maxMessageBytes: 1_000,
    });
    cleanups.push(() => server.close(0));
    const { agent } = open(server);
    const large = await caught(agent.sendMessage({ conversationId, message: "x".repeat(2_000) }, { timeoutMs }));
    expect(large.code).toBe(Code.ResourceExhausted);
    expect(reasonOf(await caught(agent.listAgents({}, { timeoutMs })))).toBe(ErrorReason.UNIMPLEMENTED);
  });

  test("distributes calls over several servers, and skips one that is down until it is back", async () => {
    const names = ["one", "two"];
    const servers = await Promise.all(names.map((name) => serve(testMounts(name))));
    const { tokens } = open(...servers);
    const ask = async () => (await tokens.exchangeToken({ token: "t" }, { timeoutMs })).internalToken;
    const answers = async (calls: number) => {
      const seen = new Map<string, number>();
      for (let call = 0; call < calls; call += 1) {
        const name = await ask();
        seen.set(name, (seen.get(name) ?? 0) + 1);
      }
      return seen;
    };
    const hasBoth = async () => {
      // The first answers may all come from the server that connected first.
      for (let calls = 0; calls < 2_000 && (await answers(2)).size < 2; calls += 1);
      return answers(10);
    };
    expect(await hasBoth()).toEqual(
      new Map([
        ["one", 5],
        ["two", 5],
      ]),
    );

    const [gone] = servers;
    await gone?.close(1_000);
    expect(await answers(10)).toEqual(new Map([["two", 10]]));

    await serve(testMounts("one again"), gone?.port);
    const back = async () => {
      for (let calls = 0; calls < 20_000; calls += 1) if ((await ask()) === "one again") return true;
      return false;
    };
    expect(await back()).toBe(true);
  });

  test("runs interceptors of both ends, outermost first", async () => {
    const order: string[] = [];
    const note = (name: string) => (next: (request: never) => unknown) => (request: never) => {
      order.push(name);
      return next(request) as never;
    };
    const server = await startGrpcServer({
      mounts: testMounts(),
      interceptors: [note("server outer"), note("server inner")] as never,
      host: "127.0.0.1",
      port: 0,
      logger,
    });
    cleanups.push(() => server.close(0));
    const transport = createGrpcTransport({
      addresses: [`127.0.0.1:${server.port}`],
      interceptors: [note("client outer"), note("client inner")] as never,
    });
    cleanups.push(() => transport.close());
    await createClient(TokenService, transport).getJwks({}, { timeoutMs });
    expect(order).toEqual(["client outer", "client inner", "server outer", "server inner"]);
  });
});
