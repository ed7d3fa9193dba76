import type { Message } from "@turnwright/contract/conversation/v1/conversation";
import { ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";

/** Tells whether a model takes images, by the operator's statements; undefined: there is none. */
export function imageTakers(stated: {
  capabilitiesOf(model: string): ReadonlySet<string> | undefined;
}): (model: string) => boolean | undefined {
  return (model) => stated.capabilitiesOf(model)?.has("vision");
}

/** Words of images, and words that refuse them. */
const images = /\b(?:image(?:_url|s)?|images?_input|vision|multi-?modal|mmproj)\b/i;
const refused =
  /support|not (?:available|allowed|permitted|enabled)|un(?:recognized|known|expected|available)|only (?:text|accepts)|text[- ]only|at most 0|must be a string|not a multimodal|\bextra\b|cannot (?:process|read|see)|mmproj/i;

/** Reasons of an endpoint that does not work on a request. */
const reasons: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.MODEL_REJECTED,
  ErrorReason.MODEL_UNPROCESSABLE,
  ErrorReason.MODEL_NOT_FOUND,
  ErrorReason.MODEL_FAILED,
]);

/**
 * Whether an endpoint refuses a request because of its images, such as "image_url is only supported by certain models"
 * (OpenAI), "At most 0 image(s) may be provided" (vLLM) and "image input is not supported - hint: if this is
 * unexpected, you may need to provide the mmproj" (llama.cpp).
 */
export function blamesImages(error: unknown): boolean {
  if (!reasons.has(reasonOf(error))) return false;
  const words = error instanceof Error ? error.message.slice(0, 1_000) : "";
  return images.test(words) && refused.test(words);
}

/** The error of a run whose message has an image that its model does not take; it names the model. */
export function imagesRefused(model: string, cause?: unknown) {
  const words = cause instanceof Error ? ` It answered: ${cause.message.slice(0, 500)}` : "";
  const text = `The model ${JSON.stringify(model)} takes no images; choose another model.${words}`;
  return fail(ErrorReason.MODEL_REJECTED, text, { param: "parts", cause });
}

/** Whether the user's message that is being answered, the last one of a history, has an image. */
export function asksWithImage(messages: readonly Message[]): boolean {
  const asked = messages.findLast(({ role }) => role === "user");
  return asked?.parts.some(({ type }) => type === "image") ?? false;
}
