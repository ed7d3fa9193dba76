import { create } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  createClient,
  createContextKey,
  createContextValues,
  type HandlerContext,
} from "@connectrpc/connect";
import { AgentService, SendMessageResponseSchema } from "@turnwright/contract/agent/v1/agent_service";
import { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { describe, expect, test } from "vitest";
import { detailOf, ErrorReason, fail, reasonOf } from "../errors.ts";
import { createInProcessTransport } from "./in-process.ts";
import { mount } from "./mount.ts";

const conversationId = "0190a000-0000-7000-8000-0000000000c0";

type Handlers = Record<string, (request: { message: string }, context: HandlerContext) => unknown>;

function agentWith(handlers: Handlers, interceptors: Partial<Parameters<typeof createInProcessTransport>[0]> = {}) {
  return createClient(
    AgentService,
    createInProcessTransport({ mounts: [mount(AgentService, handlers as never)], ...interceptors }),
  );
}

async function caught(work: Promise<unknown>): Promise<ConnectError> {
  const error = await work.catch((cause: unknown) => cause);
  if (!(error instanceof ConnectError)) throw new Error("The call did not fail.");
  return error;
}

describe("the in-process plane", () => {
  test("passes messages by reference, with headers and trailers", async () => {
    const answer = create(SendMessageResponseSchema, { response: "same" });
    const agent = agentWith({
      sendMessage(_request, context) {
        context.responseHeader.set("x-answer", `to ${context.requestHeader.get("x-question")}`);
        context.responseTrailer.set("x-end", "done");
        return answer;
      },
    });
    const seen: (string | null)[] = [];
    const received = await agent.sendMessage(
      { conversationId, message: "hi" },
      {
        headers: { "x-question": "why" },
        onHeader: (header) => seen.push(header.get("x-answer")),
        onTrailer: (trailer) => seen.push(trailer.get("x-end")),
      },
    );
    expect(received).toBe(answer);
    expect(seen).toEqual(["to why", "done"]);
  });

  test("streams, and lets the handler clean up when its caller stops reading", async () => {
    let cleaned = () => {};
    const isCleaned = new Promise<void>((resolve) => {
      cleaned = resolve;
    });
    const agent = agentWith({
      async *streamTurn({ message }) {
        try {
          for (const delta of message.split(" ")) yield { type: "content", delta };
        } finally {
          cleaned();
        }
      },
    });
    const deltas: string[] = [];
    for await (const { delta } of agent.streamTurn({ message: "a b c" })) deltas.push(delta);
    expect(deltas).toEqual(["a", "b", "c"]);
    for await (const _event of agent.streamTurn({ message: "a b c" })) break;
    await isCleaned;
  });

  test("keeps errors as they are thrown, details and all, in calls and streams", async () => {
    const refused = fail(ErrorReason.NOT_FOUND, "No such thing.", { param: "id" });
    const agent = agentWith({
      sendMessage: () => Promise.reject(refused),
      async *streamTurn() {
        yield { type: "content", delta: "one" };
        throw refused;
      },
    });
    const stream = async () => {
      for await (const _event of agent.streamTurn({ message: "hi" }));
    };
    for (const call of [agent.sendMessage({ conversationId, message: "hi" }), stream()]) {
      expect(detailOf(await caught(call))).toMatchObject({ reason: ErrorReason.NOT_FOUND, param: "id" });
    }
  });

  test("does not wait for a handler that ignores its deadline or signal", async () => {
    let context: HandlerContext | undefined;
    const stuck = () => new Promise(() => {});
    const agent = agentWith({
      sendMessage(_request, given) {
        context = given;
        return stuck();
      },
      async *streamTurn(_request, given) {
        context = given;
        yield { type: "content", delta: "one" };
        await stuck();
      },
    });
    expect(reasonOf(await caught(agent.sendMessage({ conversationId, message: "hi" }, { timeoutMs: 20 })))).toBe(
      ErrorReason.DEADLINE_EXCEEDED,
    );
    expect(context?.signal.aborted).toBe(true);
    // A timer may fire up to a millisecond early.
    expect(context?.timeoutMs()).toBeLessThanOrEqual(1);

    const controller = new AbortController();
    const stream = async () => {
      for await (const _event of agent.streamTurn({ message: "hi" }, { signal: controller.signal })) controller.abort();
    };
    expect((await caught(stream())).code).toBe(Code.Canceled);
    expect(context?.signal.aborted).toBe(true);
    expect((await caught(agent.sendMessage({ conversationId, message: "hi" }, { signal: AbortSignal.abort() }))).code).toBe(
      Code.Canceled,
    );
  });

  test("runs interceptors of both sides, and keeps the caller's context values to the caller", async () => {
    const key = createContextKey("unset");
    const order: string[] = [];
    const note = (name: string) => (next: (request: never) => unknown) => (request: never) => {
      const { contextValues } = request as { contextValues: ReturnType<typeof createContextValues> };
      order.push(`${name}: ${contextValues.get(key)}`);
      return next(request) as never;
    };
    const agent = agentWith(
      { sendMessage: (_request, context) => ({ response: context.values.get(key) }) },
      { interceptors: [note("server")] as never, clientInterceptors: [note("outer"), note("inner")] as never },
    );
    const contextValues = createContextValues().set(key, "mine");
    expect((await agent.sendMessage({ conversationId, message: "hi" }, { contextValues })).response).toBe("unset");
    expect(order).toEqual(["outer: mine", "inner: mine", "server: unset"]);
  });

  test("names the method that is not served", async () => {
    const transport = createInProcessTransport({ mounts: [mount(AgentService, {} as never)] });
    const agent = createClient(AgentService, transport);
    for (const call of [agent.listAgents({}), createClient(TokenService, transport).getJwks({})]) {
      const error = await caught(call);
      expect(reasonOf(error)).toBe(ErrorReason.UNIMPLEMENTED);
      expect(error.rawMessage).toMatch(/ is not served here\.$/);
    }
  });
});
