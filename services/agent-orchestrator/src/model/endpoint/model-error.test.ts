import { detailOf, ErrorReason, reasonOf } from "@turnwright/platform/errors";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { contextWindowOf, errorFromAnswer, errorFromBody, holdsError } from "./model-error.ts";

const openAi = (message: string, more: object = {}) => ({ error: { message, type: "invalid_request_error", ...more } });

function seen(error: unknown) {
  const { param, code, type, retryAfterSeconds } = detailOf(error) ?? {};
  return { reason: reasonOf(error), message: (error as { rawMessage: string }).rawMessage, param, code, type, retryAfterSeconds };
}

describe("a reason follows from status and words", () => {
  test.each<[string, number | undefined, unknown, ErrorReason]>([
    ["OpenAI 404", 404, openAi("The model `x` does not exist", { code: "model_not_found" }), ErrorReason.MODEL_NOT_FOUND],
    ["Ollama 404", 404, { error: 'model "x" not found, try pulling it first' }, ErrorReason.MODEL_NOT_FOUND],
    ["OpenRouter 400 model", 400, openAi("x/y is not a valid model ID", { code: 400 }), ErrorReason.MODEL_NOT_FOUND],
    ["DeepSeek 400 model", 400, openAi("Model Not Exist"), ErrorReason.MODEL_NOT_FOUND],
    [
      "Mistral 400 model",
      400,
      { object: "error", message: "Invalid model: x", type: "invalid_model" },
      ErrorReason.MODEL_NOT_FOUND,
    ],
    ["LiteLLM 400 model", 400, openAi("Invalid model name passed in model=x"), ErrorReason.MODEL_NOT_FOUND],
    ["no access to a model, 403", 403, openAi("no access", { code: "model_not_found" }), ErrorReason.MODEL_NOT_FOUND],
    ["OpenAI 429 quota", 429, openAi("You exceeded your current quota", { code: "insufficient_quota" }), ErrorReason.MODEL_QUOTA],
    ["DeepSeek 402", 402, openAi("Insufficient Balance"), ErrorReason.MODEL_QUOTA],
    ["402 without words", 402, {}, ErrorReason.MODEL_QUOTA],
    ["Anthropic 400 credit", 400, openAi("Your credit balance is too low to access the API"), ErrorReason.MODEL_QUOTA],
    ["OpenAI 429", 429, openAi("Rate limit reached for gpt-4o", { code: "rate_limit_exceeded" }), ErrorReason.MODEL_RATE_LIMITED],
    ["429 in words only", 429, "slow down", ErrorReason.MODEL_RATE_LIMITED],
    [
      "Groq 413 per minute",
      413,
      openAi("Request too large: tokens per minute (TPM): Limit 6000"),
      ErrorReason.MODEL_RATE_LIMITED,
    ],
    [
      "rate limit inside a 200",
      200,
      { error: { message: "Rate limit exceeded upstream", code: 429 } },
      ErrorReason.MODEL_RATE_LIMITED,
    ],
    ["FastAPI 422", 422, { detail: [{ loc: ["body", "x"], msg: "extra" }] }, ErrorReason.MODEL_UNPROCESSABLE],
    ["overflow as 422", 422, { error: "`inputs` tokens + `max_new_tokens` must be <= 4096" }, ErrorReason.CONTEXT_TOO_LONG],
    ["overflow as 500", 500, openAi("the request exceeds the available context size"), ErrorReason.CONTEXT_TOO_LONG],
    ["413 of a proxy", 413, "<html><title>413 Request Entity Too Large</title></html>", ErrorReason.CONTEXT_TOO_LONG],
    ["408", 408, {}, ErrorReason.MODEL_FAILED],
    ["409", 409, {}, ErrorReason.MODEL_FAILED],
    ["500", 500, openAi("The server had an error"), ErrorReason.MODEL_FAILED],
    ["529", 529, { type: "error", error: { type: "overloaded_error", message: "Overloaded" } }, ErrorReason.MODEL_FAILED],
    ["an event with a bare code", undefined, { code: "503", message: "overloaded" }, ErrorReason.MODEL_FAILED],
    ["a redirect", 302, {}, ErrorReason.MODEL_FAILED],
    ["401", 401, openAi("Incorrect API key provided: sk-abcdefghijk"), ErrorReason.MODEL_FAILED],
    ["Gemini's bad key", 400, [{ error: { code: 400, message: "API key not valid." } }], ErrorReason.MODEL_FAILED],
    ["403 of a policy", 403, openAi("Your input was flagged by moderation"), ErrorReason.MODEL_REJECTED],
    ["Azure's filter", 400, openAi("filtered", { code: "content_filter" }), ErrorReason.MODEL_REJECTED],
    ["400", 400, openAi("'temperature' must be at most 2"), ErrorReason.MODEL_REJECTED],
    [
      "a parameter and a model in one text",
      400,
      openAi("'max_tokens' is not supported with this model"),
      ErrorReason.MODEL_REJECTED,
    ],
    ["405", 405, "Method Not Allowed", ErrorReason.MODEL_REJECTED],
    ["a refusal inside a stream", undefined, openAi("bad input"), ErrorReason.MODEL_REJECTED],
    ["an error without a text", undefined, { error: {} }, ErrorReason.MODEL_FAILED],
  ])("%s", (_name, status, body, reason) => {
    const error = typeof body === "string" ? errorFromAnswer(body, { status }) : errorFromBody(body, status);
    expect(seen(error).reason).toBe(reason);
  });
});

