/** A model's name: no control characters, and no spaces but single ones between words. */
const modelName = /^[^\p{Z}\p{C}]+(?: [^\p{Z}\p{C}]+)*$/u;

/** Whether a client's text can be the name of a model; the empty text stands for the default model. */
export function isModelName(text: string): boolean {
  return text === "" || modelName.test(text);
}

/** The problem with a text that cannot be a model's name, for error texts. */
export const invalidModelName = "must be the name of a model: no control characters, single spaces between words";
