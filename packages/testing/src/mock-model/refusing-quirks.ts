import { callsIn, fieldsOf, openWith, type Quirks } from "./quirk.ts";

const signature = "c2lnbmF0dXJl";
const refused = (message: string, param: string | null = null, code: string | null = null) => ({
  status: 400,
  message,
  type: "invalid_request_error",
  param,
  code,
});

/** Habits of refusing what others accept. */
export const refusingQuirks: Quirks = {
  "no-stream-options": {
    about: "refuses `stream_options` with 422",
    refuse: (body) =>
      body.stream_options == null
        ? undefined
        : {
            status: 422,
            message: "Extra inputs are not permitted: stream_options.include_usage",
            param: "stream_options",
            form: "fastapi-list",
          },
  },
  "no-max-tokens": {
    about: "refuses `max_tokens`, and temperatures other than 1 (OpenAI's reasoning models)",
    refuse: (body) => {
      if (body.max_tokens != null) {
        const words =
          "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.";
        return refused(words, "max_tokens", "unsupported_parameter");
      }
      if (body.temperature != null && body.temperature !== 1) {
        const words =
          "Unsupported value: 'temperature' does not support this value with this model. Only the default (1) " +
          "value is supported.";
        return refused(words, "temperature", "unsupported_value");
      }
      return undefined;
    },
  },
  "no-json-with-tools": {
    about: "refuses tools together with a response format (Gemini)",
    refuse: (body) => {
      const isText = body.response_format == null || body.response_format.type === "text";
      if (isText || body.tools == null || body.tools.length === 0) return undefined;
      return { ...refused("Function calling with a response mime type: 'application/json' is unsupported"), form: "gemini" };
    },
  },
  alternate: {
    about: "refuses messages whose roles do not alternate (strict templates)",
    refuse: ({ messages }) => {
      const roles = messages.filter(({ role }) => role !== "system" && role !== "tool").map(({ role }) => role);
      const isOdd = roles.some((role, index) => role === "user" && roles[index + 1] === "user") || roles[0] === "assistant";
      const words = "After the optional system message, conversation roles must alternate user/assistant/user/assistant/...";
      return isOdd ? { ...refused(words), form: "vllm" } : undefined;
    },
  },
  "reasoning-back": {
    about: "reasoning in `reasoning_content`, refused unless it comes back with the calls (DeepSeek's thinking mode)",
    alter: (reply) =>
      openWith(reply, [{ content: null, reasoning_content: "I should calculate." }], {
        reasoning_content: "I should calculate.",
      }),
    refuse: ({ messages }) =>
      messages.some((one) => one.role === "assistant" && (one.tool_calls?.length ?? 0) > 0 && !one.reasoning_content)
        ? refused("The `reasoning_content` in the thinking mode must be passed back to the API.")
        : undefined,
  },
  "signature-back": {
    about: "calls carry `extra_content.google.thought_signature`, refused unless it comes back (Gemini)",
    alter: (reply) => {
      for (const call of fieldsOf(reply).flatMap(callsIn))
        if ("id" in call) call.extra_content = { google: { thought_signature: signature } };
    },
    refuse: ({ messages }) => {
      const calls = messages.flatMap((one) => one.tool_calls ?? []);
      const isSigned = (call: (typeof calls)[number]) => {
        const extra = call?.extra_content as { google?: { thought_signature?: unknown } } | undefined;
        return extra?.google?.thought_signature === signature;
      };
      const words = "Function call is missing a thought_signature in functionCall parts.";
      return calls.every(isSigned) ? undefined : { ...refused(words), form: "gemini" };
    },
  },
  window: {
    about: "refuses bodies of more than 32 KiB with `context_length_exceeded`, as a model with a window of 8,192 tokens",
    refuse: ({ messages }) => {
      const bytes = JSON.stringify(messages).length;
      if (bytes <= 32_768) return undefined;
      const words =
        "This model's maximum context length is 8192 tokens. However, your messages resulted in " +
        `${Math.ceil(bytes / 4)} tokens.`;
      return refused(words, "messages", "context_length_exceeded");
    },
  },
};
