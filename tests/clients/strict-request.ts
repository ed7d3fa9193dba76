/** A refusal in OpenAI's form. */
export interface Refusal {
  readonly status: number;
  readonly message: string;
  readonly type?: string;
  readonly param?: string | null;
  readonly code?: string | null;
  readonly headers?: Record<string, string>;
}

/** A call of a tool in a request or an answer. */
export interface Call {
  readonly id: string;
  readonly type: string;
  readonly function: { readonly name: string; readonly arguments: string };
}

/** A message of a checked request. */
export interface Message {
  readonly role: string;
  readonly content?: string | readonly { readonly type: string; readonly text?: string }[] | null;
  readonly tool_calls?: readonly Call[];
  readonly tool_call_id?: string;
}

/** A checked request. */
export interface StrictRequest {
  readonly model: string;
  readonly messages: readonly Message[];
  readonly stream?: boolean;
  readonly stream_options?: { readonly include_usage?: boolean };
  readonly tools?: readonly { readonly function?: { readonly name: string } }[];
  readonly tool_choice?: unknown;
  readonly response_format?: { readonly type: string; readonly json_schema?: { readonly schema?: object } };
}

/** OpenAI's fields (openai 7.57.0); a request with another one is refused. */
const fields = new Set(
  (
    "model messages audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens metadata modalities n " +
    "parallel_tool_calls prediction presence_penalty prompt_cache_key prompt_cache_options prompt_cache_retention reasoning_effort response_format " +
    "safety_identifier seed service_tier stop store stream stream_options temperature tool_choice tools top_logprobs top_p user verbosity web_search_options"
  ).split(" "),
);
const messageFields = new Set("role content name refusal audio function_call tool_calls tool_call_id annotations".split(" "));

class Refused extends Error {
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(refusal.message);
    this.refusal = refusal;
  }
}

function refuse(message: string, param: string | null = null, code: string | null = null): never {
  throw new Refused({ status: 400, message, type: "invalid_request_error", param, code });
}

function textOf({ content }: Message): string {
  return typeof content === "string" ? content : (content ?? []).map(({ text }) => text ?? "").join("");
}

function checkTools(body: Record<string, unknown>): void {
  const { tools } = body;
  if (tools === undefined || tools === null) {
    for (const field of ["tool_choice", "parallel_tool_calls"]) {
      if (body[field] !== undefined && body[field] !== null) {
        refuse(`Invalid value for '${field}': '${field}' is only allowed when 'tools' are specified.`, field);
      }
    }
    return;
  }
  if (!Array.isArray(tools)) refuse("Invalid type for 'tools': expected an array of objects.", "tools", "invalid_type");
  if (tools.length === 0)
    refuse("Invalid 'tools': empty array. Expected an array with minimum length 1.", "tools", "empty_array");
  const names = new Set<string>();
  for (const [i, tool] of tools.entries()) {
    if (tool?.type !== "function") continue;
    const name = tool.function?.name;
    if (typeof name !== "string" || !/^[a-zA-Z0-9_-]{1,64}$/.test(name)) {
      refuse(`Invalid 'tools[${i}].function.name': string does not match pattern.`, `tools[${i}].function.name`, "invalid_value");
    }
    if (names.has(name)) refuse(`Tool names must be unique: ${name}`, "tools");
    names.add(name);
  }
  if (body.functions !== undefined) refuse("'functions' and 'tools' are mutually exclusive.", "functions");
}

function checkMessages(messages: unknown): void {
  if (!Array.isArray(messages) || messages.length === 0) {
    refuse("Invalid 'messages': empty array. Expected an array with minimum length 1.", "messages", "empty_array");
  }
  let open = new Set<string>();
  for (const [i, message] of messages.entries()) {
    const place = `messages[${i}]`;
    const unknown = Object.keys(message).find((field) => !messageFields.has(field));
    if (unknown !== undefined) refuse(`Unknown parameter: '${place}.${unknown}'.`, `${place}.${unknown}`, "unknown_parameter");
    const { role, content, tool_calls: calls } = message;
    if (!["system", "developer", "user", "assistant", "tool", "function"].includes(role)) {
      refuse(`Invalid value: '${role}'.`, `${place}.role`, "invalid_value");
    }
    if (role === "tool") {
      if (!open.delete(message.tool_call_id)) {
        refuse(
          "Invalid parameter: messages with role 'tool' must be a response to a preceding message with 'tool_calls'.",
          place,
        );
      }
    } else if (open.size > 0) {
      refuse(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'.",
        place,
      );
    }
    if ((content === null || content === undefined) && !(role === "assistant" && calls?.length > 0)) {
      refuse(`Invalid value for 'content': expected a string, got null.`, `${place}.content`);
    }
    if (calls === undefined) continue;
    if (!Array.isArray(calls) || calls.length === 0) refuse(`Invalid '${place}.tool_calls': empty array.`, `${place}.tool_calls`);
    open = new Set(calls.map(checkCall(place)));
  }
  if (open.size > 0) refuse("An assistant message with 'tool_calls' must be followed by tool messages.", "messages");
}

function checkCall(place: string) {
  return (call: Partial<Call>): string => {
    const at = `${place}.tool_calls`;
    const unknown = Object.keys(call).find((field) => !["id", "type", "function"].includes(field));
    if (unknown !== undefined) refuse(`Unknown parameter: '${at}.${unknown}'.`, at, "unknown_parameter");
    if (typeof call.id !== "string" || call.id === "" || call.id.length > 40) refuse(`Invalid '${at}.id'.`, at);
    if (call.type !== "function") refuse(`Missing required parameter: '${at}.type'.`, at, "missing_required_parameter");
    if (typeof call.function?.arguments !== "string") refuse(`Invalid type for '${at}.function.arguments'.`, at, "invalid_type");
    return call.id;
  };
}

function checkFormat(body: StrictRequest): void {
  const format = body.response_format;
  if (format === undefined || format === null) return;
  if (!["text", "json_object", "json_schema"].includes(format.type)) {
    refuse(`Invalid value: '${format.type}'.`, "response_format.type", "invalid_value");
  }
  if (format.type === "json_object" && !body.messages.some((message) => /json/i.test(textOf(message)))) {
    refuse("'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.", "messages");
  }
  if (format.type === "json_schema" && format.json_schema?.schema === undefined) {
    refuse(
      "Missing required parameter: 'response_format.json_schema'.",
      "response_format.json_schema",
      "missing_required_parameter",
    );
  }
}

/** A request that OpenAI would serve, or its refusal. */
export function checkRequest(json: string): { readonly request: StrictRequest } | { readonly refusal: Refusal } {
  try {
    const body = JSON.parse(json) as Record<string, unknown>;
    const unknown = Object.keys(body).find((field) => !fields.has(field));
    if (unknown !== undefined) refuse(`Unrecognized request argument supplied: ${unknown}`, null, "unknown_parameter");
    if (typeof body.model !== "string" || body.model === "") refuse("you must provide a model parameter");
    checkMessages(body.messages);
    checkTools(body);
    if (body.stream_options && body.stream !== true) {
      refuse("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options");
    }
    const request = body as unknown as StrictRequest;
    checkFormat(request);
    return { request };
  } catch (error) {
    if (error instanceof Refused) return { refusal: error.refusal };
    if (error instanceof SyntaxError)
      return { refusal: { status: 400, message: "We could not parse the JSON body of your request." } };
    throw error;
  }
}

/** The text of the last message of a role; empty when there is none. */
export function lastText({ messages }: StrictRequest, role: string): string {
  const message = messages.findLast((one) => one.role === role);
  return message === undefined ? "" : textOf(message);
}
