const researcherWords = ["search", "find", "research", "what is", "who is", "latest", "news", "current"];
const coderWords = ["code", "function", "program", "debug", "fix", "implement", "class", "api"];

const matcher = (words: readonly string[]) => new RegExp(`\\b(?:${words.join("|")})\\b`, "i");
const researcherPattern = matcher(researcherWords);
const coderPattern = matcher(coderWords);

/** Names the agent for a message by its words: research wins over code, and a message that fits neither is general. */
export function routeMessage(message: string): "general" | "coder" | "researcher" {
  if (researcherPattern.test(message)) return "researcher";
  if (coderPattern.test(message)) return "coder";
  return "general";
}
