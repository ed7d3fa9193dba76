import { z } from "zod";
import type { Refusal } from "./refusal.ts";

const toolName = z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/);
const parts = z.array(z.looseObject({ type: z.string() })).min(1);
const content = z.union([z.string(), parts]);
const call = z.strictObject({
  id: z.string().min(1),
  type: z.literal("function"),
  function: z.strictObject({ name: toolName, arguments: z.string() }),
});
const name = z.string().optional();
const message = z.discriminatedUnion("role", [
  z.strictObject({ role: z.literal("system"), content, name }),
  z.strictObject({ role: z.literal("developer"), content, name }),
  z.strictObject({ role: z.literal("user"), content, name }),
  z.strictObject({
    role: z.literal("assistant"),
    content: content.nullish(),
    refusal: z.string().nullish(),
    annotations: z.array(z.unknown()).nullish(),
    audio: z.looseObject({}).nullish(),
    function_call: z.strictObject({ name: toolName, arguments: z.string() }).nullish(),
    tool_calls: z.array(call).min(1).max(128).optional(),
    name,
  }),
  z.strictObject({ role: z.literal("tool"), content, tool_call_id: z.string() }),
  z.strictObject({ role: z.literal("function"), content: z.string().nullable(), name: toolName }),
]);
const definition = z.strictObject({
  name: toolName,
  description: z.string().optional(),
  parameters: z.looseObject({}).optional(),
  strict: z.boolean().nullish(),
});
const number = (min: number, max: number) => z.number().min(min).max(max).nullish();
const count = z.int().min(1).nullish();

/** A request as OpenAI accepts it. */
const request = z.strictObject({
  model: z.string().min(1),
  messages: z.array(message).min(1),
  stream: z.boolean().nullish(),
  stream_options: z
    .strictObject({ include_usage: z.boolean().optional(), include_obfuscation: z.boolean().optional() })
    .nullish(),
  temperature: number(0, 2),
  top_p: number(0, 1),
  presence_penalty: number(-2, 2),
  frequency_penalty: number(-2, 2),
  n: z.int().min(1).max(128).nullish(),
  max_tokens: count,
  max_completion_tokens: count,
  seed: z.int().nullish(),
  stop: z.union([z.string(), z.array(z.string()).min(1).max(4)]).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(20).nullish(),
  logit_bias: z.record(z.string(), z.number()).nullish(),
  tools: z
    .array(
      z.union([
        z.strictObject({ type: z.literal("function"), function: definition }),
        z.strictObject({ type: z.literal("custom"), custom: z.looseObject({ name: toolName }) }),
      ]),
    )
    .min(1)
    .max(128)
    .optional(),
  tool_choice: z
    .union([
      z.enum(["none", "auto", "required"]),
      z.strictObject({ type: z.literal("function"), function: z.strictObject({ name: toolName }) }),
      z.looseObject({ type: z.enum(["custom", "allowed_tools"]) }),
    ])
    .optional(),
  parallel_tool_calls: z.boolean().optional(),
  functions: z.array(definition).min(1).max(128).optional(),
  function_call: z.union([z.enum(["none", "auto"]), z.strictObject({ name: toolName })]).optional(),
  response_format: z
    .discriminatedUnion("type", [
      z.strictObject({ type: z.literal("text") }),
      z.strictObject({ type: z.literal("json_object") }),
      z.strictObject({ type: z.literal("json_schema"), json_schema: z.looseObject({ name: toolName }) }),
    ])
    .nullish(),
  user: z.string().nullish(),
  safety_identifier: z.string().nullish(),
  prompt_cache_key: z.string().nullish(),
  store: z.boolean().nullish(),
  metadata: z.record(z.string().max(64), z.string().max(512)).nullish(),
  service_tier: z.enum(["auto", "default", "flex", "scale", "priority"]).nullish(),
  reasoning_effort: z.enum(["none", "minimal", "low", "medium", "high", "xhigh"]).nullish(),
  verbosity: z.enum(["low", "medium", "high"]).nullish(),
  modalities: z.array(z.enum(["text", "audio"])).nullish(),
  audio: z.looseObject({}).nullish(),
  prediction: z.looseObject({}).nullish(),
  web_search_options: z.looseObject({}).nullish(),
});

const invalid = (words: string, param: string | null, code: string | null = null): Refusal => ({
  status: 400,
  message: words,
  type: "invalid_request_error",
  param,
  code,
});

/** A path as OpenAI writes it: `messages[0].content`. */
function paramOf(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, key) => (typeof key === "number" ? `${text}[${key}]` : text === "" ? String(key) : `${text}.${String(key)}`),
    "",
  );
}

/** The first call without an answer, or answer without a call. */
function unansweredIn(messages: z.output<typeof request>["messages"]): Refusal | undefined {
  let open = new Set<string>();
  const missing = () =>
    invalid(
      `An assistant message with 'tool_calls' must be followed by tool messages responding to each ` +
        `'tool_call_id'. The following tool_call_ids did not have response messages: ${[...open].join(", ")}`,
      "messages",
    );
  for (const [index, one] of messages.entries()) {
    if (one.role === "tool") {
      const words = "messages with role 'tool' must be a response to a preceding message with 'tool_calls'.";
      if (!open.delete(one.tool_call_id)) return invalid(`Invalid parameter: ${words}`, `messages[${index}].role`);
      continue;
    }
    if (open.size > 0) return missing();
    if (one.role === "assistant") {
      open = new Set(one.tool_calls?.map(({ id }) => id));
      if (one.content == null && open.size === 0 && one.function_call == null && one.refusal == null)
        return invalid("Invalid value for 'content': expected a string, got null.", `messages[${index}].content`);
    }
  }
  return open.size > 0 ? missing() : undefined;
}

/** The refusal that OpenAI gives a body, if it does. */
export function refusalFor(body: unknown): Refusal | undefined {
  const parsed = request.safeParse(body);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    if (issue?.code === "unrecognized_keys") {
      const param = paramOf([...issue.path, issue.keys[0] ?? ""]);
      return invalid(`Unknown parameter: '${param}'.`, param, "unknown_parameter");
    }
    const param = paramOf(issue?.path ?? []);
    return invalid(`Invalid value for '${param}': ${issue?.message ?? "it is not valid"}.`, param, "invalid_value");
  }
  const asked = parsed.data;
  if (asked.stream_options != null && asked.stream !== true)
    return invalid("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options");
  if (asked.tool_choice !== undefined && asked.tools === undefined)
    return invalid("'tool_choice' is only allowed when 'tools' are specified.", "tool_choice");
  if (asked.parallel_tool_calls !== undefined && asked.tools === undefined)
    return invalid("'parallel_tool_calls' is only allowed when 'tools' are specified.", "parallel_tool_calls");
  if (asked.max_tokens != null && asked.max_completion_tokens != null)
    return invalid("Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.", "max_tokens");
  if (asked.response_format?.type === "json_object" && !/json/i.test(JSON.stringify(asked.messages)))
    return invalid(
      "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
      "messages",
    );
  return unansweredIn(asked.messages);
}