test.each([
  "Invalid value: 'insufficient_quota'. Supported values are: 'system', 'user'.",
  'Invalid tool name "rate limit exceeded".',
  "The name `invalid api key` does not match the pattern.",
  `The text is not allowed here, since it has no place in this field, which takes names of colours, of which the ` +
    `${"x ".repeat(40)} rate limit is none.`,
])("a client's words in a refusal say nothing of our account: %s", (words) => {
  for (const status of [400, 422, undefined]) {
    const { reason } = seen(errorFromBody({ error: { message: words, type: "invalid_request_error" } }, status));
    expect(reason).toBe(status === 422 ? ErrorReason.MODEL_UNPROCESSABLE : ErrorReason.MODEL_REJECTED);
  }
});

describe("an input that is too long", () => {
  test.each<[string, number | undefined, string]>([
    ["OpenAI", 8192, "This model's maximum context length is 8192 tokens. However, your messages resulted in 8545 tokens."],
    ["OpenAI's later API", undefined, "Your input exceeds the context window of this model."],
    ["vLLM", 4096, "You passed 5000 input tokens. However, the model's context length is only 4096 tokens, so shorten it."],
    ["vLLM's engine", 4096, "The decoder prompt (length 5000) is longer than the maximum model length of 4096."],
    ["llama.cpp", 4096, "request (5021 tokens) exceeds the available context size (4096 tokens), try increasing it"],
    ["Anthropic", 199_999, "prompt is too long: 209353 tokens > 199999 maximum"],
    [
      "Anthropic with an answer",
      200_000,
      "input length and `max_tokens` exceed context limit: 199759 + 8192 > 200000, decrease it",
    ],
    ["Gemini", 1_048_576, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."],
    ["Vertex", 32_768, "the input token count is 40000 but model only supports up to 32768"],
    ["Mistral", 32_768, "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length"],
    ["TGI", 4096, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens"],
    ["TGI without an answer", 1024, "`inputs` must have less than 1024 tokens. Given: 2000"],
    ["Together", 262_144, "Input length (265330) exceeds model's maximum context length (262144)."],
    ["Groq", undefined, "Please reduce the length of the messages or completion."],
    [
      "LM Studio",
      4096,
      "Trying to keep the first 5000 tokens. However, the model is loaded with context length of only 4096 tokens",
    ],
    ["LM Studio's server", undefined, "The number of tokens to keep from the initial prompt is greater than the context length."],
    [
      "DeepSeek",
      65_536,
      "This model's maximum context length is 65536 tokens. However, you requested 100000 tokens (98000 in the messages)",
    ],
    ["xAI", 131_072, "This model's maximum prompt length is 131072 but the request contains 537812 tokens."],
    ["Moonshot", 262_144, "Invalid request: Your request exceeded model token limit: 262144 (requested: 291351)"],
    ["DashScope", 30_720, "Range of input length should be [1, 30720]"],
    ["Poolside", 131_040, "Input length 131393 exceeds the maximum allowed input length of 131,040 tokens."],
    ["SGLang", 202_752, "Requested token count exceeds the model's maximum context length of 202752 tokens."],
    ["Ollama", undefined, "prompt too long; exceeded max context length by 4 tokens"],
    ["Cohere", 4081, "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 7187"],
    ["Bedrock", undefined, "Input is too long for requested model."],
  ])("is known in the words of %s", (_name, window, words) => {
    const error = errorFromBody({ error: { message: words, code: 400 } }, 400);
    expect(seen(error)).toMatchObject({ reason: ErrorReason.CONTEXT_TOO_LONG, param: "messages", message: words, code: "" });
    expect(contextWindowOf(error)).toBe(window);
  });

  test("tells the window in a field of its own", () => {
    const error = errorFromBody(
      { error: { message: "exceeds the available context size", n_ctx: 2048, n_prompt_tokens: 9 } },
      400,
    );
    expect(contextWindowOf(error)).toBe(2048);
  });

  test("is not what other errors with numbers are", () => {
    const error = errorFromBody(
      openAi("max_tokens is too large: 100000. This model supports at most 16384 completion tokens"),
      400,
    );
    expect(seen(error).reason).toBe(ErrorReason.MODEL_REJECTED);
    expect(contextWindowOf(error)).toBeUndefined();
    expect(contextWindowOf(new Error("maximum context length is 8192"))).toBeUndefined();
  });
});

describe("the endpoint's words", () => {
  test.each<[string, unknown, object]>([
    ["OpenAI", openAi("WORDS", { param: "top_p", code: "bad_value" }), { param: "top_p", code: "bad_value" }],
    ["Gemini", [{ error: { code: 400, message: "WORDS", status: "INVALID_ARGUMENT" } }], { code: "", type: "INVALID_ARGUMENT" }],
    ["vLLM", { object: "error", message: "WORDS", type: "BadRequestError", param: null, code: 400 }, { type: "BadRequestError" }],
    ["FastAPI's text", { detail: "WORDS" }, {}],
    ["FastAPI's list", { detail: [{ loc: ["body", "a", 0], msg: "WORDS", type: "extra_forbidden" }] }, { param: "a.0" }],
    ["Mistral's list", { object: "error", message: { detail: [{ msg: "WORDS" }] }, type: "invalid_x" }, { type: "invalid_x" }],
    ["Mistral", { message: "WORDS", type: "invalid_x" }, { type: "invalid_x" }],
    [
      "Anthropic",
      { type: "error", error: { type: "invalid_request_error", message: "WORDS" } },
      { type: "invalid_request_error" },
    ],
    ["Ollama", { error: "WORDS" }, {}],
    ["OpenRouter", openAi("Provider returned error", { metadata: { raw: '{"error":{"message":"WORDS"}}' } }), {}],
    ["a choice", { choices: [{ finish_reason: "error", error: { message: "WORDS", code: 400 } }] }, {}],
    ["a list of errors", { success: false, errors: [{ code: 7003, message: "WORDS" }] }, {}],
  ])("are found in the form of %s", (_name, body, more) => {
    const told = seen(errorFromBody(body, 400));
    expect(told).toMatchObject({ reason: ErrorReason.MODEL_REJECTED, ...more });
    expect(told.message).toContain("WORDS");
  });

  test("of a failing server come with its status", () => {
    expect(seen(errorFromBody({ error: "no GPU" }, 500)).message).toBe("The model's endpoint answered 500: no GPU");
    expect(seen(errorFromBody({ error: { message: "no GPU", code: 503 } }, 200)).message).toBe("no GPU");
    expect(seen(errorFromAnswer("<html><body><h1>502 Bad Gateway</h1></body>", { status: 502 })).message).toBe(
      "The model's endpoint answered 502: 502 Bad Gateway",
    );
  });

  test("lose markup, control characters and what is too long", () => {
    const page = "<!DOCTYPE html><script>alert(1)</script><title>Too\u0000 <b>large</b></title>";
    expect(seen(errorFromAnswer(page, { status: 400 })).message).toBe("Too");
    expect(seen(errorFromAnswer("<html>nginx</html>", { status: 405 })).message).toBe("The model's endpoint answered 405.");
    expect(seen(errorFromBody({ error: "a\u0000b\r\n\u202ec\ud800" }, 400)).message).toBe("a b c\ufffd");
    expect(seen(errorFromBody({ error: "x".repeat(5_000_000) }, 400)).message).toHaveLength(1_000);
  });

  test("about our credentials stay here", () => {
    const answer = JSON.stringify(openAi("Incorrect API key provided: sk-abcdefghijk", { code: "invalid_api_key" }));
    for (const status of [400, 401, 403]) {
      expect(seen(errorFromAnswer(answer, { status }))).toMatchObject({
        message: `The model's endpoint answered ${status}. It does not accept our credentials.`,
        code: "",
        type: "",
      });
    }
  });

  test("show no key, wherever one occurs", () => {
    const words = "bad: my-secret, sk-abc123def456, Bearer abcdef123, org-abcdefgh12, http://u:p@host/?key=AIza123&x=1";
    expect(seen(errorFromAnswer(words, { status: 400, secrets: ["my-secret"] })).message).toBe(
      "bad: [hidden], [hidden], [hidden], [hidden], http://[hidden]host/?key=[hidden]&x=1",
    );
  });
});

describe("names of errors", () => {
  test("that OpenAI's API has are used whatever the endpoint calls them", () => {
    const error = errorFromBody({ error: { message: "slow down", code: "throttled_by_us", type: "tokens" } }, 429);
    expect(seen(error)).toMatchObject({ reason: ErrorReason.MODEL_RATE_LIMITED, code: "", type: "tokens" });
  });

  test("that are numbers or no names are left out", () => {
    const error = errorFromBody({ error: { message: "x", code: "400", type: "a b\nc", param: { a: 1 } } }, 400);
    expect(seen(error)).toMatchObject({ code: "", type: "", param: "" });
  });
});

test("the time to wait comes from the headers, else from Google's details", () => {
  const body = JSON.stringify([
    {
      error: {
        code: 429,
        message: "You exceeded your current quota",
        details: [{ "@type": "x.RetryInfo", retryDelay: "34.5s" }],
      },
    },
  ]);
  expect(seen(errorFromAnswer(body, { status: 429 }))).toMatchObject({
    reason: ErrorReason.MODEL_RATE_LIMITED,
    retryAfterSeconds: 34.5,
  });
  expect(seen(errorFromAnswer(body, { status: 429, retryAfterSeconds: 7 })).retryAfterSeconds).toBe(7);
});

test("the time in which a model is loaded is the time to wait", () => {
  const error = errorFromAnswer('{"error":"Model x is currently loading","estimated_time":20.5}', { status: 503 });
  expect(seen(error)).toMatchObject({ reason: ErrorReason.MODEL_FAILED, retryAfterSeconds: 20.5 });
});

test.each([
  ["with a byte order mark", '\ufeff{"error":{"message":"WORDS"}}', "WORDS"],
  ["as an event", 'event: error\ndata: {"error":{"message":"WORDS"}}\n\n', "WORDS"],
  ["as an event without a name", 'data: {"error":{"message":"WORDS"}}\n\n', "WORDS"],
  ["that is cut off", `{"detail":[{"loc":["body"],"msg":"WORDS of \\"x\\"","input":"${"x".repeat(100_000)}`, "WORDS of x"],
  ["as text", "WORDS\n", "WORDS"],
  ["as JSON text", '"WORDS"', "WORDS"],
])("a body %s is read", (_name, body, words) => {
  expect(seen(errorFromAnswer(body, { status: 400 })).message).toBe(words);
});

test.each<[unknown, boolean]>([
  [{ error: { message: "x" } }, true],
  [{ error: "x" }, true],
  [[{ error: { code: 400 } }], true],
  [{ object: "error", message: "x" }, true],
  [{ code: "503", message: "overloaded" }, true],
  [{ detail: "x" }, true],
  [{ choices: [{ error: { message: "x" } }] }, true],
  [{ error: null, choices: [] }, false],
  [{ choices: [{ delta: { content: "x" } }] }, false],
  [{ choices: null, id: null }, false],
  [{ usage: {} }, false],
  [null, false],
  [[], false],
  ["error", false],
])("whether %j is an error: %s", (json, isError) => {
  expect(holdsError(json)).toBe(isError);
});

test("any JSON becomes an error with a bounded text", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.option(fc.integer({ min: 300, max: 599 }), { nil: undefined }), (json, status) => {
      for (const body of [json, { error: json }, { detail: json }, { message: json }, { choices: json }, [{ error: json }]]) {
        const { message } = seen(errorFromBody(body, status));
        holdsError(body);
        expect(message.length).toBeGreaterThan(0);
        expect(message.length).toBeLessThanOrEqual(1_100);
      }
    }),
    { numRuns: 200 },
  );
});

test("hostile words do not slow the search", () => {
  const hostile = [
    "model ".repeat(20_000),
    "<title ".repeat(20_000),
    "sk-".repeat(50_000),
    `exceeds ${"the ".repeat(50_000)}`,
    "://".repeat(50_000),
  ];
  const started = performance.now();
  for (const words of hostile) errorFromBody({ error: { message: words } }, 400);
  expect(performance.now() - started).toBeLessThan(2_000);
});
