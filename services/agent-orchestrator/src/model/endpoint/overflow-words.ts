/**
 * Wordings of an input that is longer than the model's window. Group 1, where there is one, is the window in tokens.
 */
const wordings: readonly RegExp[] = [
  // OpenAI, DeepSeek, OpenRouter, SGLang, Together: "maximum context length is|of 8192 tokens", "(8192)".
  /maximum (?:context|model|sequence|input|allowed input) length(?: is| of|:)?(?: only)? ?\(?([\d,]+)/i,
  /(?:model'?s|with) context length (?:is|of)(?: only)? ([\d,]+)/i,
  // Anthropic: "prompt is too long: 209353 tokens > 199999 maximum", "exceed context limit: 199759 + 8192 > 200000".
  /prompt is too long(?:: [\d,]+ tokens > ([\d,]+))?/i,
  /exceeds? (?:the )?context limit(?:: [\d, +]+ > ([\d,]+))?/i,
  // Gemini: "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
  /input token count\b.{0,40}\bexceeds the maximum number of tokens(?: allowed)?(?: \(?([\d,]+))?/i,
  /input token count\b.{0,80}\bsupports? (?:only )?up to ([\d,]+)/i,
  // llama.cpp: "the request exceeds the available context size", with the size beside it or in `n_ctx`.
  /exceeds? (?:the )?(?:available )?context size(?:[^\d]{0,20}([\d,]+))?/i,
  /exceed_context_size|context_exceeded/i,
  // Mistral: "Prompt contains 40000 tokens, too large for model with 32768 maximum context length".
  /too large for model with ([\d,]+) maximum context length/i,
  // TGI: "`inputs` tokens + `max_new_tokens` must be <= 4096", "`inputs` must have less than 1024 tokens".
  /inputs?[`'"]? tokens \+ [`'"]?max_new_tokens[`'"]? must be <= ([\d,]+)/i,
  /inputs?[`'"]? must have less than ([\d,]+) tokens/i,
  // Groq, Cerebras: "Please reduce the length of the messages or completion."
  /reduce the length of (?:the|your) (?:messages|input|prompt)/i,
  // LM Studio: "the model is loaded with context length of only 4096 tokens"; "greater than the context length".
  /loaded with context length of(?: only)? ([\d,]+)/i,
  /tokens to keep from the initial prompt is greater than the context length(?:[^\d]{0,40}([\d,]+))?/i,
  // vLLM: "The decoder prompt (length 5000) is longer than the maximum model length of 4096."
  /prompt \(length [\d,]+\) is longer than the maximum model length of ([\d,]+)/i,
  // xAI: "This model's maximum prompt length is 131072".
  /maximum prompt length is ([\d,]+)/i,
  // Moonshot: "Your request exceeded model token limit: 262144".
  /exceeded model token limit(?:: ([\d,]+))?/i,
  // DashScope: "Range of input length should be [1, 30720]".
  /range of input length should be \[\d+, ?([\d,]+)\]/i,
  // Copilot: "prompt token count of 130000 exceeds the limit of 128000".
  /prompt token count of [\d,]+ exceeds the limit of ([\d,]+)/i,
  // Ollama: "prompt too long; exceeded max context length by 4 tokens", "the input length exceeds the context length".
  /prompt too long|exceed(?:s|ed|ing)? (?:the |this |its )?(?:model'?s? )?(?:max(?:imum)? )?context (?:length|window)/i,
  // Cohere: "total number of tokens in the prompt cannot exceed 4081".
  /tokens in the prompt cannot exceed ([\d,]+)/i,
  // Bedrock, MiniMax, Zhipu and codes.
  /input is too long for (?:the )?requested model|context window exceeds limit|more than max tokens allowed/i,
  /context[_ ]length[_ ]exceeded|context[_ ]window[_ ]exceeded|string_above_max_length|\bmodel_context_window_exceeded/i,
];

/** The smallest and the largest number that is believed to be a window. */
const leastWindow = 64;
const mostWindow = 100_000_000;

/** Whether words say that the input is too long, and the model's window in tokens when they tell it. */
export function overflowIn(words: string): { readonly window?: number } | undefined {
  let isTold = false;
  for (const wording of wordings) {
    const found = wording.exec(words);
    if (found === null) continue;
    isTold = true;
    const window = knownWindow(Number(found[1]?.replaceAll(",", "")));
    if (window !== undefined) return { window };
  }
  return isTold ? {} : undefined;
}

/** A window that can be one. */
export function knownWindow(tokens: number | undefined): number | undefined {
  return tokens !== undefined && Number.isInteger(tokens) && tokens >= leastWindow && tokens <= mostWindow ? tokens : undefined;
}
