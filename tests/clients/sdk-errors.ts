import { generateText } from "ai";
import { describe, expect, test } from "vitest";
import { callError, providerOf } from "./ai-sdk.ts";
import { chatOf } from "./langchain.ts";
import { ask, clientOf, type OpenAiNode } from "./openai-node.ts";
import type { ClientStage } from "./stage.ts";

/** A failure of the model's endpoint, by the model that refuses so, as clients must see it. */
interface Failure {
  readonly model: string;
  /** Its class in openai-node. */
  readonly name: "NotFoundError" | "BadRequestError" | "RateLimitError" | "UnprocessableEntityError";
  readonly status: number;
  readonly code: string | null;
  readonly type: string;
  readonly words: string;
  readonly param?: string;
}

const badRequest = "invalid_request_error";
const failures: readonly Failure[] = [
  {
    model: "no-such-model",
    name: "NotFoundError",
    status: 404,
    code: "model_not_found",
    type: badRequest,
    words: "`no-such-model`",
  },
  {
    model: "overflowing",
    name: "BadRequestError",
    status: 400,
    code: "context_length_exceeded",
    type: badRequest,
    words: "maximum context length is 8192 tokens",
    param: "messages",
  },
  {
    model: "unpaid",
    name: "RateLimitError",
    status: 429,
    code: "insufficient_quota",
    type: "insufficient_quota",
    words: "exceeded your current quota",
  },
  {
    model: "crowded",
    name: "RateLimitError",
    status: 429,
    code: "rate_limit_exceeded",
    type: "requests",
    words: "Rate limit reached",
  },
  {
    model: "unprocessable",
    name: "UnprocessableEntityError",
    status: 422,
    code: null,
    type: badRequest,
    words: "image could not be read",
    param: "messages",
  },
];

const told = ({ status, code, type, param }: Failure) => ({
  status,
  type,
  ...(code === null ? {} : { code }),
  ...(param && { param }),
});

/** Tests of the errors that releases of openai-node make of an endpoint's failures. */
export function describeOpenAiErrors(name: string, release: OpenAiNode, stageOf: () => ClientStage): void {
  describe(`an endpoint's failure at ${name}`, () => {
    test.each(failures)("of $model is a $name of its own, streamed or not", async (failure) => {
      const { completions } = clientOf(release, stageOf()).chat;
      const refusals = [false, true].map((stream) =>
        completions.create({ ...ask("hello", `${failure.model} of ${name}`), stream }).then(
          () => expect.unreachable(),
          (error: unknown) => error,
        ),
      );
      for (const error of await Promise.all(refusals)) {
        expect(error).toBeInstanceOf(release.OpenAI[failure.name]);
        expect(error).toMatchObject(told(failure));
        expect((error as Error).message).toContain(failure.words);
      }
    });
  });
}

/** Tests of the errors that LangChain and the AI SDK make of an endpoint's failures. */
export function describeOtherErrors(stageOf: () => ClientStage): void {
  describe("an endpoint's failure at LangChain", () => {
    test.each(failures)("of $model keeps its identity", async ({ model, ...failure }) => {
      const error = await chatOf(stageOf(), { model: `${model} of LangChain` })
        .invoke("hello")
        .then(
          () => expect.unreachable(),
          (caught: unknown) => caught,
        );
      // For a context that is too long it has a class of its own, with openai-node's error as the cause.
      const isOverflow = failure.code === "context_length_exceeded";
      expect((error as Error).name === "ContextOverflowError").toBe(isOverflow);
      expect(isOverflow ? (error as Error).cause : error).toMatchObject(told({ model, ...failure }));
      expect((error as Error).message).toContain(failure.words);
    });
  });

  describe("an endpoint's failure at the AI SDK", () => {
    test.each(failures)("of $model keeps its identity", async ({ model, status, code, type, words }) => {
      const error = await callError(
        generateText({ model: providerOf(stageOf()).chat(`${model} of the AI SDK`), prompt: "hello", maxRetries: 0 }),
      );
      expect(error).toMatchObject({ statusCode: status, isRetryable: status === 429 });
      expect(error.message).toContain(words);
      const known = code === null ? { type } : { type, code };
      expect(JSON.parse(error.responseBody ?? "{}")).toMatchObject({ error: known });
    });
  });
}
