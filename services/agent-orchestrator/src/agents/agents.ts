import { ErrorReason, fail } from "@turnwright/platform/errors";

/** An agent: a system prompt with a model and its settings. */
export interface AgentDefinition {
  readonly name: string;
  readonly description: string;
  /** Its system prompt. */
  readonly prompt: string;
  /** Its model; undefined: the configured default model. */
  readonly model?: string;
  /** Names of its tools; empty: all tools that the token may use. */
  readonly tools: readonly string[];
  /** Unset: the model's own default. */
  readonly temperature?: number;
  /** The most tokens of one answer; unset: the model's own default. */
  readonly maxTokens?: number;
}

const defaults = { tools: [] } as const;

/** The agents of every installation. A new one needs words for the router below, or is reached by its name only. */
export const builtInAgents: readonly AgentDefinition[] = [
  {
    ...defaults,
    name: "general",
    description: "Answers questions of every kind.",
    prompt:
      "You are a helpful assistant. Answer directly and briefly. Use a tool when it gives a better answer than " +
      "you could give alone; never guess the result of a calculation.",
  },
  {
    ...defaults,
    name: "coder",
    description: "Writes, explains and mends code.",
    prompt:
      "You are an experienced software engineer. Give working code with the reasoning that matters, name " +
      "assumptions, and prefer the standard library and common idioms of the language at hand.",
  },
  {
    ...defaults,
    name: "researcher",
    description: "Finds and compares facts.",
    prompt:
      "You are a careful researcher. Look facts up with the tools you have, compare sources, say where each fact " +
      "comes from and what remains uncertain.",
  },
];

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

/** The agent of this name, if there is one. */
export function findAgent(name: string): AgentDefinition | undefined {
  return builtInAgents.find((candidate) => candidate.name === name);
}

/** The agent of this name. Throws INVALID_REQUEST for an unknown one. */
export function agentNamed(name: string): AgentDefinition {
  const agent = findAgent(name);
  if (agent !== undefined) return agent;
  const known = builtInAgents.map((candidate) => candidate.name).join(", ");
  throw fail(ErrorReason.INVALID_REQUEST, `agent_type: there is no agent ${JSON.stringify(name)}; there are ${known}`, {
    param: "agent_type",
  });
}

/** The agent that the router names for a message. */
export function routedAgent(message: string): AgentDefinition {
  return agentNamed(routeMessage(message));
}
