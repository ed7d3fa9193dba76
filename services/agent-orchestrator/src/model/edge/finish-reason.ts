/** The reasons for which an answer ends, in OpenAI's words. */
export type FinishReason = "stop" | "length" | "tool_calls" | "content_filter";

/** Other endpoints' words for them, in lower case. Words that are not here mean `stop`. */
const synonyms: Readonly<Record<string, FinishReason>> = {
  content_filter: "content_filter",
  content_filtered: "content_filter",
  function_call: "tool_calls",
  length: "length",
  max_length: "length",
  max_output_tokens: "length",
  max_tokens: "length",
  model_length: "length",
  prohibited_content: "content_filter",
  recitation: "content_filter",
  refusal: "content_filter",
  safety: "content_filter",
  tool_calls: "tool_calls",
  tool_use: "tool_calls",
};

/** The reason that an endpoint told; empty when it told none. The most characters of it are 64. */
export function toldReason(value: unknown): string {
  return typeof value === "string" ? value.trim().slice(0, 64) : "";
}

/** The meaning of a word by itself. */
function meaningOf(told: string): FinishReason {
  const word = told.toLowerCase();
  return Object.hasOwn(synonyms, word) ? (synonyms[word] as FinishReason) : "stop";
}

/** Whether an answer that ended for this reason was cut: its calls may be cut too and must not run. */
export function isCut(told: string): boolean {
  const meaning = meaningOf(told);
  return meaning === "length" || meaning === "content_filter";
}

/**
 * The reason in OpenAI's words. The calls decide and not the word: an answer with calls ends in `tool_calls`, one
 * without calls does not. Only an answer that was cut stays so.
 */
export function finishReason(told: string, hasCalls: boolean): FinishReason {
  return isCut(told) ? meaningOf(told) : hasCalls ? "tool_calls" : "stop";
}

/** The reason for a client: the endpoint's own word where it means the right one. */
export function clientReason(told: string, hasCalls: boolean): string {
  const reason = finishReason(told, hasCalls);
  return told !== "" && meaningOf(told) === reason ? told : reason;
}
