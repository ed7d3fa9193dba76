import { openWith, type Quirks, rewriteText } from "./quirk.ts";
import { choicesOf, type Fields } from "./reply.ts";

const thought = ["I should ", "think."];
const whole = thought.join("");

/** Reasoning in a field of its own. */
const reasoning = (about: string, field: string, of: (text: string) => unknown = (text) => text) => ({
  about,
  alter: (reply: Parameters<typeof openWith>[0]) =>
    openWith(
      reply,
      thought.map((text) => ({ content: null, [field]: of(text) })),
      { [field]: of(whole) },
    ),
});

/** Habits in how text and reasoning are sent. */
export const textQuirks: Quirks = {
  "reasoning-content": reasoning("reasoning in `reasoning_content` (DeepSeek, Kimi, Qwen)", "reasoning_content"),
  reasoning: reasoning("reasoning in `reasoning` (OpenRouter, newer vLLM)", "reasoning"),
  "reasoning-details": reasoning("signed reasoning in `reasoning_details` (OpenRouter)", "reasoning_details", (text) => [
    { type: "reasoning.text", text, signature: "c2ln", format: "mock-v1", index: 0 },
  ]),
  parts: {
    about: "content is a list of typed parts, thinking among them (Mistral)",
    alter: (reply) => {
      const think = (text: string) => ({ type: "thinking", thinking: [{ type: "text", text }] });
      const text = (given: string) => ({ type: "text", text: given });
      if (reply.draft.text === "") return;
      const said = reply.draft.words.map((word) => ({ content: [text(word)] }));
      rewriteText(reply, [...thought.map((given) => ({ content: [think(given)] })), ...said], {
        content: [think(whole), text(reply.draft.text)],
      });
    },
  },
  "message-for-delta": {
    about: "the chunks of a stream have `message` in place of `delta`",
    alter: (reply) => {
      for (const choice of choicesOf(reply)) {
        if (choice.delta == null) continue;
        choice.message = choice.delta;
        delete choice.delta;
      }
    },
  },
  refusal: {
    about: "the text is a refusal, not content",
    alter: (reply) => {
      const { text, words } = reply.draft;
      if (text === "") return;
      rewriteText(
        reply,
        words.map((word) => ({ refusal: word })),
        { content: null, refusal: text },
      );
    },
  },
  "role-each-delta": {
    about: "each delta has the role",
    alter: (reply) => {
      for (const { delta } of choicesOf(reply)) if (delta != null) delta.role = "assistant";
    },
  },
  "content-null": {
    about: "deltas without text have `content: null`",
    alter: (reply) => {
      for (const { delta } of choicesOf(reply)) if (delta != null) delta.content ??= null;
    },
  },
  "no-finish": {
    about: "no chunk has a finish_reason",
    alter: (reply) => {
      for (const choice of choicesOf(reply)) if (choice.delta != null) choice.finish_reason = null;
    },
  },
  "finish-empty": {
    about: 'finish_reason is "" until the end',
    alter: (reply) => {
      for (const choice of choicesOf(reply)) if (choice.delta != null) choice.finish_reason ??= "";
    },
  },
  "finish-odd": {
    about: 'finish_reason is a word of the endpoint\'s own, "eos"',
    alter: (reply) => {
      for (const choice of choicesOf(reply)) if (choice.finish_reason === "stop") choice.finish_reason = "eos";
    },
  },
  empty: {
    about: "an answer without text or calls",
    alter: (reply) => {
      const nothing: Fields = { content: "" };
      rewriteText(reply, [], nothing);
    },
  },
};
