/** An answer with an error, before it is put into an endpoint's form. */
export interface Refusal {
  readonly status: number;
  readonly message: string;
  readonly type?: string;
  readonly code?: string | null;
  readonly param?: string | null;
}

/** Forms of error bodies, by the kind of endpoint that sends them. */
export const errorForms = {
  openai: "OpenAI's `{error: {message, type, param, code}}`; the default",
  gemini: "Gemini's list with one `{error: {code, message, status}}`",
  vllm: 'older vLLM: `{object: "error", message, type, code}`',
  fastapi: "FastAPI's `{detail: text}`",
  "fastapi-list": "FastAPI's `{detail: [{loc, msg, type}]}`",
  mistral: 'Mistral: `{object: "error", message: {detail: […]}}`',
  anthropic: 'Anthropic: `{type: "error", error: {type, message}}`',
  ollama: "Ollama's `{error: text}`",
  html: "a page of a proxy",
  text: "plain text",
  empty: "no body",
} as const;

/** The name of a form. */
export type ErrorForm = keyof typeof errorForms;

/** Errors by the name that a mode gives them. */
export const namedErrors = {
  context: {
    status: 400,
    message: "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.",
    type: "invalid_request_error",
    param: "messages",
    code: "context_length_exceeded",
  },
  auth: { status: 401, message: "Incorrect API key provided.", type: "invalid_request_error", code: "invalid_api_key" },
  credit: { status: 402, message: "Insufficient Balance", type: "unknown_error", code: "invalid_request_error" },
  forbidden: { status: 403, message: "You are not allowed to use this model.", type: "invalid_request_error", code: null },
  model: { status: 404, message: "The model does not exist.", type: "invalid_request_error", code: "model_not_found" },
  quota: { status: 429, message: "You exceeded your current quota.", type: "insufficient_quota", code: "insufficient_quota" },
  rate: { status: 429, message: "Rate limit reached for requests.", type: "requests", code: "rate_limit_exceeded" },
  unprocessable: { status: 422, message: "The request cannot be processed.", type: "invalid_request_error", code: null },
  overloaded: { status: 529, message: "Overloaded", type: "overloaded_error", code: null },
} as const satisfies Readonly<Record<string, Refusal>>;

/** A refusal for a status alone. */
export function refusalOf(status: number): Refusal {
  const known = Object.values(namedErrors).find((one) => one.status === status && one.code !== "insufficient_quota");
  if (known !== undefined) return known;
  const type = status >= 500 ? "server_error" : "invalid_request_error";
  return { status, message: `The mock model answers ${status}.`, type, code: null };
}

const json = (value: unknown) => ({ contentType: "application/json", text: JSON.stringify(value) });

/** An error's body in a form. */
export function errorBody(refusal: Refusal, form: ErrorForm = "openai"): { contentType: string; text: string } {
  const { status, message, type = "invalid_request_error", code = null, param = null } = refusal;
  switch (form) {
    case "openai":
      return json({ error: { message, type, param, code } });
    case "gemini":
      return json([{ error: { code: status, message, status: status === 429 ? "RESOURCE_EXHAUSTED" : "INVALID_ARGUMENT" } }]);
    case "vllm":
      return json({ object: "error", message, type: "BadRequestError", param, code: status });
    case "fastapi":
      return json({ detail: message });
    case "fastapi-list":
      return json({ detail: [{ type: "value_error", loc: ["body", param ?? "messages"], msg: message, input: null }] });
    case "mistral":
      return json({
        object: "error",
        message: { detail: [{ type: "value_error", loc: ["body"], msg: message }] },
        type,
        param,
        code,
      });
    case "anthropic":
      return json({ type: "error", error: { type, message } });
    case "ollama":
      return json({ error: message });
    case "html":
      return {
        contentType: "text/html",
        text: `<html><head><title>${status}</title></head><body><h1>${message}</h1></body></html>`,
      };
    case "text":
      return { contentType: "text/plain", text: message };
    case "empty":
      return { contentType: "application/json", text: "" };
    default:
      return form satisfies never;
  }
}
