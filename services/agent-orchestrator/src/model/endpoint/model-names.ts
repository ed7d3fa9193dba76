/** The most names that are taken from a list, and the length of one. */
const maxNames = 10_000;
const maxNameChars = 256;

function nameOf(entry: unknown): string | undefined {
  if (typeof entry === "string") return entry;
  if (typeof entry !== "object" || entry === null) return undefined;
  const { id, name, model } = entry as Record<string, unknown>;
  return [id, model, name].find((value): value is string => typeof value === "string");
}

/**
 * The names in an endpoint's list of models: OpenAI's `{data: [{id}]}`, Ollama's `{models: [{name}]}`, a bare array, or
 * names as text. Empty for everything else.
 */
export function modelNames(json: unknown): string[] {
  const { data, models } = (typeof json === "object" && json !== null ? json : {}) as { data?: unknown; models?: unknown };
  const list = [json, data, models].find((value) => Array.isArray(value)) as unknown[] | undefined;
  const names = (list ?? []).slice(0, maxNames).map(nameOf);
  return [...new Set(names.filter((name) => name !== undefined && name !== "" && name.length <= maxNameChars))] as string[];
}
