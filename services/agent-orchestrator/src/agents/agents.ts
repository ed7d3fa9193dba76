/** A named way to answer. */
export interface AgentDefinition {
  readonly name: string;
  readonly description: string;
  /** The system prompt of its turns. */
  readonly prompt: string;
  /** Its model; undefined: the configured default. */
  readonly model?: string;
  /** Names of its tools; empty: all that the token may use. */
  readonly tools: readonly string[];
  readonly temperature: number;
  readonly maxTokens: number;
}

const defaults = { tools: [], temperature: 0.7, maxTokens: 4096 } as const;

/** The agents that every installation has. */
export const builtInAgents: readonly AgentDefinition[] = [
  {
    ...defaults,
    name: "general",
    description: "Answers questions of every kind.",
    prompt:
      "You are a helpful assistant. Answer directly and briefly. Use a tool when it gives a better answer than you could give alone; never guess the result of a calculation.",
  },
  {
    ...defaults,
    name: "coder",
    description: "Writes, explains and mends code.",
    prompt:
      "You are an experienced software engineer. Give working code with the reasoning that matters, name assumptions, and prefer the standard library and common idioms of the language at hand.",
  },
  {
    ...defaults,
    name: "researcher",
    description: "Finds and compares facts.",
    prompt:
      "You are a careful researcher. Look facts up with the tools you have, compare sources, say where each fact comes from and what remains uncertain.",
  },
];
