import { expect, test } from "vitest";
import { routeMessage } from "./agents.ts";

test.each([
  ["researcher", ["search", "find", "research", "what is", "who is", "latest", "news", "current"]],
  ["coder", ["code", "function", "program", "debug", "fix", "implement", "class", "api"]],
] as const)("gives %s its words, in any case", (agent, words) => {
  for (const word of words) {
    expect(routeMessage(`please ${word} something`)).toBe(agent);
    expect(routeMessage(word.toUpperCase())).toBe(agent);
    expect(routeMessage(`(${word}!)`)).toBe(agent);
  }
});

test.each([
  ["both kinds of words", "find the bug in this function", "researcher"],
  ["words within words", "my classic apiary prefix was recoded, newsworthy and researched currently", "general"],
  ["no word of either kind", "Tell me a story", "general"],
  ["nothing", "", "general"],
])("decides on %s", (_what, message, agent) => {
  expect(routeMessage(message)).toBe(agent);
});
