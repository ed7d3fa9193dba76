import { create } from "@bufbuild/protobuf";
import { IdentitySchema } from "@turnwright/contract/auth/v1/identity";
import { ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import { createLogger } from "@turnwright/platform/logger";
import { createMemoryBus } from "@turnwright/platform/ports/bus-memory";
import { describe, expect, test } from "vitest";
import { conversation, expectStrict } from "../../testing/history.ts";
import { findAgent } from "../agents/agents.ts";
import { createHistory } from "../history/history.ts";
import type { ModelMessage } from "../history/message-form.ts";
import { noUsage } from "../model/edge/chunk.ts";
import { OutputCount } from "../model/edge/output-count.ts";
import type { ModelCalls } from "../model-calls/model-calls.ts";
import { LiveLog } from "../run-events/live-log.ts";
import { noCharge } from "../spending/charge.ts";
import { ToolRefusals } from "../tool-access/tool-refusals.ts";
import type { DrivenRun, GraphDeps } from "./driven-run.ts";
import { freshState } from "./state.ts";
import { think } from "./think.ts";

interface Request {
  readonly bytes: number;
  readonly max_tokens?: number;
  readonly messages: readonly ModelMessage[];
}

type Answer = (request: Request) => string | Error;

const logger = createLogger({ service: "test", level: "silent" });
const chunkOf = (delta: object, finish: string | null = null) =>
  `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
const textOf = (content: string) => chunkOf({ content }) + chunkOf({}, "stop");

/** A run that thinks once, with a model that answers like this. */
async function thinking(words: string, answer: Answer, init: Parameters<typeof conversation>[1] = {}, window = 8_192) {
  const requests: Request[] = [];
  const modelCalls: ModelCalls = {
    firstTarget: () => ({ provider: "p" }),
    complete: () => expect.fail("not streamed"),
    async *stream(call, makeSink, onEnd) {
      const request = { bytes: call.body.length, ...JSON.parse(Buffer.from(call.body).toString()) } as Request;
      requests.push(request);
      const sink = makeSink(new OutputCount());
      const result = answer(request);
      const facts = { model: call.model, charge: { ...noCharge, requests: 1 }, costUsd: 0, isPriced: false, provider: "p" };
      if (typeof result !== "string") {
        onEnd?.({ ...facts, charge: noCharge });
        throw result;
      }
      const { out } = sink.push(Buffer.from(result));
      if (out !== undefined) yield out;
      sink.end();
      onEnd?.(facts);
    },
  };
  const run = {
    runId: "run",
    conversationId: "c",
    identity: create(IdentitySchema),
    agent: { ...findAgent("general"), maxTokens: 1_024 },
    state: { ...freshState, model: "m" },
    messages: conversation(words, init),
    uncommitted: [],
    usage: noUsage,
    costUsd: 0,
    totalUsage: noUsage,
    signal: new AbortController().signal,
    options: async () => ({}),
    log: new LiveLog({ id: "run", seq: 0 }, { bus: createMemoryBus({ logger }), logger }, () => {}),
  } as unknown as DrivenRun;
  const deps = {
    modelCalls,
    toolRefusals: new ToolRefusals(),
    takesImages: () => undefined,
    history: createHistory({ defaultWindow: window }),
    catalogue: { definitionsJson: async () => undefined },
    maxIterations: 10,
    logger,
  } as unknown as GraphDeps;
  const outcome = await think(deps, run).catch((error: unknown) => error);
  return { requests, outcome, run, deps };
}

const overflow = fail(ErrorReason.CONTEXT_TOO_LONG, "This model's maximum context length is exceeded.");
const long = Array.from({ length: 60 }, () => "u a").join(" ");
const text = { content: "word ".repeat(200) };

describe("a model call whose history is too long", () => {
  test("is repeated once with half of it", async () => {
    const { requests, outcome } = await thinking(`${long} u`, ({ bytes }) => (bytes > 12_000 ? overflow : textOf("hi")), {
      a: text,
    });
    expect(outcome).toMatchObject({ end: { content: "hi" } });
    expect(requests).toHaveLength(2);
    expect(requests[1]?.bytes).toBeLessThan((requests[0]?.bytes ?? 0) * 0.55);
    for (const { messages } of requests) expectStrict(messages);
  });

  test("ends the run with CONTEXT_TOO_LONG when half is too long as well", async () => {
    const { requests, outcome } = await thinking(`${long} u`, () => overflow, { a: text });
    expect(reasonOf(outcome)).toBe(ErrorReason.CONTEXT_TOO_LONG);
    expect(requests).toHaveLength(2);
  });

  test("is not repeated when the newest message alone is too long", async () => {
    const { requests, outcome } = await thinking("u a u1", () => overflow, { u1: { content: "word ".repeat(9_000) } });
    expect(reasonOf(outcome)).toBe(ErrorReason.CONTEXT_TOO_LONG);
    expect(requests).toHaveLength(1);
  });

  test("is not repeated for other errors", async () => {
    for (const reason of [ErrorReason.MODEL_FAILED, ErrorReason.MODEL_REJECTED, ErrorReason.SPEND_LIMIT]) {
      const { requests, outcome } = await thinking("u", () => fail(reason, "no"));
      expect(reasonOf(outcome)).toBe(reason);
      expect(requests).toHaveLength(1);
    }
  });

  test("has a limit of the answer that fits in the window", async () => {
    const { requests } = await thinking("u", () => textOf("hi"), {}, 1_024);
    expect(requests[0]?.max_tokens).toBe(512);
  });
});

describe("a model that demands something of its history", () => {
  test("gets its reasoning back with the calls", async () => {
    const providerFields = JSON.stringify({ provider: "p", family: "m", message: { reasoning_content: "Hm." }, calls: [null] });
    const { requests } = await thinking("u c1 t1", () => textOf("5"), { c1: { providerFields } });
    expect(requests[0]?.messages[2]).toMatchObject({ reasoning_content: "Hm." });
  });

  test("gets empty reasoning for calls that have none, once it has refused them", async () => {
    const refusal = fail(ErrorReason.MODEL_REJECTED, "The `reasoning_content` in the thinking mode must be passed back.");
    const answer: Answer = ({ messages }) =>
      messages.some((message) => message.tool_calls !== undefined && message.reasoning_content === undefined)
        ? refusal
        : textOf("5");
    const { requests, outcome } = await thinking("u c1 t1", answer);
    expect(outcome).toMatchObject({ end: { content: "5" } });
    expect(requests).toHaveLength(2);
  });
});

describe("the answer of a model", () => {
  test("that was cut says so in its message and at the end of its run", async () => {
    const { outcome } = await thinking("u", () => chunkOf({ content: "The first half" }) + chunkOf({}, "length"));
    expect(outcome).toMatchObject({ finishReason: "length", end: { content: "The first half", finishReason: "length" } });
  });

  test("is stored with the provider that gave it", async () => {
    const { run } = await thinking("u", () => textOf("hi"));
    expect(JSON.parse(run.uncommitted[0]?.providerFields ?? "")).toEqual({ provider: "p", family: "m" });
  });
});
