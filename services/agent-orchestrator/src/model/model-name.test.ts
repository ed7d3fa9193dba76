import { expect, test } from "vitest";
import { isModelName } from "./model-name.ts";

test.each([
  "",
  "gpt-4o-mini",
  "openai/gpt-4o",
  "llama3:8b",
  "hf.co/bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M",
  "GPT 4 Turbo",
  "模型-1",
])("%j can be the name of a model", (text) => {
  expect(isModelName(text)).toBe(true);
});

test.each(["a\0b", "a\nb", "a\tb", " a", "a ", "a  b", "a\u200bb", "a\u00a0b", "\u202egpt", "\ud800", "\u007f"])(
  "%j can not",
  (text) => {
    expect(isModelName(text)).toBe(false);
  },
);
