/** What a model may be called: no control characters, and no space but single ones between words. */
const modelName = /^[^\p{Z}\p{C}]+(?: [^\p{Z}\p{C}]+)*$/u;

/** Whether a client's text can be the name of a model; the empty one stands for the default. */
export function isModelName(text: string): boolean {
  return text === "" || modelName.test(text);
}

/** What is wrong with a text that can be none. */
export const noModelName = "must be the name of a model: no control characters, single spaces between words";
